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

    fn compiler(self, language: &str) -> String {
        match self {
            Self::Aarch64 => format!("aarch64-linux-gnu-{language}"),
            Self::Riscv64 => format!("riscv64-linux-gnu-{language}"),
        }
    }

    fn emulator(self) -> &'static str {
        match self {
            Self::Aarch64 => "qemu-aarch64",
            Self::Riscv64 => "qemu-riscv64",
        }
    }

    /// Whether the C compiler and the emulator are here; says which is not.
    pub fn is_here(self) -> bool {
        self.has("gcc")
    }

    /// Whether a compiler, `gcc` or `g++`, and the emulator are here; says which is not.
    pub fn has(self, language: &str) -> bool {
        [self.compiler(language), self.emulator().into()].into_iter().all(|tool| {
            let found = Command::new(&tool).arg("--version").output().is_ok();
            if !found {
                eprintln!("skipped: no {tool} here (cargo xtask setup installs it)");
            }
            found
        })
    }

    /// Where the libraries of programs that need some are.
    fn libraries(self) -> &'static str {
        match self {
            Self::Aarch64 => "/usr/aarch64-linux-gnu",
            Self::Riscv64 => "/usr/riscv64-linux-gnu",
        }
    }

    /// Compiles sources into a program that needs no library, unless it is to be loaded anywhere (`-pie`).
    pub fn compile(self, output: &Path, sources: &[PathBuf], options: &[&str]) {
        let cpp = sources.iter().any(|s| s.extension().is_some_and(|e| e == "cpp"));
        let mut command = Command::new(self.compiler(if cpp { "g++" } else { "gcc" }));
        command.args(sources).args(options);
        if !options.contains(&"-pie") {
            command.arg("-static");
        }
        command.arg("-o").arg(output).args(["-lm", "-lpthread"]);
        let done = command.output().expect("the compiler starts");
        assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Runs a program in the emulator; it must succeed. Returns what it said on both channels.
    pub fn run(self, program: &Path, arguments: &[&str], environment: &[(&str, String)]) -> (String, String) {
        let mut command = Command::new(self.emulator());
        command.args(["-L", self.libraries()]).arg(program).args(arguments).env_remove("COUNTERS");
        command.envs(environment.iter().map(|(key, value)| (key, value)));
        let done = command.output().expect("the emulator starts");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let (out, err) = (text(done.stdout), text(done.stderr));
        assert!(done.status.success(), "{command:?}: {}\n{out}\n{err}", done.status);
        (out, err)
    }
}
