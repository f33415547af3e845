//! Nothing unfinished is committed, and no test is switched off.

use super::Violation;
use crate::source::{code_only, line_of, words};
use crate::workspace::SourceFile;

/// Marks of unfinished work, in code and prose. Split, so that this file keeps its own rule.
const MARKS: [&str; 4] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];
/// The same as code.
const CODE: [&str; 3] = [concat!("to", "do!"), concat!("unimple", "mented!"), concat!("#[ig", "nore")];

pub fn check(file: &SourceFile, found: &mut Vec<Violation>) {
    for mark in MARKS {
        for at in words(&file.text, mark) {
            found.push(Violation::new(file, line_of(&file.text, at), format!("unfinished work: {mark}")));
        }
    }
    if file.is_rust() {
        let code = code_only(&file.text);
        for mark in CODE {
            for (at, _) in code.match_indices(mark) {
                found.push(Violation::new(file, line_of(&code, at), format!("unfinished work: {mark}")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::found;
    use super::*;

    #[test]
    fn every_mark_is_found() {
        for mark in MARKS.iter().chain(&CODE) {
            let text = format!("fn f() {{\n    {mark}\n}}");
            let violations = found(check, "crates/x/src/lib.rs", text);
            assert_eq!(violations.len(), 1, "{mark}");
            assert_eq!(violations[0].line, 2);
        }
        assert_eq!(found(check, "README.md", format!("* {}: a picture", MARKS[0])).len(), 1);
    }

    #[test]
    fn parts_of_words_are_not() {
        assert_eq!(found(check, "README.md", format!("MAS{}ON {}S", MARKS[0], MARKS[0])), []);
    }
}
