//! An execution in words: what each process did, and whose stores its fetches and loads got.

use super::candidate::Candidate;
use super::event::Kind;
use super::test::Test;
use super::value::{Location, Value};

/// One instruction of an execution.
#[derive(Clone, Debug)]
pub struct Line {
    /// `P0`, or `P0.F` in a handler.
    pub column: String,
    /// A label of its address.
    pub label: Option<String>,
    /// The instruction that was executed.
    pub instr: String,
    /// What its fetch and load got, what it stored; empty for all others.
    pub what: String,
}

/// An execution.
#[derive(Clone, Debug)]
pub struct Witness {
    /// The models that allow it.
    pub models: Vec<&'static str>,
    /// All processes, one after the other, each in its order.
    pub lines: Vec<Line>,
    /// For each location with several stores, their order.
    pub order: Vec<String>,
}

impl Witness {
    pub(super) fn new(test: &Test, c: &Candidate<'_>, models: Vec<&'static str>) -> Self {
        let mut lines = Vec::new();
        for (process, path) in c.paths.iter().enumerate() {
            for (number, step) in path.steps.iter().enumerate() {
                let events =
                    (0..c.len()).filter(|e| usize::from(c.process[*e]) == process && c.events[*e].step == number);
                let what: Vec<String> = events.filter_map(|e| words(test, c, e)).collect();
                let original = test.slot(step.at).filter(|slot| slot.instr == step.instr);
                lines.push(Line {
                    column: test.columns[usize::from(step.at.column)].name.clone(),
                    label: test.label_at(step.at).map(str::to_string),
                    instr: original
                        .map_or_else(|| test.show(Value::Instr(step.instr)).replace('"', ""), |s| s.text.clone()),
                    what: what.join("; "),
                });
                if usize::from(test.columns[usize::from(step.at.column)].process) != process
                    && let Some(line) = lines.last_mut()
                {
                    line.what =
                        format!("executed by P{process}{}{}", if line.what.is_empty() { "" } else { "; " }, line.what);
                }
            }
        }
        let several = c.order.iter().filter(|(_, stores)| stores.len() > 1);
        let order = several.map(|(at, stores)| {
            let stores: Vec<String> = stores.iter().map(|e| store(test, c, *e)).collect();
            format!("{}: {}", test.name_of(*at), stores.join(", then "))
        });
        Self { models, lines, order: order.collect() }
    }
}

/// `1 of P0`.
fn store(test: &Test, c: &Candidate<'_>, e: usize) -> String {
    format!("{} of P{}", test.show(c.events[e].value), c.process[e])
}

fn words(test: &Test, c: &Candidate<'_>, e: usize) -> Option<String> {
    let event = c.events[e];
    let at = event.at.map(|at| test.name_of(at)).unwrap_or_default();
    let value = test.show(event.value);
    let source = || match c.from[e] {
        Some(from) => format!("stored by P{}", c.process[from]),
        None if matches!(event.at, Some(Location::Code(_))) => "that stood there first".into(),
        None => "from the initial state".into(),
    };
    match event.kind {
        Kind::Fetch => Some(format!("fetches the {value} {}", source())),
        Kind::Read(_) => Some(format!("reads {value} at {at}, {}", source())),
        Kind::Write(_) => Some(format!("stores {value} at {at}")),
        _ => None,
    }
}
