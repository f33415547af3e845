//! One check and its report.

use std::fmt;

use serde::Serialize;
use textpoke_core::{Phase, Step};

use crate::explore::{End, Progress, explore};
use crate::machine::Machine;
use crate::nmi::{Nesting, Nmi};
pub use crate::options::Options;
use crate::property::{Sometimes, Violation};
use crate::scenario::{Fetch, Handler, Order, Profile, Repairer, Scenario};
use crate::text::TooBig;
use crate::trace::{self, Trace};

/// How a check came out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// No interleaving violates anything.
    Safe {
        /// Whether it was proven, too, that the patcher can always finish.
        live: bool,
    },
    /// An interleaving does.
    Unsafe {
        /// What.
        violation: Violation,
        /// In how few transitions.
        length: usize,
    },
    /// Nothing is violated, but something that should happen sometimes never does.
    Vacuous {
        /// What never happens.
        missing: Vec<Sometimes>,
    },
    /// The states did not fit into the memory allowed.
    OutOfMemory,
    /// The scenario does not fit into the packed state.
    TooBig,
}

/// The report of one check.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the check.
    pub name: String,
    /// What it is, and which step is left out.
    pub title: String,
    /// What it was asked with, if its name and these are all that it needs to be asked again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Options>,
    /// The protocol file that says all of it, if it was asked for as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Profile.
    pub profile: Profile,
    /// Processors, the patcher included.
    pub cpus: u8,
    /// Sites.
    pub sites: u8,
    /// What else the options say.
    pub with: Vec<&'static str>,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What the verdict rests on.
    pub assumptions: Vec<&'static str>,
    /// Different states.
    pub states: usize,
    /// Transitions.
    pub transitions: u64,
    /// Longest shortest way.
    pub depth: usize,
    /// Seconds.
    pub seconds: f64,
    /// What happened in at least one run.
    pub happened: Vec<Sometimes>,
    /// The counterexample.
    pub trace: Option<Trace>,
}

/// Why there is no such check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// No check has this name.
    Check(String),
    /// The program of this check has no such step.
    Step(String),
    /// The check is not for the instruction set of this profile.
    Profile(String, Profile),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check(name) => {
                let names: Vec<_> = crate::variants::checks().map(|c| c.name).collect();
                write!(f, "there is no check \"{name}\"; there are: {}", names.join(", "))
            }
            Self::Profile(name, profile) => {
                write!(f, "\"{name}\" is not for {}, the instruction set of {}", profile.isa().name(), profile.name())
            }
            Self::Step(step) => write!(
                f,
                "no step \"{step}\" in this program; name one like \"sync cores\", the second of them as \"sync cores 2\""
            ),
        }
    }
}

impl std::error::Error for Unknown {}

/// Checks one thing by name.
pub fn check(name: &str, options: &Options, progress: Progress<'_>) -> Result<Report, Unknown> {
    let (check, scenario) = options.prepare(name)?;
    let report = run(name, &options.title(check), check.sometimes, &scenario, options, progress);
    Ok(Report { options: Some(options.clone()), ..report })
}

/// The same with one step left out of every batch that has it, named as in `--print`, for instance `sync cores 2`.
pub fn without(name: &str, step: &str, options: &Options, progress: Progress<'_>) -> Result<Report, Unknown> {
    check(name, &Options { without: Some(step.into()), ..options.clone() }, progress)
}

/// The names of the steps of a program: those that occur more than once are numbered.
pub fn step_names(program: &[Step]) -> Vec<String> {
    let name = |i: usize| crate::trace::step_name(program[i]);
    (0..program.len())
        .map(|i| {
            let same = |upto: usize| (0..upto).filter(|&j| name(j) == name(i)).count();
            if same(program.len()) > 1 { format!("{} {}", name(i), same(i) + 1) } else { name(i).into() }
        })
        .collect()
}

