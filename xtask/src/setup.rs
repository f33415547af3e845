//! Installs what tests and other targets need, where that is possible; elsewhere it says what to install.

use crate::cross::{self, Rust};
use crate::steps::status;
use std::path::Path;
use std::process::Command;

/// Programs that some tests compare textpoke with, trace, or build C programs with. Debian's package has the program's
/// name, and the tests want Debian's build, not another that happens to come first in PATH.
const OPTIONAL: [&str; 7] = ["clang", "gdb", "lld", "pkg-config", "python3", "sqlite3", "strace"];

/// A second Rust, with AArch64's library and with the library's source for the other targets, and linkers. Of the
/// architecture arm64 where that is named.
const BUILD: [&str; 11] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "libstd-rust-web-dev:arm64",
    "gcc-aarch64-linux-gnu",
    "g++-aarch64-linux-gnu",
    "libc6-dev-arm64-cross",
    "gcc-riscv64-linux-gnu",
    "g++-riscv64-linux-gnu",
    "libc6-dev-riscv64-cross",
    "lld",
];

/// Emulators, by the program that each package brings. QEMU before 8.1 loses writes to code that another thread
/// translates, so an old suite's is not taken while its backports have a newer one.
const EMULATORS: [(&str, &str); 4] = [
    ("qemu-user", "qemu-aarch64"),
    ("qemu-system-x86", "qemu-system-x86_64"),
    ("qemu-system-arm", "qemu-system-aarch64"),
    ("qemu-system-misc", "qemu-system-riscv64"),
];

/// Does what is possible; an error says what is still missing and that everything else works.
pub fn run() -> Result<(), String> {
    let programs: Vec<&str> =
        OPTIONAL.into_iter().filter(|program| !Path::new("/usr/bin").join(program).exists()).collect();
    let compilers = ["aarch64-linux-gnu-g++", "riscv64-linux-gnu-g++"];
    let compilers =
        compilers.into_iter().filter(|program| !cross::in_path(program)).map(|program| format!("no {program}"));
    let build = cross::TARGETS.into_iter().filter_map(|target| Rust::find(target).err()).chain(compilers).next();
    let emulators: Vec<&str> =
        EMULATORS.into_iter().filter(|(_, program)| !cross::in_path(program)).map(|(package, _)| package).collect();
    if programs.is_empty() && build.is_none() && emulators.is_empty() {
        println!("setup: nothing is missing");
        return Ok(());
    }
    if !Path::new("/etc/debian_version").exists() || !is_root() {
        if !programs.is_empty() {
            println!("setup: please install {}; tests that use them say so and stop early", programs.join(", "));
        }
        if let Some(reason) = build {
            println!("setup: other instruction sets are left out: {reason}");
        }
        if !emulators.is_empty() {
            println!("setup: please install QEMU 8.1 or later ({}) to run them", emulators.join(", "));
        }
        return Ok(());
    }
    debian(&programs, build.is_some(), &emulators)
}

/// The three groups one after the other: what cannot be had of one does not keep the others away.
fn debian(programs: &[&str], build: bool, emulators: &[&str]) -> Result<(), String> {
    let mut problems = Vec::new();
    if build {
        status(Command::new("dpkg").args(["--add-architecture", "arm64"]))?;
    }
    let backports = if emulators.is_empty() { None } else { backports() };
    apt(&["update", "-q"])?;
    if !programs.is_empty() {
        problems.extend(install(programs, None).err());
    }
    if build {
        problems.extend(install(&BUILD, None).err());
    }
    if !emulators.is_empty() {
        let newer = backports.as_deref().is_some_and(|suite| install(emulators, Some(suite)).is_ok());
        if !newer {
            problems.extend(install(emulators, None).err());
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

fn install(packages: &[&str], suite: Option<&str>) -> Result<(), String> {
    let from: Vec<&str> = suite.iter().flat_map(|suite| ["-t", *suite]).collect();
    apt(&[&["install", "-y", "-q", "--no-install-recommends"], &from[..], packages].concat())
        .map_err(|error| format!("{}: {error}", packages.join(" ")))
}

fn apt(args: &[&str]) -> Result<(), String> {
    status(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(args))
}

/// Names this release's backports as a source, at the place that the release itself comes from; returns the suite's name.
/// Packages are only taken from it where they are asked for from it.
fn backports() -> Option<String> {
    const FILE: &str = "/etc/apt/sources.list.d/textpoke-backports.list";
    const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let release = std::fs::read_to_string("/etc/os-release").ok()?;
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?.trim_matches('"');
    let suite = format!("{name}-backports");
    let format = ["indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"];
    let output = Command::new("apt-get").args(format).output().ok()?;
    let known = String::from_utf8_lossy(&output.stdout);
    let sources: Vec<Vec<&str>> = known.lines().map(|line| line.split_whitespace().collect()).collect();
    if sources.iter().any(|source| source.get(1) == Some(&suite.as_str())) {
        return Some(suite);
    }
    let place = sources.iter().find(|source| source[1..] == [name, "main"])?.first()?;
    let signed = if Path::new(KEYS).exists() { format!("[signed-by={KEYS}] ") } else { String::new() };
    std::fs::write(FILE, format!("deb {signed}{place} {suite} main\n")).ok()?;
    Some(suite)
}

/// Without libc: the owner of our own entry in /proc is the effective user.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0)
}
