//! The lints that hold the fence are on, and every crate inherits them.

use super::Violation;
use crate::workspace::SourceFile;

/// What the root manifest, the agent's and the kernel's must say.
const REQUIRED: [&str; 5] = [
    "unsafe_op_in_unsafe_fn = \"deny\"",
    "undocumented_unsafe_blocks = \"deny\"",
    "missing_safety_doc = \"deny\"",
    "allow_attributes_without_reason = \"deny\"",
    "missing_docs = \"warn\"",
];

pub fn check(files: &[SourceFile]) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in files {
        match file.path.as_str() {
            "Cargo.toml" => {
                require(file, &REQUIRED, &mut found);
                require(file, &["unsafe_code = \"deny\""], &mut found);
            }
            // Workspaces of their own, all of them unsafe by nature.
            "agent/Cargo.toml" | "kernel/Cargo.toml" => require(file, &REQUIRED, &mut found),
            // Programs of a test, which are built as others would build theirs.
            path if is_member(path) && is_root(&file.text) => require(file, &REQUIRED, &mut found),
            path if is_member(path) && !inherits(&file.text) => {
                found.push(Violation::new(file, 0, "add `[lints]` with `workspace = true`"));
            }
            _ => {}
        }
    }
    found
}

fn is_member(path: &str) -> bool {
    path == "xtask/Cargo.toml" || (path.starts_with("crates/") && path.ends_with("/Cargo.toml"))
}

fn is_root(manifest: &str) -> bool {
    manifest.lines().any(|line| line.trim() == "[workspace]")
}

fn require(file: &SourceFile, settings: &[&str], found: &mut Vec<Violation>) {
    for setting in settings {
        if !file.text.lines().any(|line| line.trim() == *setting) {
            found.push(Violation::new(file, 0, format!("the lint setting `{setting}` is missing")));
        }
    }
}

fn inherits(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
    lines.find(|line| !line.is_empty()) == Some("workspace = true")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&[SourceFile { path: path.into(), text: text.into() }]).len()
    }

    #[test]
    fn a_member_without_the_lints_is_found() {
        assert_eq!(count("crates/core/Cargo.toml", "[package]\nname = \"x\"\n"), 1);
        assert_eq!(count("crates/core/Cargo.toml", "[lints]\n\n[dependencies]\nworkspace = true"), 1);
        assert_eq!(count("crates/core/Cargo.toml", "[package]\n[lints]\nworkspace = true\n"), 0);
    }

    #[test]
    fn a_root_without_the_fence_is_found() {
        assert_eq!(count("Cargo.toml", "[workspace]\n"), REQUIRED.len() + 1);
        let all = REQUIRED.join("\n");
        assert_eq!(count("Cargo.toml", &format!("{all}\nunsafe_code = \"warn\"")), 1);
        assert_eq!(count("agent/Cargo.toml", &all), 0);
    }
}
