//! The crates that call themselves no_std really link without std and without an allocator.
//!
//! `#![no_std]` in a crate says nothing about what its dependencies pull in. So a static library with a
//! panic handler of its own links them: with std in it there are two handlers, with alloc in it there
//! is no allocator, and rustc refuses both. The check first proves itself on a probe that must fail.

use crate::cross::{self, Rust, Target};
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};

/// Crates that run in a kernel, and those that run inside somebody else's process.
const ANYWHERE: [&str; 5] = ["core", "cpu", "keys", "trace", "bare"];
const IN_LINUX: [&str; 1] = ["linux"];

/// Targets without an operating system; each that there is a Rust for is used as well as the host.
const BARE_TARGETS: [Target; 3] = [cross::X86_64_BARE, cross::AARCH64_BARE, cross::RISCV64_BARE];

pub fn run(workspace: &Workspace) -> Result<(), String> {
    let folder = workspace.root().join("target/xtask/nostd");
    let existing = |names: &[&str]| -> Vec<String> {
        let exists = |name: &&str| workspace.root().join("crates").join(name).exists();
        names.iter().copied().filter(exists).map(String::from).collect()
    };
    let bare = existing(&ANYWHERE);
    let host = [bare.clone(), existing(&IN_LINUX)].concat();

    for extra in ["extern crate std;", "extern crate alloc;"] {
        let probe = Probe { root: workspace.root(), folder: folder.join("must-fail"), crates: &[], extra };
        if probe.build(workspace, None, true).is_ok() {
            return Err(format!("nostd: a probe with `{extra}` links, so this check proves nothing"));
        }
    }
    let probe = Probe { root: workspace.root(), folder: folder.join("host"), crates: &host, extra: "" };
    probe.build(workspace, None, false)?;
    println!("nostd: {} link for this machine without std and alloc", host.join(", "));
    let probe = Probe { root: workspace.root(), folder: folder.join("bare"), crates: &bare, extra: "" };
    for target in BARE_TARGETS {
        match Rust::find(target) {
            Ok(rust) => {
                probe.build(workspace, Some(&rust), false)?;
                println!("nostd: {} link for {}", bare.join(", "), target.triple);
            }
            Err(reason) => println!("nostd: left out: {reason}"),
        }
    }
    Ok(())
}

struct Probe<'a> {
    root: &'a Path,
    folder: PathBuf,
    crates: &'a [String],
    /// Code that a probe has which must not link.
    extra: &'a str,
}

impl Probe<'_> {
    fn build(&self, workspace: &Workspace, rust: Option<&Rust>, quiet: bool) -> Result<(), String> {
        let write = |path: &str, text: String| {
            let path = self.folder.join(path);
            std::fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
        };
        let sources = self.folder.join("src");
        std::fs::create_dir_all(&sources).map_err(|error| format!("cannot create {}: {error}", sources.display()))?;
        write("Cargo.toml", self.manifest())?;
        write("src/lib.rs", self.source())?;
        let manifest = self.folder.join("Cargo.toml").display().to_string();
        // Its own target folder beside it: a build for another set of features would throw ours away.
        let output = self.folder.join("target").display().to_string();
        let mut command = match rust {
            Some(rust) => rust.cargo(workspace, "build"),
            None => workspace.cargo(&["build"]),
        };
        command.args(["--quiet", "--release", "--manifest-path", &manifest, "--target-dir", &output]);
        let result = command.output().map_err(|error| format!("cannot run cargo: {error}"))?;
        if result.status.success() {
            return Ok(());
        }
        if !quiet {
            print!("{}", String::from_utf8_lossy(&result.stderr));
        }
        Err(format!("nostd: {} do not link without std", self.crates.join(", ")))
    }

    fn manifest(&self) -> String {
        let dependencies: String = self
            .crates
            .iter()
            .map(|name| {
                let path = self.root.join("crates").join(name);
                format!("textpoke-{name} = {{ path = {path:?}, default-features = false }}\n")
            })
            .collect();
        format!(
            "[package]\nname = \"nostd-probe\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [lib]\ncrate-type = [\"staticlib\"]\n\n[profile.release]\npanic = \"abort\"\n\n\
             [dependencies]\n{dependencies}\n[workspace]\n"
        )
    }

    fn source(&self) -> String {
        let uses: String = self.crates.iter().map(|name| format!("pub use textpoke_{name};\n")).collect();
        format!(
            "#![no_std]\n{}\n{uses}\n#[panic_handler]\nfn panic(_: &core::panic::PanicInfo) -> ! {{\n    loop {{}}\n}}\n",
            self.extra
        )
    }
}
