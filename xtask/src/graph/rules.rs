//! The list of arrows, and what may come from outside.

use super::{Arrow, Kind};
use std::collections::BTreeMap;

/// Who may use whom (without the prefix `textpoke-`), in every kind of dependency.
///
/// The chain `core <- cpu <- {linux, bare} <- textpoke` may be shortened: a crate may name the types
/// of everything below it on the chain.
const ARROWS: [(&str, &[&str]); 15] = [
    ("core", &[]),
    ("trace", &[]),
    ("workload", &[]),
    ("cpu", &["core"]),
    // What a site is and which bytes it gets is the same in a process and in a kernel, so below both.
    ("keys", &["core"]),
    ("linux", &["core", "cpu"]),
    ("bare", &["core", "cpu"]),
    ("textpoke", &["core", "cpu", "keys", "linux", "bare"]),
    // The same library for C: functions with C's names around it.
    ("capi", &["textpoke"]),
    ("model", &["core"]),
    ("analyze", &["core"]),
    // Runs what the checker explores on the live machine, and compares: it must know both.
    ("litmus", &["core", "cpu", "linux", "model"]),
    ("agent", &["core", "trace", "linux"]),
    // Flips keys of another process, whose tables it reads.
    ("attach", &["core", "keys", "trace", "linux"]),
    ("cli", &["core", "keys", "textpoke", "analyze", "attach", "trace", "model", "workload", "litmus"]),
];

/// Further arrows of tests, examples and benchmarks only, with the reason.
const DEV_ARROWS: [(&str, &str); 6] = [
    // Keys are flipped from outside while a program flips them itself.
    ("attach", "textpoke"),
    // End-to-end tests and the benchmark need plans of real programs, and something to attach to.
    ("attach", "analyze"),
    ("attach", "workload"),
    // Recorded live steps are compared with the checker's path.
    ("linux", "model"),
    ("bare", "model"),
    // What the decision says can be patched is really patched and run.
    ("analyze", "linux"),
];

/// Crates that live in a kernel or inside somebody else's process: they bring nothing along.
const NOTHING_FOREIGN: [&str; 7] = ["core", "cpu", "keys", "linux", "bare", "trace", "agent"];

/// The automation stands outside; it may use what it likes except the project itself.
const AUTOMATION: &str = "xtask";

/// The short name of a package of this project.
fn short(package: &str) -> &str {
    package.strip_prefix("textpoke-").unwrap_or(package)
}

/// Whether a package is one of this project.
pub(super) fn is_ours(package: &str) -> bool {
    package == "textpoke" || package.starts_with("textpoke-")
}

/// Every problem in plain words.
pub(super) fn check(arrows: &[Arrow]) -> Vec<String> {
    let table: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut problems = Vec::new();
    for arrow in arrows {
        let (from, to) = (short(&arrow.from), short(&arrow.to));
        if from == AUTOMATION {
            if is_ours(&arrow.to) {
                problems
                    .push(format!("xtask -> {}: the automation must build even when the project does not", arrow.to));
            }
        } else if !is_ours(&arrow.to) {
            if NOTHING_FOREIGN.contains(&from) && arrow.kind != Kind::Dev {
                problems.push(format!("{} -> {}: this crate may not bring foreign code along", arrow.from, arrow.to));
            }
        } else {
            match table.get(from) {
                None => problems.push(format!("{}: not in xtask's list of crates; add it with its arrows", arrow.from)),
                Some(allowed) if allowed.contains(&to) => {}
                Some(_) if arrow.kind == Kind::Dev && DEV_ARROWS.contains(&(from, to)) => {}
                Some(_) => {
                    problems.push(format!(
                        "{} -> {} ({:?}): not an arrow of the architecture",
                        arrow.from, arrow.to, arrow.kind
                    ));
                }
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(from: &str, to: &str, kind: Kind) -> Vec<String> {
        check(&[Arrow { from: from.into(), to: to.into(), kind }])
    }

    #[test]
    fn an_arrow_of_the_list_is_fine() {
        assert!(problems("textpoke-model", "textpoke-core", Kind::Normal).is_empty());
        assert!(problems("textpoke-cli", "textpoke", Kind::Normal).is_empty());
        assert!(problems("textpoke-attach", "textpoke-analyze", Kind::Dev).is_empty());
        assert!(problems("textpoke-cli", "clap", Kind::Normal).is_empty());
        assert!(problems("textpoke-core", "proptest", Kind::Dev).is_empty());
    }

    #[test]
    fn another_arrow_is_found() {
        for (from, to, kind) in [
            ("textpoke-core", "textpoke-cpu", Kind::Normal),
            ("textpoke-model", "textpoke-linux", Kind::Dev),
            ("textpoke-attach", "textpoke-analyze", Kind::Normal),
            ("textpoke-attach", "textpoke-cli", Kind::Build),
            ("textpoke-agent", "textpoke-analyze", Kind::Normal),
            ("textpoke-workload", "textpoke", Kind::Dev),
            ("textpoke-surprise", "textpoke-core", Kind::Normal),
            ("xtask", "textpoke-core", Kind::Normal),
            ("textpoke-core", "libc", Kind::Normal),
            ("textpoke-agent", "libc", Kind::Build),
        ] {
            assert_eq!(problems(from, to, kind).len(), 1, "{from} -> {to}");
        }
    }

    #[test]
    fn the_list_has_no_circle() {
        // Taken in the order of the list, everything named on the right has been on the left before.
        let mut seen = Vec::new();
        for (from, to) in ARROWS {
            assert!(to.iter().all(|to| seen.contains(to)), "{from}");
            seen.push(from);
        }
    }
}
