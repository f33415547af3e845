//! Compilers for the other instruction sets, and QEMU to run what they make.

use std::path::{Path, PathBuf};
use std::process::Command;

/// An instruction set that is not this machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cross {
    Aarch64,
    Riscv64,
}

impl Cross {
    pub const ALL: [Self; 2] = [Self::Aarch64, Self::Riscv64];

    pub fn compiler(self) -> &'static str {
        match self {
            Self::Aarch64 => "aarch64-linux-gnu-gcc",
            Self::Riscv64 => "riscv64-linux-gnu-gcc",
        }
    }

    fn emulator(self) -> &'static str {
        match self {
            Self::Aarch64 => "qemu-aarch64",
            Self::Riscv64 => "qemu-riscv64",
        }
    }

    /// Whether compiler and emulator are here; says which is not.
    pub fn is_here(self) -> bool {
        [self.compiler(), self.emulator()].into_iter().all(|tool| {
            let found = Command::new(tool).arg("--version").output().is_ok();
            if !found {
                eprintln!("skipped: no {tool} here (cargo xtask setup installs it)");
            }
            found
        })
    }

    /// Compiles sources into a static program.
    pub fn compile(self, output: &Path, sources: &[PathBuf], options: &[&str]) {
        let mut command = Command::new(self.compiler());
        command.args(sources).args(options).args(["-static", "-o"]).arg(output).args(["-lm", "-lpthread"]);
        let done = command.output().expect("the compiler starts");
        assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Runs a program in the emulator; it must succeed. Returns what it said on both channels.
    pub fn run(self, program: &Path, arguments: &[&str], environment: &[(&str, String)]) -> (String, String) {
        let mut command = Command::new(self.emulator());
        command.arg(program).args(arguments).env_remove("COUNTERS");
        command.envs(environment.iter().map(|(key, value)| (key, value)));
        let done = command.output().expect("the emulator starts");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let (out, err) = (text(done.stdout), text(done.stderr));
        assert!(done.status.success(), "{command:?}: {}\n{out}\n{err}", done.status);
        (out, err)
    }
}
