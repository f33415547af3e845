//! Rules about the sources that no compiler checks. Each file of this folder is one kind.

mod isa_leaks;
mod lengths;
mod lints;
mod machine_paths;
mod unfinished;
mod unsafety;

use crate::workspace::{SourceFile, Workspace};

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub path: String,
    /// Counted from 1; 0 if it is the whole file.
    pub line: usize,
    pub message: String,
}

impl Violation {
    fn new(file: &SourceFile, line: usize, message: impl Into<String>) -> Self {
        Self { path: file.path.clone(), line, message: message.into() }
    }
}

pub fn run(workspace: &Workspace) -> Result<(), String> {
    let files = workspace.files()?;
    let violations = check(&files);
    for violation in &violations {
        println!("{}:{}: {}", violation.path, violation.line, violation.message);
    }
    for file in lengths::long_files(&files) {
        println!("note: {file}");
    }
    match violations.len() {
        0 => {
            println!("fence: {} files keep the rules", files.len());
            Ok(())
        }
        count => Err(format!("fence: {count} violation(s)")),
    }
}

fn check(files: &[SourceFile]) -> Vec<Violation> {
    let mut found = lints::check(files);
    for file in files {
        machine_paths::check(file, &mut found);
        unfinished::check(file, &mut found);
        if file.is_rust() {
            unsafety::check(file, &mut found);
            isa_leaks::check(file, &mut found);
            lengths::check(file, &mut found);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one checker says about one file.
    pub(super) fn found(
        checker: fn(&SourceFile, &mut Vec<Violation>),
        path: &str,
        text: impl Into<String>,
    ) -> Vec<Violation> {
        let mut found = Vec::new();
        checker(&SourceFile { path: path.into(), text: text.into() }, &mut found);
        found
    }
}
