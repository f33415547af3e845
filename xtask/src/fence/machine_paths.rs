//! Nothing refers to one particular machine.

use super::Violation;
use crate::workspace::SourceFile;

/// Beginnings of paths that exist on the machine of whoever wrote them. Split, so that this file keeps its own rule.
const PREFIXES: [&str; 5] = [
    concat!("/", "work/"),
    concat!("/", "tmp/", "tp/"),
    concat!("/", "root/"),
    concat!("/", "home/"),
    concat!("/", "Users/"),
];

pub fn check(file: &SourceFile, found: &mut Vec<Violation>) {
    for (line, text) in (1..).zip(file.text.lines()) {
        for prefix in PREFIXES {
            if names_machine(text, prefix) {
                found.push(Violation::new(file, line, format!("a path of one machine: {prefix}")));
            }
        }
    }
}

/// The path must start here: `../framework/x` and `https://host/home/` are something else.
fn names_machine(text: &str, prefix: &str) -> bool {
    text.match_indices(prefix).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || "._-~*$}".contains(before))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::found;
    use super::*;

    #[test]
    fn a_path_of_a_machine_is_found_anywhere() {
        let path = format!("see {}main for more", PREFIXES[0]);
        assert_eq!(found(check, "README.md", path.clone()).len(), 1);
        assert_eq!(found(check, "crates/x/src/lib.rs", format!("// {path}")).len(), 1);
        assert_eq!(found(check, "x.sh", format!("\"{}me/x\"", PREFIXES[3])).len(), 1);
    }

    #[test]
    fn relative_paths_are_not() {
        assert_eq!(found(check, "README.md", format!("a/b{}x ..{}y", PREFIXES[0], PREFIXES[0])), []);
    }
}
