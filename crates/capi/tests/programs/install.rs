//! What is installed can be used: by pkg-config's words, or without it.

use std::path::Path;
use std::process::Command;

use crate::build::{exists, good, libraries, manifest};

#[test]
fn the_example_is_built_with_what_is_installed() {
    let place = tempfile::tempdir().unwrap();
    let prefix = place.path().join("prefix");
    // A folder of its own: alone, the crate is built with other features than in the workspace, and the other tests link
    // what was built there.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("install");
    let folder = libraries();
    let profile = match folder.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap() {
        "debug" => "dev",
        name => name,
    };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(manifest()).env("CARGO_TARGET_DIR", &target).args([
        "run",
        "--quiet",
        "--package",
        "xtask",
        "--",
        "install-c",
        "--profile",
        profile,
    ]);
    good(cargo.arg("--prefix").arg(&prefix));

    let pc = std::fs::read_to_string(prefix.join("lib/pkgconfig/textpoke.pc")).unwrap();
    assert!(pc.contains(&format!("prefix={}\n", prefix.display())));
    let words = |arguments: &[&str]| -> Vec<String> {
        if exists("pkg-config") {
            let mut command = Command::new("pkg-config");
            command.args(arguments).arg("textpoke").env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"));
            let output = good(&mut command);
            return String::from_utf8_lossy(&output.stdout).split_whitespace().map(String::from).collect();
        }
        println!("not checked: pkg-config is not installed");
        let flag = |flag: &str, folder: &str| format!("{flag}{}", prefix.join(folder).display());
        let own = ["-ltextpoke", "-lpthread", "-ldl", "-lm"].map(String::from);
        [vec![flag("-I", "include"), flag("-L", "lib")], own.to_vec()].concat()
    };
    let example = manifest().join("../../examples/c/switch.c");
    for (how, extra) in [(&["--cflags", "--libs"][..], &[][..]), (&["--static", "--cflags", "--libs"], &["-static"])] {
        let program = place.path().join("switch");
        good(
            Command::new("cc")
                .args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"])
                .arg(&example)
                .args(words(how))
                .args(extra)
                .arg("-o")
                .arg(&program),
        );
        let output = good(Command::new(&program).env("LD_LIBRARY_PATH", prefix.join("lib")));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said, "10\n  scaled 7 to 14, the limit is 10\n10\n49\n");
    }
}
