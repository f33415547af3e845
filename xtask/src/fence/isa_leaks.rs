//! Knowledge of an instruction set is a type; only the few files that *act* on one ask for the target.

use super::Violation;
use crate::source::{code_only, line_of, words};
use crate::workspace::SourceFile;

/// Files that may ask. A new one needs a reason here.
const ALLOWED: [&str; 7] = [
    // Which type is the native one.
    "crates/core/src/isa/mod.rs",
    // Which file of instructions is compiled.
    "crates/cpu/src/lib.rs",
    // Which file of assembly the macros are made of.
    "crates/keys/src/lib.rs",
    // Which platforms the live machine exists for, and which folder of it is compiled.
    "crates/linux/src/lib.rs",
    "crates/bare/src/lib.rs",
    // Which folder of a test kernel is compiled.
    "kernel/src/arch/mod.rs",
    // Which platforms have silicon to be asked; elsewhere it refuses.
    "crates/litmus/src/lib.rs",
];

pub fn check(file: &SourceFile, found: &mut Vec<Violation>) {
    if ALLOWED.contains(&file.path.as_str()) {
        return;
    }
    let code = code_only(&file.text);
    for at in words(&code, "target_arch") {
        let message = "asks for the target's instruction set; make it a type, or say in xtask why this file may";
        found.push(Violation::new(file, line_of(&code, at), message));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::found;
    use super::*;

    #[test]
    fn a_new_place_is_found() {
        let text = "#[cfg(target_arch = \"x86_64\")]\nmod x86_64;";
        assert_eq!(found(check, "crates/core/src/plan.rs", text).len(), 1);
        assert_eq!(found(check, "crates/cpu/src/lib.rs", text), []);
        assert_eq!(found(check, "crates/core/src/plan.rs", "// target_arch"), []);
    }
}
