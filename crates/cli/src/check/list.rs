//! `check --list`: what can be checked.

use std::fmt::Write as _;

use serde_json::{Value, json};
use textpoke_model::{Check, IsaId, checks};

use super::cells::{hang, pad};
use super::choice::isas;
use crate::text::Paint;

/// Every check with its title: the protocols, then the variants by the instruction sets that they are for.
#[must_use]
pub fn list(isa: Option<IsaId>, width: usize, paint: Paint) -> String {
    let all: Vec<&Check> = of(isa).collect();
    let column = all.iter().map(|check| check.name.len()).max().unwrap_or(0) + 4;
    let mut out = paint.bold("As they run live") + "\n";
    let entry = |out: &mut String, check: &Check, rest: &str| {
        let text = hang("", column, &(check.title.to_string() + rest), width);
        let name = pad(&format!("  {}", check.name), column);
        let _ = write!(out, "{}{}", paint.cyan(&name), text.trim_start());
    };
    for check in all.iter().filter(|check| check.built_in.is_some()) {
        let everywhere = check.isas.len() == IsaId::ALL.len();
        let rest = if everywhere { String::new() } else { format!(" ({} only)", isas(check.isas)) };
        entry(&mut out, check, &rest);
    }
    for group in groups(&all) {
        let title = match group.len() == IsaId::ALL.len() {
            true => "Variants on every instruction set, most of them wrong".into(),
            false => format!("Variants on {}", isas(group)),
        };
        let _ = writeln!(out, "\n{}", paint.bold(&title));
        for check in all.iter().filter(|check| check.built_in.is_none() && check.isas == group) {
            entry(&mut out, check, "");
        }
    }
    out
}

/// The same as JSON.
#[must_use]
pub fn json(isa: Option<IsaId>) -> Value {
    of(isa).map(entry).collect()
}

/// A check as JSON.
#[must_use]
pub fn entry(check: &Check) -> Value {
    let isas: Vec<&str> = check.isas.iter().map(|isa| isa.name()).collect();
    json!({"name": check.name, "title": check.title, "live": check.built_in.is_some(), "isas": isas})
}

fn of(isa: Option<IsaId>) -> impl Iterator<Item = &'static Check> {
    checks().filter(move |check| isa.is_none_or(|isa| check.isas.contains(&isa)))
}

/// The sets of instruction sets that variants are for, the largest first.
fn groups(all: &[&'static Check]) -> Vec<&'static [IsaId]> {
    let mut groups: Vec<&[IsaId]> = Vec::new();
    for check in all.iter().filter(|check| check.built_in.is_none()) {
        if !groups.contains(&check.isas) {
            groups.push(check.isas);
        }
    }
    groups.sort_by_key(|isas| (std::cmp::Reverse(isas.len()), IsaId::ALL.iter().position(|isa| *isa == isas[0])));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_once_and_those_of_one_instruction_set() {
        let text = list(None, 100, Paint::none());
        for check in checks() {
            assert_eq!(text.matches(&format!("\n  {}  ", check.name)).count(), 1, "{}: {text}", check.name);
        }
        assert!(text.contains("\nVariants on aarch64 and riscv64\n"), "{text}");
        let riscv = list(Some(IsaId::Riscv), 100, Paint::none());
        assert!(riscv.contains("\n  merge  ") && !riscv.contains("five-nops") && !riscv.contains("word-local"));
    }
}
