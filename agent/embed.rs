//! Builds the agent from somewhere else: the command line program's build script and the tests of `attach` include this
//! file.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the agent whose sources are in `agent` into `target` and returns the path of the image.
///
/// # Panics
/// When cargo cannot build it; what cargo said is in the message.
pub fn build(cargo: &OsStr, agent: &Path, target: &Path) -> PathBuf {
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--locked", "--quiet", "--manifest-path"]).arg(agent.join("Cargo.toml"));
    command.arg("--target-dir").arg(target);
    // Flags and wrappers for the program that is being built (coverage, lints, sanitizers) are not for the agent, which
    // runs without libc.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let ours = ["CARGO_HOME", "CARGO_NET_OFFLINE", "RUSTC", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"].contains(&&*text);
        let foreign = ["CARGO", "RUST", "__CARGO"].iter().any(|prefix| text.starts_with(prefix));
        if foreign && !ours {
            command.env_remove(&name);
        }
    }
    let output = command.output().unwrap_or_else(|e| panic!("running {}: {e}", cargo.to_string_lossy()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "building the agent failed:\n{said}");
    target.join("release/textpoke-agent")
}
