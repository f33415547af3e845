//! Counterexamples: a line for each transition, CPU by CPU, with the bytes; replayable.

use std::fmt;

use serde::{Deserialize, Serialize};
use textpoke_core::{Direction, Phase, Step};

use crate::action::{Action, Answer, NmiStep, What};
use crate::machine::{Machine, Who};
use crate::property::Violation;
use crate::reduce::canonical;
use crate::state::{DataStore, Spot, State, Visit};

/// One transition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Who: 0 the patcher, then the CPUs.
    pub cpu: Who,
    /// What it does.
    pub what: String,
    /// The bytes of each site afterwards.
    pub text: Vec<String>,
    /// Which of the transitions of the state before it is, for replaying.
    pub choice: usize,
}

/// The shortest way to a violation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// What goes wrong.
    pub violation: Violation,
    /// The bytes at the start.
    pub start: Vec<String>,
    /// The transitions; the last one is the violation, except in a deadlock.
    pub lines: Vec<Line>,
}

/// Finds the transitions between stored states.
pub fn trace<const N: usize>(machine: &Machine, path: &[State<N>], violation: Violation) -> Trace {
    let mut lines = Vec::new();
    let Some(Ok(mut at)) = (!path.is_empty()).then(|| machine.initial::<N>()) else {
        return Trace { violation, start: Vec::new(), lines };
    };
    let start = bytes(machine, at.text);
    for wanted in &path[1..] {
        // The stored state is some permutation of the one that the way leads to.
        let step = pick(machine, &at, |to| matches!(to, Ok(to) if canonical(*to) == *wanted));
        let Some((who, action, Ok(to), choice)) = step else { break };
        lines.push(Line { cpu: who, what: words(machine, who, action, &at), text: bytes(machine, to.text), choice });
        at = to;
    }
    if let Some((who, action, _, choice)) = pick(machine, &at, |to| *to == Err(violation)) {
        lines.push(Line { cpu: who, what: words(machine, who, action, &at), text: bytes(machine, at.text), choice });
    }
    Trace { violation, start, lines }
}

pub(crate) type Picked<const N: usize> = (Who, Action, Result<State<N>, Violation>, usize);

/// The first transition of a state whose outcome is wanted, and which of them it is.
pub(crate) fn pick<const N: usize>(
    machine: &Machine,
    s: &State<N>,
    mut wanted: impl FnMut(&Result<State<N>, Violation>) -> bool,
) -> Option<Picked<N>> {
    let mut found = None;
    let mut n = 0;
    machine.successors(s, &mut |who, action, to| {
        if found.is_none() && wanted(&to) {
            found = Some((who, action, to, n));
        }
        n += 1;
    });
    found
}

/// The bytes of each site.
pub(crate) fn bytes(machine: &Machine, text: u32) -> Vec<String> {
    let width = machine.text.width();
    let site = |site: usize| {
        let first = machine.text.lane(site, 0);
        let lanes = first..first + machine.text.len(site) / width;
        let lane = |lane: usize| lane_text(machine, lane, (text >> (2 * lane) & 3) as u8, width);
        lanes.map(lane).collect::<Vec<_>>().join(" ")
    };
    (0..machine.text.sites()).map(site).collect()
}

/// Bytes as the instruction set's manual writes them: one by one where instructions are bytes; else as numbers, the most
/// significant digit first, of so many bytes each as are one unit of an instruction.
pub fn hex(bytes: &[u8], unit: usize) -> String {
    let number = |bytes: &[u8]| bytes.iter().rev().map(|b| format!("{b:02x}")).collect::<String>();
    bytes.chunks(unit.max(1)).map(number).collect::<Vec<_>>().join(" ")
}

fn place(machine: &Machine, site: u8, offset: u8) -> String {
    match machine.text.sites() {
        1 => format!("+{offset}"),
        _ => format!("{}+{offset}", char::from(b'A' + site)),
    }
}

fn values(machine: &Machine, spot: Spot, from: u8, to: u8, values: u16) -> String {
    let width = machine.text.width();
    let first = machine.text.lane(usize::from(spot.site), usize::from(spot.offset));
    let lanes = (usize::from(from)..usize::from(to)).map(|i| (first + i, (values >> (2 * i) & 3) as u8));
    let bytes = lanes.map(|(lane, number)| lane_text(machine, lane, number, width));
    bytes.collect::<Vec<_>>().join(" ")
}

