//! Installing what C and C++ programs need: header, static and shared library, and the file that pkg-config reads.

use crate::steps::status;
use crate::workspace::Workspace;
use std::path::Path;

/// Who asks for the shared library asks for this version of its interface.
const SONAME: &str = "libtextpoke.so.0";

/// `--prefix DIR [--destdir DIR] [--profile NAME]`, in any order.
pub fn run(workspace: &Workspace, words: &[&str]) -> Result<(), String> {
    let (mut prefix, mut destdir, mut profile) = (None, "", "release");
    for pair in words.chunks(2) {
        match *pair {
            ["--prefix", directory] => prefix = Some(directory),
            ["--destdir", directory] => destdir = directory,
            ["--profile", name] => profile = name,
            _ => return Err(format!("install-c does not know `{}`: see cargo xtask help", pair.join(" "))),
        }
    }
    let prefix = prefix.ok_or("where to? Say `cargo xtask install-c --prefix DIR`, /usr/local for instance")?;
    if !Path::new(prefix).is_absolute() {
        return Err(format!("the prefix is written to textpoke.pc, so it must begin with `/`: {prefix}"));
    }
    status(&mut workspace.cargo(&["build", "--package", "textpoke-capi", "--profile", profile]))?;
    let folder = if profile == "dev" { "debug" } else { profile };
    let built = workspace.target_directory()?.join(folder);
    let source = Source { header: &workspace.root().join("crates/capi/include/textpoke.h"), built: &built };
    // The prefix begins with `/`, so that joining paths would forget what is in front.
    let to = format!("{destdir}{prefix}");
    install(&source, Path::new(&to), prefix, env!("CARGO_PKG_VERSION"))?;
    println!("install-c: {to}/include/textpoke.h, {to}/lib/libtextpoke.{{a,so}}, {to}/lib/pkgconfig/textpoke.pc");
    println!("  to compile: pkg-config finds it with PKG_CONFIG_PATH={prefix}/lib/pkgconfig, if not by itself");
    println!(
        "  to run: `ldconfig` where {prefix}/lib is searched, else link with -Wl,-rpath,{prefix}/lib or libtextpoke.a"
    );
    Ok(())
}

struct Source<'a> {
    header: &'a Path,
    built: &'a Path,
}

fn install(source: &Source<'_>, to: &Path, prefix: &str, version: &str) -> Result<(), String> {
    let real = format!("libtextpoke.so.{version}");
    let pc = pkg_config(prefix, version);
    for folder in ["include", "lib/pkgconfig"] {
        let folder = to.join(folder);
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    replace(&to.join("include/textpoke.h"), |at| std::fs::copy(source.header, at).map(drop))?;
    let library = |name: &str| source.built.join(name);
    replace(&to.join("lib/libtextpoke.a"), |at| std::fs::copy(library("libtextpoke_capi.a"), at).map(drop))?;
    replace(&to.join("lib").join(&real), |at| std::fs::copy(library("libtextpoke_capi.so"), at).map(drop))?;
    replace(&to.join("lib").join(SONAME), |at| std::os::unix::fs::symlink(&real, at))?;
    replace(&to.join("lib/libtextpoke.so"), |at| std::os::unix::fs::symlink(SONAME, at))?;
    replace(&to.join("lib/pkgconfig/textpoke.pc"), |at| std::fs::write(at, &pc))
}

/// Makes a file new and puts it into its place at once: a program that runs with the old one keeps it.
fn replace(at: &Path, make: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<(), String> {
    let fresh = at.with_added_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let done = make(&fresh).and_then(|()| std::fs::rename(&fresh, at));
    done.map_err(|error| format!("{}: {error}", at.display()))
}

fn pkg_config(prefix: &str, version: &str) -> String {
    format!(
        "prefix={prefix}
includedir=${{prefix}}/include
libdir=${{prefix}}/lib

Name: textpoke
Description: Static keys, static calls and immediate values: switches that cost one instruction
Version: {version}
Cflags: -I${{includedir}}
Libs: -L${{libdir}} -ltextpoke
Libs.private: -lpthread -ldl -lm
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_where_they_are_looked_for_and_are_replaced() {
        let place = std::env::temp_dir().join(format!("textpoke-install-{}", std::process::id()));
        let built = place.join("built");
        std::fs::create_dir_all(&built).unwrap();
        let header = built.join("textpoke.h");
        for round in ["one", "two"] {
            for name in ["textpoke.h", "libtextpoke_capi.a", "libtextpoke_capi.so"] {
                std::fs::write(built.join(name), format!("{name} {round}")).unwrap();
            }
            let to = place.join("to");
            install(&Source { header: &header, built: &built }, &to, "/opt/x", "0.1.0").unwrap();
            let read = |name: &str| std::fs::read_to_string(to.join(name)).unwrap();
            assert_eq!(read("include/textpoke.h"), format!("textpoke.h {round}"));
            assert_eq!(read("lib/libtextpoke.a"), format!("libtextpoke_capi.a {round}"));
            for name in ["lib/libtextpoke.so", "lib/libtextpoke.so.0", "lib/libtextpoke.so.0.1.0"] {
                assert_eq!(read(name), format!("libtextpoke_capi.so {round}"));
            }
            assert!(read("lib/pkgconfig/textpoke.pc").starts_with("prefix=/opt/x\n"));
        }
        std::fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        let workspace = Workspace::find().unwrap();
        for (words, complaint) in [
            (&[][..], "where to?"),
            (&["--prefix", "here"], "must begin"),
            (&["--prefix"], "does not know"),
            (&["--into", "/opt"], "does not know"),
        ] {
            assert!(run(&workspace, words).unwrap_err().contains(complaint), "{words:?}");
        }
    }
}
