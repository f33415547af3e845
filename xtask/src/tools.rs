//! Commands that hand over to other programs.

use crate::ci;
use crate::steps::status;
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// Builds the program; returns where it is.
pub fn program(workspace: &Workspace) -> Result<PathBuf, String> {
    Ok(built(workspace)?.join("textpoke"))
}

/// Builds the program and the checker's example; returns where they are.
fn built(workspace: &Workspace) -> Result<PathBuf, String> {
    let args = ["build", "--workspace", ci::PROFILE, "--bin", "textpoke", "--example", "check"];
    status(&mut workspace.cargo(&args))?;
    Ok(workspace.target_directory()?.join("ci"))
}
