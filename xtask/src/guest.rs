//! A machine of another instruction set: a real kernel in QEMU, for what user-mode emulation has not, `ptrace` above all.
//!
//! A kernel of Debian's ([`kernel`]) and an archive of files ([`cpio`]) with a first process of our own
//! (`xtask/guest/init.c`) boot on two virtual CPUs ([`machine`]), run a list of commands and switch off.

pub mod cpio;
pub mod kernel;
pub mod machine;
pub mod trace;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::cross;
use crate::steps::status;
use crate::workspace::Workspace;
pub use machine::Ended;

/// What there are guests of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    Arm64,
    Riscv64,
}

impl Arch {
    pub const ALL: [Self; 2] = [Self::Arm64, Self::Riscv64];
    /// Those whose processes `textpoke` attaches to.
    pub const TRACED: [Self; 1] = [Self::Arm64];

    /// Debian's name.
    pub fn debian(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::Riscv64 => "riscv64",
        }
    }

    /// The kernel's and QEMU's name, which compilers use too.
    pub fn cpu(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64",
            Self::Riscv64 => "riscv64",
        }
    }

    fn parse(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|arch| [arch.debian(), arch.cpu()].contains(&name));
        known.ok_or_else(|| format!("no guest of `{name}`: there are arm64 and riscv64"))
    }

    /// The dynamic loader's name.
    fn loader(self) -> &'static str {
        match self {
            Self::Arm64 => "ld-linux-aarch64.so.1",
            Self::Riscv64 => "ld-linux-riscv64-lp64d.so.1",
        }
    }

    /// The C compiler that makes programs for it.
    pub fn compiler(self) -> String {
        format!("{}-linux-gnu-gcc", self.cpu())
    }

    /// What has to be there besides packages that xtask fetches by itself, with the Debian package that has it.
    fn needs(self) -> [(String, &'static str); 2] {
        match self {
            Self::Arm64 => [
                ("qemu-system-aarch64".into(), "qemu-system-arm (from bookworm-backports)"),
                (self.compiler(), "gcc-aarch64-linux-gnu"),
            ],
            Self::Riscv64 => [
                ("qemu-system-riscv64".into(), "qemu-system-misc (from bookworm-backports)"),
                (self.compiler(), "gcc-riscv64-linux-gnu"),
            ],
        }
    }

    /// Why this machine cannot have such a guest.
    pub fn lacks(self) -> Option<String> {
        let missing = self.needs().into_iter().find(|(program, _)| !cross::in_path(program));
        missing.map(|(program, package)| format!("{program} is missing; install {package}, or run cargo xtask setup"))
    }
}

/// What a guest is to do.
pub struct Job {
    /// Settings of the environment, program and arguments. No tabs or line breaks in them.
    pub words: Vec<String>,
    /// How long it may take.
    pub limit: Duration,
}

impl Job {
    pub fn new<'a>(words: impl IntoIterator<Item = &'a str>, limit: Duration) -> Self {
        Self { words: words.into_iter().map(str::to_owned).collect(), limit }
    }

    fn line(&self) -> Result<String, String> {
        match self.words.iter().find(|word| word.contains(['\t', '\n', '\u{1e}'])) {
            Some(word) => Err(format!("a guest's command cannot have a tab or a line break: {word:?}")),
            None => Ok(format!("{}\t{}\n", self.limit.as_secs(), self.words.join("\t"))),
        }
    }
}

/// Boots a guest with these files, each with its path there, and has it do the jobs; all of what they print is passed on.
pub fn run(workspace: &Workspace, arch: Arch, files: &[(PathBuf, String)], jobs: &[Job]) -> Result<Vec<Ended>, String> {
    if let Some(why) = arch.lacks() {
        return Err(why);
    }
    let folder = workspace.root().join("target/xtask/guest").join(arch.debian());
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let kernel = kernel::fetch(arch, &folder)?;
    let init = init(workspace, arch, &folder)?;
    let mut archive = cpio::Archive::new();
    archive.console();
    archive.file("init", 0o755, &read(&init)?);
    let lines = jobs.iter().map(Job::line).collect::<Result<String, _>>()?;
    archive.file("jobs", 0o644, lines.as_bytes());
    for (from, to) in files {
        archive.file(to.trim_start_matches('/'), 0o755, &read(from)?);
    }
    // One for each run, for several may run side by side.
    let image = folder.join(format!("initramfs-{}", std::process::id()));
    std::fs::write(&image, archive.finish()).map_err(|error| format!("{}: {error}", image.display()))?;
    let ended = machine::boot(arch, &kernel, &image, jobs);
    let _ = std::fs::remove_file(&image);
    ended
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn init(workspace: &Workspace, arch: Arch, folder: &Path) -> Result<PathBuf, String> {
    let made = folder.join("init");
    let source = workspace.root().join("xtask/guest/init.c");
    status(Command::new(arch.compiler()).args(["-O2", "-static", "-Wall", "-Wextra", "-o"]).arg(&made).arg(source))?;
    Ok(made)
}

/// How long one command of the command line may take.
const LIMIT: Duration = Duration::from_secs(600);

/// `guest ARCH [--file PATH[=PLACE]]... -- COMMAND... [++ COMMAND...]`: a file comes to its place, by default to `/bin` under
/// its own name.
pub fn command(workspace: &Workspace, words: &[&str]) -> Result<(), String> {
    const HOW: &str = "say cargo xtask guest arm64|riscv64 [--file PATH[=PLACE]]... -- COMMAND [++ COMMAND]...";
    let (words, commands) = words.split_at(words.iter().position(|&word| word == "--").ok_or(HOW)?);
    let [arch, options @ ..] = words else { return Err(HOW.into()) };
    let mut files = Vec::new();
    for pair in options.chunks(2) {
        let ["--file", path] = *pair else { return Err(HOW.into()) };
        let (path, place) = match path.split_once('=') {
            Some((path, place)) => (path, place.to_owned()),
            None => (path, format!("bin/{}", Path::new(path).file_name().ok_or(HOW)?.to_string_lossy())),
        };
        files.push((PathBuf::from(path), place));
    }
    let commands = commands[1..].split(|&word| word == "++");
    let jobs: Vec<Job> = commands.map(|words| Job::new(words.iter().copied(), LIMIT)).collect();
    if jobs.iter().any(|job| job.words.is_empty()) || jobs.is_empty() {
        return Err(HOW.into());
    }
    let ended = run(workspace, Arch::parse(arch)?, &files, &jobs)?;
    match ended.iter().zip(&jobs).find(|(ended, _)| ended.code != 0) {
        None => Ok(()),
        Some((ended, job)) => Err(format!("in the guest, {} ended with {}", job.words.join(" "), ended.code)),
    }
}
