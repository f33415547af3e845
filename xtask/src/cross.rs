//! Building for instruction sets and machines other than this one.
//!
//! A target needs a Rust that has its standard library. Where rustup has added the target, that is the Rust in use.
//! Elsewhere it may be a second one that the distribution installs, with the library made for the target or with its
//! source; then the library is built along (`-Zbuild-std`). `cargo xtask setup` installs such a one where it can.

use crate::workspace::Workspace;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Something to build for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// As rustc names it.
    pub triple: &'static str,
    /// A linker other than rustc's choice, a program.
    pub linker: Option<&'static str>,
    /// What runs its programs here, and how; nothing for bare machines.
    pub runner: &'static [&'static str],
    /// What is built along where only the library's source is there.
    library: &'static str,
}

/// Linux on AArch64. Debian's libraries for it lie where its own do, so the emulator looks from the root.
pub const AARCH64_LINUX: Target = Target {
    triple: "aarch64-unknown-linux-gnu",
    linker: Some("aarch64-linux-gnu-gcc"),
    runner: &["qemu-aarch64", "-L", "/"],
    library: "std,panic_abort",
};

/// Linux on RISC-V.
pub const RISCV64_LINUX: Target = Target {
    triple: "riscv64gc-unknown-linux-gnu",
    linker: Some("riscv64-linux-gnu-gcc"),
    runner: &["qemu-riscv64", "-L", "/usr/riscv64-linux-gnu"],
    library: "std,panic_abort",
};

/// A machine without an operating system.
const fn bare(triple: &'static str) -> Target {
    Target { triple, linker: Some("ld.lld"), runner: &[], library: "core,alloc" }
}

/// Kernels for x86-64.
pub const X86_64_BARE: Target = bare("x86_64-unknown-none");
/// Kernels for AArch64.
pub const AARCH64_BARE: Target = bare("aarch64-unknown-none");
/// Kernels for AArch64 that leave the vector registers alone, so that their handlers need not save them.
pub const AARCH64_SOFT_BARE: Target = bare("aarch64-unknown-none-softfloat");
/// Kernels for RISC-V.
pub const RISCV64_BARE: Target = bare("riscv64gc-unknown-none-elf");

/// All of them.
pub const TARGETS: [Target; 5] = [AARCH64_LINUX, RISCV64_LINUX, X86_64_BARE, AARCH64_BARE, RISCV64_BARE];

/// A Rust that can build for a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rust {
    cargo: PathBuf,
    rustc: PathBuf,
    target: Target,
    from_source: bool,
}

impl Rust {
    /// The one in use if it has the target, else the distribution's; an error says what is missing.
    pub fn find(target: Target) -> Result<Self, String> {
        let in_use = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
        let candidates = [(in_use, PathBuf::from("rustc")), ("/usr/bin/cargo".into(), "/usr/bin/rustc".into())];
        for (cargo, rustc) in candidates {
            let made = ask(&rustc, &["--print", "target-libdir", "--target", target.triple]);
            if made.is_some_and(|folder| is_filled(&folder)) {
                return Self { cargo, rustc, target, from_source: false }.with_linker();
            }
            let source = ask(&rustc, &["--print", "sysroot"]).map(|root| root.join("lib/rustlib/src/rust/library"));
            // `RUSTC_BOOTSTRAP` lets a stable Rust build the library, which is all that it is used for.
            if source.is_some_and(|folder| folder.join("core").exists()) {
                return Self { cargo, rustc, target, from_source: true }.with_linker();
            }
        }
        Err(format!("no Rust for {}: `rustup target add {}`, or `cargo xtask setup`", target.triple, target.triple))
    }

    fn with_linker(self) -> Result<Self, String> {
        match self.target.linker {
            Some(linker) if !in_path(linker) => {
                Err(format!("no {linker} to link for {}: `cargo xtask setup`", self.target.triple))
            }
            _ => Ok(self),
        }
    }

    /// A cargo command in the root for this target: `verb`, what the target needs, then whatever the caller adds.
    ///
    /// It builds in a folder of its own, because another compiler's output would be built anew each time.
    pub fn cargo(&self, workspace: &Workspace, verb: &str) -> Command {
        let variable =
            |name: &str| format!("CARGO_TARGET_{}_{name}", self.target.triple.to_uppercase().replace('-', "_"));
        let mut command = Command::new(&self.cargo);
        command.current_dir(workspace.root()).arg(verb).args(["--target", self.target.triple]);
        command.env("RUSTC", &self.rustc).env("CARGO_TARGET_DIR", workspace.root().join("target/cross"));
        if self.from_source {
            command.arg(format!("-Zbuild-std={}", self.target.library)).env("RUSTC_BOOTSTRAP", "1");
        }
        if let Some(linker) = self.target.linker {
            command.env(variable("LINKER"), linker);
        }
        if !self.target.runner.is_empty() {
            command.env(variable("RUNNER"), self.target.runner.join(" "));
        }
        command
    }
}

/// What `rustc` answers, as a path.
fn ask(rustc: &Path, args: &[&str]) -> Option<PathBuf> {
    let output = Command::new(rustc).args(args).output().ok()?;
    output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

fn is_filled(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// Whether there is such a program in PATH.
pub fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_built_for_is_an_error_that_says_what_to_do() {
        let nowhere = Target { triple: "sparc-unknown-nowhere", ..AARCH64_LINUX };
        let error = match Rust::find(nowhere) {
            // A Rust with the library's source takes any name; cargo then says that there is no such target.
            Ok(rust) => return assert!(rust.from_source),
            Err(error) => error,
        };
        assert!(error.contains("cargo xtask setup"), "{error}");
    }

    #[test]
    fn a_missing_linker_is_an_error_that_says_what_to_do() {
        let target = Target { linker: Some("a-linker-that-nobody-has"), ..AARCH64_LINUX };
        let rust = Rust { cargo: "cargo".into(), rustc: "rustc".into(), target, from_source: false };
        assert!(rust.with_linker().is_err_and(|error| error.contains("a-linker-that-nobody-has")));
    }

    #[test]
    fn a_command_names_its_target_linker_and_emulator() {
        let rust = Rust { cargo: "cargo".into(), rustc: "rustc".into(), target: RISCV64_LINUX, from_source: true };
        let command = rust.cargo(&Workspace::find().expect("this repository"), "test");
        let args: Vec<_> = command.get_args().collect();
        assert_eq!(args, ["test", "--target", "riscv64gc-unknown-linux-gnu", "-Zbuild-std=std,panic_abort"]);
        let runner = command.get_envs().find(|(name, _)| *name == "CARGO_TARGET_RISCV64GC_UNKNOWN_LINUX_GNU_RUNNER");
        assert_eq!(
            runner.and_then(|(_, value)| value).and_then(|v| v.to_str()),
            Some(&*RISCV64_LINUX.runner.join(" "))
        );
    }
}