fn lane_text(machine: &Machine, lane: usize, number: u8, width: usize) -> String {
    if machine.text.is_torn(lane, number) {
        return "??".repeat(width);
    }
    hex(&machine.text.value(lane, number)[..width], width)
}

/// The name of a step as documents and the command line have it.
pub fn step_name(step: Step) -> &'static str {
    match step {
        Step::Open => "open",
        Step::Verify { after: false } => "verify before",
        Step::Verify { after: true } => "verify after",
        Step::Publish => "publish",
        Step::Store { phase, .. } => match phase {
            Phase::Trap => "store trap",
            Phase::TrapHead => "store head trap",
            Phase::Tail => "store tail",
            Phase::Head => "store head",
            Phase::Whole => "store whole",
            Phase::Hop => "store hop",
            Phase::HopTail => "store hop tail",
            Phase::HopHead => "store hop head",
        },
        Step::Maintain => "maintain",
        Step::SyncCores => "sync cores",
        Step::Park => "park",
        Step::Unpark => "unpark",
        Step::AwaitNoneInside => "await none inside",
        Step::Record => "record",
        Step::Announce { idle: true } => "announce when idle",
        Step::Announce { idle: false } => "announce",
        Step::Withdraw => "withdraw",
        Step::AwaitNmis => "await nmis",
        Step::Pause => "pause",
        Step::Retire => "retire",
        Step::Undo(_) => "undo",
        Step::Close => "close",
        Step::Done(_) => "done",
    }
}

/// What `who` does in this state. What it does inside an NMI says so, as the patcher has its CPU's column.
pub(crate) fn words<const N: usize>(machine: &Machine, who: Who, action: Action, s: &State<N>) -> String {
    let inside =
        s.threads.iter().enumerate().any(|(t, th)| machine.who::<N>(*th, t) == who && th.visit() != Visit::None);
    match said(machine, action, s) {
        what if inside && !what.starts_with("NMI") => format!("NMI: {what}"),
        what => what,
    }
}

