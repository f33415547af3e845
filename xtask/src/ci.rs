//! What CI runs, in one place. Needs a Rust toolchain and a C compiler (for the bundled SQLite).
//!
//! Everything uses the one profile `ci`: optimised, because the stress tests count in hundreds of
//! thousands, but with assertions and overflow checks on, and shared by build, clippy, tests and
//! documentation, so that the C code and the build scripts are compiled once.

use crate::steps::Steps;
use crate::workspace::Workspace;
use crate::{fence, graph, guest, isas, licences, nostd, qemu, tools};

/// The profile, as an argument.
pub const PROFILE: &str = "--profile=ci";
/// Tests that can run longer ask for this variable.
const FULL: &str = "TEXTPOKE_FULL";

pub fn run(workspace: &Workspace, full: bool) -> Result<(), String> {
    let mut steps = Steps::new(workspace);
    let environment: &[(&str, &str)] = if full { &[(FULL, "1")] } else { &[] };
    // The cheap ones first: whoever broke a rule should not wait for the compiler.
    steps.check("graph", || graph::run(workspace));
    steps.check("fence", || fence::run(workspace));
    steps.check("licences", || licences::run(workspace));
    steps.cargo("format", &["fmt", "--all", "--check"], &[]);
    steps.cargo(
        "clippy",
        &["clippy", "--workspace", "--all-targets", "--all-features", PROFILE, "--", "-D", "warnings"],
        &[],
    );
    agent(workspace, &mut steps);
    kernel(workspace, &mut steps);
    steps.check("no_std", || nostd::run(workspace));
    steps.check("checker", || tools::checker(workspace, full));
    steps.check("litmus", || tools::litmus(workspace));
    // One crate's tests after the other: they measure, stop and patch processes, and must not starve each other.
    let adapters = ["--features", "textpoke/log,textpoke/tracing"];
    // The kernel's machine on threads takes minutes where more threads than CPUs wait for each other.
    let slow: &[&str] = if full { &[] } else { &["--exclude", "textpoke-bare"] };
    let tests = [&["test", "--workspace", "--no-fail-fast", PROFILE], &adapters[..], slow].concat();
    steps.tests("tests", &tests, environment);
    // Libraries only: the program and the library that users name are both called textpoke, and would overwrite each other.
    steps.cargo(
        "documentation",
        &["doc", "--workspace", "--lib", "--no-deps", PROFILE],
        &[("RUSTDOCFLAGS", "-D warnings")],
    );
    if full {
        steps.check("qemu", || qemu::ci(workspace));
        steps.check("other instruction sets", || isas::run(workspace));
        steps.check("guests", || guest::trace::all(workspace));
    }
    steps.finish()
}

/// The agent is a workspace of its own; its build is a part of the command-line program's build script.
pub fn agent(workspace: &Workspace, steps: &mut Steps) {
    let manifest = workspace.agent_manifest();
    if !manifest.exists() {
        steps.check("agent", || Err(format!("{} is missing", manifest.display())));
        return;
    }
    let manifest = manifest.display().to_string();
    let at = ["--manifest-path", manifest.as_str()];
    steps.cargo("agent: format", &[&["fmt", "--check"], &at[..]].concat(), &[]);
    // Release only: the agent runs without an unwinder, and its dev profile would want one.
    steps.cargo("agent: clippy", &[&["clippy", "--release"], &at[..], &["--", "-D", "warnings"]].concat(), &[]);
}

/// So is the test kernel. Clippy sees the part for this machine's instruction set; `qemu` compiles the others.
fn kernel(workspace: &Workspace, steps: &mut Steps) {
    let manifest = workspace.root().join("kernel/Cargo.toml").display().to_string();
    let target = workspace.root().join("target/xtask/kernel").display().to_string();
    let at = ["--manifest-path", manifest.as_str()];
    steps.cargo("kernel: format", &[&["fmt", "--check"], &at[..]].concat(), &[]);
    // Release only, as for the agent.
    let clippy = [&["clippy", "--release", "--all-targets"], &at[..], &["--", "-D", "warnings"]].concat();
    steps.cargo("kernel: clippy", &clippy, &[("CARGO_TARGET_DIR", &target)]);
}
