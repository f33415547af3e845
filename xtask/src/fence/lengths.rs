//! One concept a file: from 400 lines on it deserves another look, from 800 on it is too much.

use super::Violation;
use crate::workspace::SourceFile;

const LOOK_AGAIN: usize = 400;
const TOO_LONG: usize = 800;

pub fn check(file: &SourceFile, found: &mut Vec<Violation>) {
    let lines = file.text.lines().count();
    if lines > TOO_LONG {
        let message = format!("{lines} lines: more than one concept; {TOO_LONG} is the limit");
        found.push(Violation::new(file, 0, message));
    }
}

/// Files that are allowed, but long.
pub fn long_files(files: &[SourceFile]) -> Vec<String> {
    let mut long = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let lines = file.text.lines().count();
        if (LOOK_AGAIN + 1..=TOO_LONG).contains(&lines) {
            long.push(format!("{} has {lines} lines: look again", file.path));
        }
    }
    long
}

#[cfg(test)]
mod tests {
    use super::super::tests::found;
    use super::*;

    #[test]
    fn the_limits_are_kept() {
        let file = |lines: usize| SourceFile { path: "a.rs".into(), text: "x\n".repeat(lines) };
        assert_eq!(found(check, "a.rs", file(TOO_LONG).text), []);
        assert_eq!(found(check, "a.rs", file(TOO_LONG + 1).text).len(), 1);
        let long = long_files(&[file(LOOK_AGAIN), file(LOOK_AGAIN + 1)]);
        assert_eq!(long.len(), 1);
    }
}