fn said<const N: usize>(machine: &Machine, action: Action, s: &State<N>) -> String {
    match action {
        Action::Performs { step: Step::Publish, dir } => {
            let form = if dir == Direction::Install { "new" } else { "old" };
            format!("publishes the table: act as the {form} form")
        }
        Action::Performs { step: Step::Retire, .. } => "retires: withdraws the table".into(),
        Action::Performs { step: Step::Done(_), .. } => "returns: withdraws the table".into(),
        Action::Performs { step, .. } => step_name(step).into(),
        Action::Stores { piece, nmi, .. } => {
            let p = &machine.script.pieces[usize::from(piece)];
            let spot = Spot { site: p.site, offset: p.offset, came: 0 };
            let lane = machine.text.lane(usize::from(p.site), usize::from(p.offset));
            let bytes = values(machine, spot, 0, p.len, (p.value >> (2 * lane)) as u16);
            let who = if nmi { "NMI: " } else { "" };
            format!("{who}stores {bytes} at {}", place(machine, p.site, p.offset))
        }
        Action::Asks { step: Step::SyncCores } => "asks all to synchronise".into(),
        Action::Asks { .. } => "asks all to park".into(),
        Action::AllDid { step: Step::SyncCores } => "all synchronised".into(),
        Action::AllDid { step: Step::AwaitNoneInside } => "nobody is inside".into(),
        Action::AllDid { .. } => "all parked".into(),
        Action::Mismatch => format!("{}: mismatch", step_name(machine.node(s).step)),
        Action::Fails { step, done: false } => format!("{} FAILS", step_name(step)),
        Action::Fails { step, done: true } => format!("{} FAILS with its work done", step_name(step)),
        Action::Dies => "KILLED; a repairer begins".into(),
        Action::Begins => "has returned; the next call begins".into(),
        Action::Fetches { spot, from, to, values: v } => {
            let bytes = values(machine, spot, from, to, v);
            let offset = spot.offset + from * machine.text.width() as u8;
            format!("fetches {bytes} at {}", place(machine, spot.site, offset))
        }
        Action::Executes { spot, what, len, values: v, .. } => {
            let bytes = values(machine, spot, 0, len, v);
            let what = match what {
                What::Old => " (old)",
                What::New => " (new)",
                What::Hop => " (passes by)",
                What::Trap => " (trap)",
                What::Both => " (old and new)",
                What::Fixed => ", which changes",
                What::Torn => "",
            };
            format!("executes {bytes} at {}{what}", place(machine, spot.site, spot.offset))
        }
        Action::Records { bytes: false } => "record: the address".into(),
        Action::Records { bytes: true } => "record: the bytes".into(),
        Action::Visible { store } => match store {
            DataStore::Table(_) => "(its table becomes visible)",
            DataStore::Address(_) => "(its record's address becomes visible)",
            DataStore::Bytes(_) => "(its record's bytes become visible)",
            DataStore::Flag(_) => "(its announcement becomes visible)",
        }
        .into(),
        Action::Nmi { step } => match step {
            NmiStep::Arrives { inside: false, .. } => "NMI",
            NmiStep::Arrives { inside: true, .. } => "NMI inside the NMI",
            NmiStep::Counts => "NMI: counts itself",
            NmiStep::Reads { announced: true } => "NMI: a change is announced",
            NmiStep::Reads { announced: false } => "NMI: nothing is announced",
            NmiStep::Enters { announced: true } => "NMI: counts itself, a change is announced",
            NmiStep::Enters { announced: false } => "NMI: counts itself, nothing is announced",
            NmiStep::Address => "NMI: reads the record's address",
            NmiStep::Bytes => "NMI: reads the record's bytes",
            NmiStep::Written => "NMI: has written everything",
            NmiStep::Maintains => "NMI: has written everything, maintains caches",
            NmiStep::Synchronises => "NMI: synchronises",
            NmiStep::Leaves => "NMI returns",
        }
        .into(),
        Action::Synchronises => "synchronises".into(),
        Action::SeenOutside => "is seen outside".into(),
        Action::Moved => "is moved to the copy".into(),
        Action::Parks => "parks".into(),
        Action::Caught => "is caught by a signal".into(),
        Action::Returns => "returns to where it was".into(),
        Action::OwnTrap => "executes a trap of the program's own".into(),
        Action::NoHandler => "its trap finds no handler".into(),
        Action::Looks { still: true } => "handler: the trap stands there".into(),
        Action::Looks { still: false } => "handler: the trap has gone".into(),
        Action::Reads { table: 0 } => "handler: no table".into(),
        Action::Reads { .. } => "handler: reads the table".into(),
        Action::Answers { answer } => match answer {
            Answer::New => "handler: acts as the new form",
            Answer::Old => "handler: acts as the old form",
            Answer::Late => "handler: goes on in the copy",
            Answer::Again => "handler: executes the address again",
            Answer::LookAgain => "handler: the table changed, looks again",
            Answer::Own => "handler: the program's own",
            Answer::Nobody => "handler: nobody knows this trap",
            Answer::Wrong => "handler: gives an answer",
        }
        .into(),
    }
}

impl Trace {
    /// The number of transitions.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether the start already is the violation.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The choices, for [`walk`](crate::walk).
    pub fn choices(&self) -> Vec<usize> {
        self.lines.iter().map(|l| l.choice).collect()
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpus = self.lines.iter().map(|l| l.cpu).max().unwrap_or(0);
        let width = |cpu: Who| {
            let longest = self.lines.iter().filter(|l| l.cpu == cpu).map(|l| l.what.chars().count()).max();
            longest.unwrap_or(0).max(7)
        };
        if self.lines.is_empty() {
            return write!(f, "    at the very start\n    => {}", self.violation.sentence());
        }
        write!(f, "    {:<w$}", "patcher", w = width(0))?;
        for cpu in 1..=cpus {
            write!(f, "  {:<w$}", format!("CPU {cpu}"), w = width(cpu))?;
        }
        writeln!(f, "  {}", self.start.join(" | "))?;
        let mut before = &self.start;
        for (i, line) in self.lines.iter().enumerate() {
            let mut row = format!("{:>2}  ", i + 1);
            for cpu in 0..=cpus {
                let what = if cpu == line.cpu { line.what.as_str() } else { "" };
                row += &format!("{what:<w$}  ", w = width(cpu));
            }
            if line.text != *before {
                row += &line.text.join(" | ");
            }
            before = &line.text;
            writeln!(f, "{}", row.trim_end())?;
        }
        let number = self.violation.number().map(|n| format!("{n}, ")).unwrap_or_default();
        write!(f, "    => {number}{}", self.violation.sentence())
    }
}
