//! The tables of `docs/protocol-files.md`, so that they cannot rot.

use std::fmt::Write as _;

use super::names;
use super::steps::{all, purpose};
use super::world::KNOBS;
use crate::property::{Sometimes, Violation};
use crate::trace::step_name;

/// One table, by what stands behind `generated: ` on the page; `None` if there is no such table.
pub fn reference(what: &str) -> Option<String> {
    let mut out = String::new();
    match what {
        "steps" => {
            out.push_str("| step | after it |\n|---|---|\n");
            for step in all() {
                let _ = writeln!(out, "| `{}` | {} |", step_name(step), purpose(step));
            }
        }
        "rules" => {
            out.push_str("| rule | what it says | for |\n|---|---|---|\n");
            for knob in KNOBS {
                for (i, phrase) in knob.phrases.iter().enumerate() {
                    let rule = if i == 0 { format!("**`{}`**", phrase.words) } else { format!("`{}`", phrase.words) };
                    let whom = if knob.whom == "everybody" { "" } else { knob.whom };
                    let _ = writeln!(out, "| {rule} | {} | {whom} |", phrase.about);
                }
            }
        }
        "violations" => {
            out.push_str("| name | number | what went wrong |\n|---|---|---|\n");
            for v in Violation::ALL {
                let _ =
                    writeln!(out, "| `{}` | {} | {} |", names::kebab(&v), v.number().unwrap_or_default(), v.sentence());
            }
        }
        "events" => {
            let names: Vec<String> = Sometimes::ALL.iter().map(|s| format!("`{}`", names::kebab(s))).collect();
            let _ = writeln!(out, "{}", names.join(", "));
        }
        _ => return None,
    }
    Some(out)
}
