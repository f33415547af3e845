//! Unsafe code stays in the crates that act on machines, and every piece says why it is sound.

use super::Violation;
use crate::source::{code_only, line_of, words};
use crate::workspace::SourceFile;

/// Crates (by folder) or single files in which unsafe code may be.
const ALLOWED: [&str; 11] = [
    "crates/cpu/",
    // A site is an instruction, which only asm! can leave in a function.
    "crates/keys/",
    "crates/linux/",
    "crates/bare/",
    "crates/textpoke/",
    // Pointers come from C, and C finds functions by their names.
    "crates/capi/",
    "crates/attach/",
    // Generated code that is torn on purpose, and signal handlers that survive it.
    "crates/litmus/",
    "agent/",
    // A kernel: its entry code, its page tables, its devices.
    "kernel/",
    // fork, signal handlers and epoll_wait have no safe form in std; the workload is there to do just that.
    "crates/workload/src/sys.rs",
];
/// So many lines above an unsafe piece, its reason must have begun.
const REASON_WITHIN: usize = 12;

pub fn check(file: &SourceFile, found: &mut Vec<Violation>) {
    let code = code_only(&file.text);
    let allowed = ALLOWED.iter().any(|prefix| file.path.starts_with(prefix));
    let lines: Vec<&str> = file.text.lines().collect();
    for at in words(&code, "unsafe") {
        let line = line_of(&code, at);
        if !allowed {
            found.push(Violation::new(file, line, "unsafe code outside the crates that may have it"));
        } else if needs_reason(&code[at + "unsafe".len()..]) && !has_reason(&lines, line) {
            let message = format!("no SAFETY comment within {REASON_WITHIN} lines above");
            found.push(Violation::new(file, line, message));
        }
    }
    if !allowed {
        for at in words(&code, "unsafe_code") {
            found.push(Violation::new(
                file,
                line_of(&code, at),
                "the fence is lifted here: only the workspace decides that",
            ));
        }
    }
}

/// Blocks and impls make a claim; `unsafe fn`, `unsafe extern` and `#[unsafe(...)]` hand it to somebody else, and
/// clippy sees to the documentation of functions.
fn needs_reason(after: &str) -> bool {
    let after = after.trim_start();
    after.starts_with('{') || words(after, "impl").next() == Some(0)
}

fn has_reason(lines: &[&str], line: usize) -> bool {
    let first = line.saturating_sub(1 + REASON_WITHIN);
    lines[first..line].iter().any(|text| text.contains("SAFETY") || text.contains("# Safety"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::found;
    use super::*;

    /// The word is put in here, so that no tool takes this file's strings for the real thing.
    fn at(path: &str, text: &str) -> usize {
        found(check, path, text.replace("UNSAFE", "unsafe")).len()
    }

    #[test]
    fn outside_the_fence_every_kind_is_found() {
        for text in [
            "fn f() { UNSAFE { g() } } // SAFETY: it is",
            "UNSAFE fn f() {}",
            "UNSAFE trait T {}",
            "#[UNSAFE(no_mangle)] fn f() {}",
            "#![allow(UNSAFE_code, reason = \"\")]",
        ] {
            assert_eq!(at("crates/core/src/lib.rs", text), 1, "{text}");
            assert_eq!(at("crates/workload/src/lib.rs", text), 1, "{text}");
        }
    }

    #[test]
    fn words_in_comments_and_strings_are_none() {
        let text = "//! nothing here is UNSAFE\nlet s = \"UNSAFE {\"; let unsafely = 1;";
        assert_eq!(at("crates/core/src/lib.rs", text), 0);
    }

    #[test]
    fn inside_the_fence_a_reason_is_needed() {
        let path = "crates/cpu/src/lib.rs";
        assert_eq!(at(path, "fn f() {\n    UNSAFE { g() }\n}"), 1);
        assert_eq!(at(path, "UNSAFE impl Send for X {}"), 1);
        assert_eq!(at(path, "// SAFETY: no condition.\nUNSAFE { g() }"), 0);
        assert_eq!(at(path, "/// # Safety\n/// p is valid.\nUNSAFE fn f() {}"), 0);
        let far = format!("// SAFETY: too far away.\n{}UNSAFE {{ g() }}", "x;\n".repeat(REASON_WITHIN));
        assert_eq!(at(path, &far), 1);
    }
}
