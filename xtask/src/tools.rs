//! Commands that hand over to other programs.

use crate::ci;
use crate::steps::status;
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs that some tests compare textpoke with, trace, or build C programs with. Debian's package has the program's name, and the
/// tests want Debian's build, not another that happens to come first in PATH.
const OPTIONAL: [&str; 7] = ["clang", "gdb", "lld", "pkg-config", "python3", "sqlite3", "strace"];

/// Runs the measuring program of the attach crate, optimised.
pub fn bench_trace(workspace: &Workspace) -> Result<(), String> {
    let args = ["run", "--quiet", "--release", "--package", "textpoke-attach", "--example", "bench_trace"];
    status(&mut workspace.cargo(&args))
}

/// Runs the measuring program for switches, optimised.
pub fn bench_keys(workspace: &Workspace) -> Result<(), String> {
    let args = ["run", "--quiet", "--release", "--package", "textpoke", "--example", "bench_keys"];
    status(&mut workspace.cargo(&args))
}

/// Runs the checker: the table of expected verdicts, the large one if `full`. Of what is as it should be, only the last
/// line is shown. The mutilated protocols are a test of the checker's own.
///
/// Everything is built as the tests build it, for the whole workspace and with the profile of CI, so that nothing is
/// compiled twice; `cargo run --package` would choose other features of the dependencies.
pub fn checker(workspace: &Workspace, full: bool) -> Result<(), String> {
    let directory = built(workspace)?;
    let which = if full { "--deep" } else { "--all" };
    brief(Command::new(directory.join("textpoke")).args(["check", which]))
}

/// Has this machine's CPUs run the protocols, and the two worst ways to do without: a few seconds. Where that is not
/// allowed, or there is another instruction set, it says so.
pub fn litmus(workspace: &Workspace) -> Result<(), String> {
    const CANNOT_RUN: i32 = 3;
    let names = ["breakpoint", "displace", "short_jump", "word", "naive-copy", "straddling-store"];
    let mut command = Command::new(built(workspace)?.join("textpoke"));
    let output = command.args(["litmus", "--seconds", "5"]).args(names).output();
    let output = output.map_err(|error| format!("cannot run textpoke: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let refused = text.is_empty() && output.status.code() == Some(CANNOT_RUN);
    if output.status.success() || refused {
        print!("{}", String::from_utf8_lossy(&output.stderr));
        text.trim_end().lines().rev().take(2).for_each(|line| println!("{line}"));
        return Ok(());
    }
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    Err(format!("textpoke litmus: {}", output.status))
}

/// Runs the mutation check alone: every step of every protocol taken away, and swapped with its neighbour.
pub fn mutate(workspace: &Workspace) -> Result<(), String> {
    status(&mut mutants(&built(workspace)?))
}

fn mutants(directory: &Path) -> Command {
    let mut command = Command::new(directory.join("examples/check"));
    command.arg("--mutate");
    command
}

/// Runs a command that prints a lot: all of it if it fails, else the last line.
fn brief(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    let output = command.output().map_err(|error| format!("cannot run {program}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        println!("{text}{}", String::from_utf8_lossy(&output.stderr));
        return Err(format!("{program}: {}", output.status));
    }
    println!("{}", text.trim_end().lines().next_back().unwrap_or_default());
    Ok(())
}

/// Builds the program and the checker's example; returns where they are.
fn built(workspace: &Workspace) -> Result<PathBuf, String> {
    let args = ["build", "--workspace", ci::PROFILE, "--bin", "textpoke", "--example", "check"];
    status(&mut workspace.cargo(&args))?;
    Ok(workspace.target_directory()?.join("ci"))
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
