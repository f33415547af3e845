//! Debian's kernel for another instruction set, fetched and unpacked by apt's own means into a folder of ours: the system
//! gets neither the packages nor the lists of that suite.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Arch;

/// The first Debian with both instruction sets, and its other name, under which a mirror may have it in better order.
const SUITES: [&str; 2] = ["trixie", "stable"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The kernel's file in `folder`; fetched if it is not there yet.
pub fn fetch(arch: Arch, folder: &Path) -> Result<PathBuf, String> {
    let kernel = folder.join("kernel");
    if kernel.exists() {
        return Ok(kernel);
    }
    println!("guest: fetching a kernel for {}", arch.debian());
    let apt = Apt::new(arch, folder)?;
    let mut said = String::new();
    for suite in SUITES {
        match apt.kernel(suite) {
            Ok(package) => {
                unpack(&package, &folder.join("package"), &kernel)?;
                let _ = std::fs::remove_file(package);
                return Ok(kernel);
            }
            Err(why) => said.push_str(&format!("\n{suite}: {why}")),
        }
    }
    Err(format!("Debian's kernel for {} cannot be had:{said}", arch.debian()))
}

/// An apt of its own, for one foreign architecture.
struct Apt {
    arch: Arch,
    folder: PathBuf,
    mirror: String,
}

impl Apt {
    fn new(arch: Arch, folder: &Path) -> Result<Self, String> {
        let folder = folder.join("apt");
        for part in ["lists/partial", "archives/partial"] {
            let part = folder.join(part);
            std::fs::create_dir_all(&part).map_err(|error| format!("{}: {error}", part.display()))?;
        }
        Ok(Self { arch, mirror: mirror()?, folder })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf")).env("LC_ALL", "C").current_dir(&self.folder);
        command
    }

    /// Downloads the newest kernel's package of one suite.
    fn kernel(&self, suite: &str) -> Result<PathBuf, String> {
        let arch = self.arch.debian();
        let at = self.folder.display();
        let write = |name: &str, text: String| {
            std::fs::write(self.folder.join(name), text).map_err(|error| format!("{at}/{name}: {error}"))
        };
        write("sources.list", format!("deb [arch={arch} signed-by={KEYRING}] {} {suite} main\n", self.mirror))?;
        write("status", String::new())?;
        write(
            "apt.conf",
            format!(
                "Dir::Etc::sourcelist \"{at}/sources.list\";\nDir::Etc::sourceparts \"-\";\n\
                 Dir::State::lists \"{at}/lists\";\nDir::State::status \"{at}/status\";\n\
                 Dir::Cache \"{at}\";\nDir::Cache::archives \"{at}/archives\";\n\
                 APT::Architecture \"{arch}\";\nAPT::Architectures {{ \"{arch}\"; }};\n\
                 Acquire::Languages \"none\";\nAPT::Sandbox::User \"\";\n"
            ),
        )?;
        said(self.command("apt-get").args(["update", "-q"]))?;
        let name = format!("linux-image-{arch}");
        let depends = said(self.command("apt-cache").args(["depends", "--important", &name]))?;
        let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).map(str::to_owned);
        let package = package.ok_or_else(|| format!("no package {name}"))?;
        said(self.command("apt-get").args(["download", "-q", &package]))?;
        let found = std::fs::read_dir(&self.folder).map_err(|error| format!("{at}: {error}"))?;
        let mut found = found.flatten().map(|entry| entry.path());
        found.find(|path| path.extension().is_some_and(|e| e == "deb")).ok_or_else(|| format!("{package} did not come"))
    }
}

/// The mirror that this machine uses itself.
fn mirror() -> Result<String, String> {
    const FORMAT: &str = "$(REPO_URI) $(LABEL)";
    let targets = said(Command::new("apt-get").args(["indextargets", "--format", FORMAT, "Created-By: Packages"]))?;
    let debian = targets.lines().find_map(|line| line.strip_suffix(" Debian"));
    debian.map(str::to_owned).ok_or_else(|| "apt knows no mirror of Debian on this machine".into())
}

/// Takes the kernel out of its package, which has hundreds of megabytes of modules besides.
fn unpack(package: &Path, folder: &Path, kernel: &Path) -> Result<(), String> {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.arg("--fsys-tarfile").arg(package).stdout(std::process::Stdio::piped());
    let mut dpkg = dpkg.spawn().map_err(|error| format!("cannot run dpkg-deb: {error}"))?;
    let tape = dpkg.stdout.take().ok_or("no pipe to dpkg-deb")?;
    said(Command::new("tar").arg("-C").arg(folder).args(["-x", "--wildcards", "./boot/vmlinu*"]).stdin(tape))?;
    let _ = dpkg.wait();
    let boot = folder.join("boot");
    let found = std::fs::read_dir(&boot).map_err(|error| format!("{}: {error}", boot.display()))?;
    let image = found.flatten().next().ok_or_else(|| format!("no kernel in {}", package.display()))?.path();
    std::fs::rename(&image, kernel).map_err(|error| format!("{}: {error}", image.display()))
}

/// What a command prints; if it fails, the reason is its complaints.
fn said(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().display().to_string();
    let output = command.output().map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
