//! Builds the agent from somewhere else: the command line program's build script and the tests of `attach` include this
//! file.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the agent whose sources are in `agent` into the folder `target` and returns the path of the image: for this
/// machine, or for the `foreign` one whose triple is given. It has to be that of the program that carries it.
///
/// # Panics
/// When cargo cannot build it; what cargo said is in the message.
pub fn build(cargo: &OsStr, foreign: Option<&str>, agent: &Path, target: &Path) -> PathBuf {
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--locked", "--quiet", "--manifest-path"]).arg(agent.join("Cargo.toml"));
    command.arg("--target-dir").arg(target).args(foreign.iter().flat_map(|triple| ["--target", *triple]));
    // Atomic operations by functions that look at a variable first need a variable.
    command.args([
        "--config",
        "target.'cfg(target_arch = \"aarch64\")'.rustflags = ['-Ctarget-feature=-outline-atomics']",
    ]);
    // Flags and wrappers for the program that is being built (coverage, lints, sanitizers) are not for the agent, which
    // runs without libc. Its linker is the program's.
    let linker = format!("CARGO_TARGET_{}_LINKER", foreign.unwrap_or_default().to_uppercase().replace('-', "_"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let ours = ["CARGO_HOME", "CARGO_NET_OFFLINE", "RUSTC", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", &*linker];
        let not_for_it = ["CARGO", "RUST", "__CARGO"].iter().any(|prefix| text.starts_with(prefix));
        if not_for_it && !ours.contains(&&*text) {
            command.env_remove(&name);
        }
    }
    if foreign.is_some_and(|triple| !has_library(triple)) {
        // Where the program's own library is built from its source, so is the part of it that the agent uses.
        command.arg("-Zbuild-std=core,compiler_builtins").env("RUSTC_BOOTSTRAP", "1");
    }
    let output = command.output().unwrap_or_else(|e| panic!("running {}: {e}", cargo.to_string_lossy()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "building the agent failed:\n{said}");
    target.join(foreign.unwrap_or_default()).join("release/textpoke-agent")
}

/// Whether the compiler has its library for the target at hand.
fn has_library(triple: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "target-libdir", "--target", triple]).output();
    let folder = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}