/// Explores a scenario and reports.
pub fn run(
    name: &str,
    title: &str,
    sometimes: &[Sometimes],
    scenario: &Scenario,
    options: &Options,
    progress: Progress<'_>,
) -> Report {
    let mut report = Report {
        name: name.into(),
        title: title.into(),
        options: None,
        protocol: None,
        profile: scenario.world.profile,
        cpus: scenario.cpus,
        sites: scenario.sets.first().map_or(0, |places| places.len() as u8),
        with: with(scenario, options),
        verdict: Verdict::TooBig,
        assumptions: crate::assume::assumptions(scenario),
        states: 0,
        transitions: 0,
        depth: 0,
        seconds: 0.0,
        happened: Vec::new(),
        trace: None,
    };
    let sometimes = &wanted(sometimes, scenario);
    match Machine::new(scenario) {
        Err(TooBig::Bytes | TooBig::Values | TooBig::Shape) => {}
        Ok(machine) => match machine.slots() {
            0..=1 => fill::<1>(&mut report, &machine, sometimes, options, progress),
            2 => fill::<2>(&mut report, &machine, sometimes, options, progress),
            3 => fill::<3>(&mut report, &machine, sometimes, options, progress),
            4 => fill::<4>(&mut report, &machine, sometimes, options, progress),
            _ => fill::<5>(&mut report, &machine, sometimes, options, progress),
        },
    }
    report
}

/// What must happen sometimes: what was asked for, and what is part of every scenario like this one, so that no `safe`
/// means that nobody ever came by.
fn wanted(sometimes: &[Sometimes], scenario: &Scenario) -> Vec<Sometimes> {
    let w = &scenario.world;
    if w.foreign {
        return vec![Sometimes::Undone];
    }
    let programs = || scenario.batches.iter().map(|batch| batch.programs()[0]);
    let announces = programs().flatten().any(|s| matches!(s, Step::Announce { .. }));
    let more = [
        (true, Sometimes::OldRan),
        (true, Sometimes::NewRan),
        (scenario.batches.iter().any(|batch| batch.set > 0), Sometimes::ThenRan),
        (programs().any(meets_traps), Sometimes::HeadTrap),
        (true, Sometimes::Performed),
        (w.failures > 0, Sometimes::Undone),
        (w.failures > 1, Sometimes::Broken),
        (w.killed, Sometimes::Repaired),
        (w.own_traps, Sometimes::OwnTrap),
        (w.nmi.is_some(), Sometimes::NmiCame),
        (w.nmi.is_some(), Sometimes::NmiRan),
        (w.nmi.is_some_and(|nmi| nmi.others), Sometimes::NmiMeanwhile),
        (w.nmi.is_some_and(|nmi| nmi.entry.helps()) && announces, Sometimes::NmiHelped),
        (w.nmi.is_some_and(|nmi| nmi.nests == Nesting::Runs && nmi.each > 1), Sometimes::NmiNested),
    ];
    // Without NMIs nothing is asked of them.
    let possible = |s: &Sometimes| w.nmi.is_some() || !s.is_of_nmis();
    let mut all: Vec<_> = sometimes.iter().copied().filter(possible).collect();
    for (_, event) in more.into_iter().filter(|(on, _)| *on) {
        if !all.contains(&event) {
            all.push(event);
        }
    }
    all
}

/// Whether somebody runs while traps of this program stand in the text.
fn meets_traps(program: &[Step]) -> bool {
    let (mut parked, mut stand) = (false, false);
    program.iter().any(|step| {
        match step {
            Step::Park => parked = true,
            Step::Unpark => parked = false,
            Step::Store { phase: Phase::Trap | Phase::TrapHead, .. } => stand = true,
            Step::Store { phase: Phase::Head | Phase::Whole, .. } => stand = false,
            _ => {}
        }
        stand && !parked
    })
}

