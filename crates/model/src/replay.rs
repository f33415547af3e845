//! A counterexample walked again, by the choices that were written down with it.

use std::collections::HashSet;

use crate::action::Action;
use crate::explore::LIVENESS;
use crate::machine::{Machine, Who};
use crate::options::Options;
use crate::property::Violation;
use crate::reduce::canonical;
use crate::report::Unknown;
use crate::scenario::Scenario;
use crate::state::State;
use crate::trace::{Line, bytes, pick, words};

/// What walking the choices led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// The bytes at the start.
    pub start: Vec<String>,
    /// The transitions that were taken. Fewer than there were choices if it ended early.
    pub lines: Vec<Line>,
    /// How it ended.
    pub ending: Ending,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The last transition taken is a violation; or a state was reached from which the patcher can never finish.
    Violated(Violation),
    /// All choices were taken, and nothing is wrong.
    Nothing,
    /// There is no such choice: so many transitions leave the state that was reached.
    NoChoice(usize),
    /// The scenario does not fit into the packed state.
    TooBig,
}

/// Walks choices (the `choice` of each line of a trace) in the check and under the options that they came from.
pub fn walk(name: &str, options: &Options, choices: &[usize]) -> Result<Walk, Unknown> {
    options.prepare(name).map(|(_, scenario)| walk_in(&scenario, choices))
}

/// The same in the scenario that they came from.
pub fn walk_in(scenario: &Scenario, choices: &[usize]) -> Walk {
    let Ok(machine) = Machine::new(scenario) else {
        return Walk { start: Vec::new(), lines: Vec::new(), ending: Ending::TooBig };
    };
    match machine.slots() {
        0..=1 => take::<1>(&machine, choices),
        2 => take::<2>(&machine, choices),
        3 => take::<3>(&machine, choices),
        4 => take::<4>(&machine, choices),
        _ => take::<5>(&machine, choices),
    }
}

/// The violation that the last of these choices leads to, if it does.
pub fn replay(name: &str, options: &Options, choices: &[usize]) -> Result<Option<Violation>, Unknown> {
    let walk = walk(name, options, choices)?;
    Ok(match walk.ending {
        Ending::Violated(violation) if walk.lines.len() == choices.len() => Some(violation),
        _ => None,
    })
}

fn take<const N: usize>(machine: &Machine, choices: &[usize]) -> Walk {
    let mut at = match machine.initial::<N>() {
        Ok(at) => at,
        Err(violation) => {
            return Walk { start: Vec::new(), lines: Vec::new(), ending: Ending::Violated(violation) };
        }
    };
    let start = bytes(machine, at.text);
    let mut lines = Vec::new();
    for &choice in choices {
        let mut n = 0;
        let picked = pick(machine, &at, |_| {
            n += 1;
            n == choice.saturating_add(1)
        });
        let Some((cpu, action, to, _)) = picked else {
            return Walk { start, lines, ending: Ending::NoChoice(n) };
        };
        let what = words(machine, cpu, action, &at);
        let after = to.unwrap_or(at);
        lines.push(Line { cpu, what, text: bytes(machine, after.text), choice });
        match to {
            Ok(to) => at = to,
            Err(violation) => return Walk { start, lines, ending: Ending::Violated(violation) },
        }
    }
    let stuck = cannot_finish(machine, at);
    Walk { start, lines, ending: if stuck { Ending::Violated(Violation::Deadlock) } else { Ending::Nothing } }
}

/// Whether no way leads from here to the end of the patcher's work. Of more states than an exploration proves this for,
/// none is said to be stuck.
fn cannot_finish<const N: usize>(machine: &Machine, from: State<N>) -> bool {
    let from = canonical(from);
    let (mut known, mut todo) = (HashSet::from([from]), vec![from]);
    while let Some(s) = todo.pop() {
        if machine.is_over(&s) || known.len() > LIVENESS {
            return false;
        }
        machine.successors(&s, &mut |_: Who, _: Action, to: Result<State<N>, Violation>| {
            if let Ok(to) = to.map(canonical)
                && known.insert(to)
            {
                todo.push(to);
            }
        });
    }
    true
}
