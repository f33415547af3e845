//! Commands that hand over to other programs.

use crate::steps::status;
use crate::workspace::Workspace;
use std::path::Path;
use std::process::Command;

/// Programs that some tests compare textpoke with, or trace. Debian's package has the program's name, and the
/// tests want Debian's build, not another that happens to come first in PATH.
const OPTIONAL: [&str; 3] = ["gdb", "python3", "sqlite3"];

/// Runs the measuring program of the attach crate, optimised.
pub fn bench_trace(workspace: &Workspace) -> Result<(), String> {
    let args = ["run", "--quiet", "--release", "--package", "textpoke-attach", "--example", "bench_trace"];
    status(&mut workspace.cargo(&args))
}

/// Installs what is missing where that is possible; elsewhere it says what to install.
pub fn setup() -> Result<(), String> {
    let missing: Vec<&str> =
        OPTIONAL.into_iter().filter(|program| !Path::new("/usr/bin").join(program).exists()).collect();
    if missing.is_empty() {
        println!("setup: nothing is missing");
        return Ok(());
    }
    if !Path::new("/etc/debian_version").exists() || !is_root() {
        println!(
            "setup: please install {}; without them the tests that use them say so and stop early",
            missing.join(", ")
        );
        return Ok(());
    }
    let apt = |args: &[&str]| status(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(args));
    apt(&["update", "-q"])?;
    apt(&[&["install", "-y", "-q", "--no-install-recommends"], &missing[..]].concat())
}

/// Without libc: the owner of our own entry in /proc is the effective user.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0)
}
