//! Compilers for the other instruction sets, and QEMU to run what they make.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Who compiles and runs a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cross {
    Aarch64,
    Riscv64,
    /// This machine itself, if it is x86-64.
    Host,
}

impl Cross {
    /// Those that need an emulator.
    pub const ALL: [Self; 2] = [Self::Aarch64, Self::Riscv64];

    fn compiler(self, language: &str) -> String {
        match self {
            Self::Aarch64 => format!("aarch64-linux-gnu-{language}"),
            Self::Riscv64 => format!("riscv64-linux-gnu-{language}"),
            Self::Host => language.to_owned(),
        }
    }

    /// The emulator, and where the libraries of programs that need some are.
    fn emulator(self) -> Option<[&'static str; 2]> {
        match self {
            Self::Aarch64 => Some(["qemu-aarch64", "/usr/aarch64-linux-gnu"]),
            Self::Riscv64 => Some(["qemu-riscv64", "/usr/riscv64-linux-gnu"]),
            Self::Host => None,
        }
    }

    /// Whether the C compiler and the emulator are here; says which is not.
    pub fn is_here(self) -> bool {
        self.has("gcc")
    }

    /// Whether a compiler, `gcc` or `g++`, and the emulator are here; says which is not.
    pub fn has(self, language: &str) -> bool {
        if self == Self::Host && std::env::consts::ARCH != "x86_64" {
            return false;
        }
        let emulator = self.emulator().map(|[program, _]| program.to_owned());
        [self.compiler(language)].into_iter().chain(emulator).all(|tool| {
            let found = Command::new(&tool).arg("--version").output().is_ok();
            if !found {
                eprintln!("skipped: no {tool} here (cargo xtask setup installs it)");
            }
            found
        })
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

    /// Runs a program ; it must succeed. Returns what it said on both channels.
    pub fn run(self, program: &Path, arguments: &[&str], environment: &[(&str, String)]) -> (String, String) {
        let mut command = match self.emulator() {
            None => Command::new(program),
            Some([emulator, libraries]) => {
                let mut command = Command::new(emulator);
                command.args(["-L", libraries]).arg(program);
                command
            }
        };
        command.args(arguments).env_remove("COUNTERS");
        command.envs(environment.iter().map(|(key, value)| (key, value)));
        let done = command.output().expect("the emulator starts");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let (out, err) = (text(done.stdout), text(done.stderr));
        assert!(done.status.success(), "{command:?}: {}\n{out}\n{err}", done.status);
        (out, err)
    }
}