fn fill<const N: usize>(
    report: &mut Report,
    machine: &Machine,
    sometimes: &[Sometimes],
    options: &Options,
    progress: Progress<'_>,
) {
    let found = explore::<N>(machine, options.limits, progress);
    (report.states, report.transitions, report.depth) = (found.states, found.transitions, found.depth);
    report.seconds = found.seconds;
    report.happened = Sometimes::ALL.into_iter().filter(|s| found.happened & s.bit() != 0).collect();
    report.verdict = match found.end {
        End::OutOfMemory => Verdict::OutOfMemory,
        End::Holds { live } => match Sometimes::missing(found.happened, sometimes) {
            missing if missing.is_empty() => Verdict::Safe { live },
            missing => Verdict::Vacuous { missing },
        },
        End::Violated { violation, path } => {
            let trace = trace::trace(machine, &path, violation);
            let length = trace.len();
            report.trace = Some(trace);
            Verdict::Unsafe { violation, length }
        }
    };
}

/// What else is to be said about a scenario and the options that it came from.
pub fn with(s: &Scenario, options: &Options) -> Vec<&'static str> {
    let w = &s.world;
    let all = [
        (w.handler == Handler::Leaves, "the handler leaves with the batch"),
        (w.failures == 1, "any step may fail"),
        (w.failures > 1, "any two steps may fail"),
        (w.killed && w.repairer != Repairer::Onward, "the patcher may be killed, then repair"),
        (w.killed && w.repairer == Repairer::Onward, "the patcher may be killed, another goes on"),
        (w.order == Order::Any, "stores in any order"),
        (w.own_traps, "the program has traps of its own"),
        (w.foreign, "somebody else changed the sites"),
        (w.queue == 1 && matches!(w.profile.fetch(), Fetch::Queue(_)), "nothing fetched ahead"),
        (!w.cmodx, "any instruction may change live"),
        (w.bounded_staleness, "waiting is long enough"),
        (options.nmis == Some(0), "no NMIs"),
        (w.nmi.is_some_and(|nmi| nmi.nests == Nesting::Runs), "NMIs inside NMIs"),
    ];
    all.into_iter().filter(|(on, _)| *on).map(|(_, text)| text).chain(w.nmi.map(nmis)).collect()
}

fn nmis(nmi: Nmi) -> &'static str {
    match (nmi.each, nmi.own, nmi.others) {
        (1, true, true) => "an NMI on each CPU",
        (1, false, _) => "an NMI on each other CPU",
        (1, true, false) => "an NMI on the patcher's CPU alone",
        (_, true, false) => "several NMIs on the patcher's CPU alone",
        (2, true, true) => "two NMIs on each CPU",
        (_, true, true) => "three NMIs on each CPU",
        (_, false, _) => "several NMIs on each other CPU",
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Safe { .. } => f.write_str("safe"),
            Self::Unsafe { violation, length } => {
                let number = violation.number().map(|n| format!("{n} ")).unwrap_or_default();
                let name = violation.sentence().split(':').next().unwrap_or_default();
                write!(f, "unsafe: {number}{name}, {length} transitions")
            }
            Self::Vacuous { missing } => write!(f, "vacuous: never {missing:?}"),
            Self::OutOfMemory => {
                f.write_str("unknown: the states do not fit into the memory allowed; raise it or ask for less")
            }
            Self::TooBig => f.write_str("unknown: at most 3 sites and 16 bytes"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.title.as_str() {
            "" => writeln!(f, "{}", self.name)?,
            title => writeln!(f, "{}: {title}", self.name)?,
        }
        write!(f, "  {} rules, {} CPUs, {} site(s)", self.profile.name(), self.cpus, self.sites)?;
        for with in &self.with {
            write!(f, ", {with}")?;
        }
        writeln!(f)?;
        writeln!(f, "  {}", self.verdict)?;
        if let Verdict::Safe { live } = self.verdict {
            let live =
                if live { "the patcher can always finish" } else { "not asked whether the patcher can always finish" };
            writeln!(f, "  {live}; assuming: {}", self.assumptions.join("; "))?;
        }
        let rate = self.states as f64 / self.seconds.max(1e-9) / 1e6;
        write!(
            f,
            "  {} states, {} transitions, depth {}, {:.3} s",
            self.states, self.transitions, self.depth, self.seconds
        )?;
        if self.seconds > 0.01 {
            write!(f, " ({rate:.1} million states/s)")?;
        }
        if let Some(trace) = &self.trace {
            write!(f, "\n\n{trace}")?;
        }
        Ok(())
    }
}
