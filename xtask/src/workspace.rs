//! Where things are in this repository.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The checkout this program was built from.
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    pub fn find() -> Result<Self, String> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().ok_or("xtask has no parent folder")?;
        Ok(Self { root: root.to_path_buf() })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The agent's manifest: a workspace of its own, because it is built without std for the target process.
    pub fn agent_manifest(&self) -> PathBuf {
        self.root.join("agent/Cargo.toml")
    }

    /// Cargo, as the one that runs us, in the root.
    pub fn cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root).args(args);
        command
    }

    /// Where cargo puts what it builds.
    pub fn target_directory(&self) -> Result<PathBuf, String> {
        let args = ["metadata", "--format-version", "1", "--no-deps", "--offline"];
        let output = self.cargo(&args).output().map_err(|error| format!("cannot run cargo: {error}"))?;
        let value: serde_json::Value =
            serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
        let directory = value.get("target_directory").and_then(|d| d.as_str());
        directory.map(PathBuf::from).ok_or_else(|| "cargo metadata names no target directory".into())
    }

    /// The folder of a package that this workspace depends on.
    pub fn package(&self, name: &str) -> Result<PathBuf, String> {
        let args = ["metadata", "--format-version", "1", "--offline"];
        let output = self.cargo(&args).output().map_err(|error| format!("cannot run cargo: {error}"))?;
        let value: serde_json::Value =
            serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
        let packages = value["packages"].as_array().ok_or("cargo metadata names no packages")?;
        let manifest =
            packages.iter().find(|package| package["name"] == name).and_then(|p| p["manifest_path"].as_str());
        let folder = manifest.and_then(|manifest| Path::new(manifest).parent());
        folder.map(Path::to_path_buf).ok_or_else(|| format!("this workspace depends on no {name}"))
    }

    /// Every text file of the project, relative to the root: those that git has or would add. Build output and the like are ignored.
    pub fn files(&self) -> Result<Vec<SourceFile>, String> {
        let output = Command::new("git")
            .current_dir(&self.root)
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .output()
            .map_err(|error| format!("cannot run git: {error}"))?;
        if !output.status.success() {
            return Err(format!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        let listing = String::from_utf8(output.stdout).map_err(|_| "a file name that is not UTF-8")?;
        let mut files = Vec::new();
        for path in listing.split('\0').filter(|path| !path.is_empty()) {
            let bytes = match std::fs::read(self.root.join(path)) {
                Ok(bytes) => bytes,
                // Deleted but not yet committed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(format!("cannot read {path}: {error}")),
            };
            // Pictures and binary fixtures are not ours to judge.
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(SourceFile { path: path.to_owned(), text });
            }
        }
        Ok(files)
    }
}

/// One file of the project.
pub struct SourceFile {
    /// Relative to the root, with `/`.
    pub path: String,
    pub text: String,
}

impl SourceFile {
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}
