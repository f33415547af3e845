//! The engine on the other instruction sets: built, and its tests run under QEMU's user mode.
//!
//! What that shows is encodings, registers, traps and sequencing. QEMU keeps translated code coherent with memory, so that
//! a missing barrier does not show; that is the checker's part.

use std::process::Command;

use crate::ci;
use crate::cross::{self, Rust, Target};
use crate::steps::status;
use crate::workspace::Workspace;

const TARGETS: [Target; 2] = [cross::AARCH64_LINUX, cross::RISCV64_LINUX];

/// What is tested, each with arguments of its own. Libraries and integration tests only: documentation tests are run by
/// the host's `rustdoc`, which has no library for the target. `core` is knowledge only, and its exhaustive tests run on the
/// host.
const TESTS: [&[&str]; 4] = [
    &["--package", "textpoke-cpu", "--lib"],
    &["--package", "textpoke-linux", "--features", "textpoke-linux/std", "--lib"],
    &["--package", "textpoke", "--test", "isas"],
    &["--package", "textpoke-keys", "--tests"],
];

/// Threads are interrupted between any two instructions only if the emulator does not translate several at once.
const ONE_BY_ONE: [(&str, &str); 2] = [("QEMU_ONE_INSN_PER_TB", "1"), ("TEXTPOKE_SHORT", "1")];

/// Builds and tests for each target that there is a Rust, a linker and an emulator for; of others it says what is missing.
pub fn run(workspace: &Workspace) -> Result<(), String> {
    let mut failed = Vec::new();
    for target in TARGETS {
        match ready(target.runner, target) {
            Ok(rust) => failed.extend(test(workspace, &rust, target).err()),
            Err(reason) => println!("isas: {} is left out: {reason}", target.triple),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}

fn ready(runner: &[&str], target: Target) -> Result<Rust, String> {
    let emulator = runner.first().copied().unwrap_or_default();
    if !cross::in_path(emulator) {
        return Err(format!("no {emulator}: `cargo xtask setup`"));
    }
    Rust::find(target)
}

fn test(workspace: &Workspace, rust: &Rust, target: Target) -> Result<(), String> {
    let check = |command: &mut Command| status(command).map_err(|error| format!("{}: {error}", target.triple));
    for arguments in TESTS {
        // One after the other: they fill all CPUs.
        let serial = ["--", "--test-threads=1"];
        check(rust.cargo(workspace, "test").arg(ci::PROFILE).args(arguments).args(serial))?;
    }
    let mut command = rust.cargo(workspace, "test");
    command.arg(ci::PROFILE).args(TESTS[2]).envs(ONE_BY_ONE).args(["--", "--test-threads=1", "pairs", "prepared"]);
    check(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_emulator_is_said_and_nothing_else_happens() {
        let ready = ready(&["qemu-of-nothing"], cross::AARCH64_LINUX);
        assert!(ready.is_err_and(|reason| reason.contains("qemu-of-nothing")));
    }
}
