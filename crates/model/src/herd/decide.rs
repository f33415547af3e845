//! The decision: which final states have an execution that the model allows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::candidate::{Candidate, EVENTS};
use super::condition::{Quantifier, State};
use super::event::Kind;
use super::initial::Place;
use super::path::{self, Path};
use super::source::Refusal;
use super::test::{Arch, Test};
use super::value::{CodeAddress, Instr, Location, Value};
use super::witness::Witness;
use super::{arm, rvwmo};

/// What a model says about a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A state that satisfies the proposition is reachable; of a `forall`: not all states satisfy it.
    Allowed,
    /// None is.
    Forbidden,
    /// A `forall` holds.
    Required,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What should be known besides a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flag {
    /// An instruction is overwritten while it may be executed, and one of the two is not on the list of those that Arm
    /// lets change live: whatever happens then is "constrained unpredictable", and not in the states.
    Cmodx,
    /// Two instructions are stored to, and their cache lines are taken to be different.
    SeparateLines,
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cmodx => "violates-CMODX-requirements",
            Self::SeparateLines => "Assuming-no-two-modified-instructions-are-on-the-same-cache-line",
        })
    }
}

/// A final state that some model allows.
#[derive(Clone, Debug)]
pub struct Final {
    /// `1:X9=0; x=1;`.
    pub text: String,
    /// Whether it satisfies the proposition.
    pub holds: bool,
    /// The models that allow it, by name.
    pub models: Vec<&'static str>,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The test's name.
    pub name: String,
    /// What it asks, as it was written; empty if it only lists states.
    pub question: String,
    /// By model. Arm has one, `aarch64`; RISC-V has those of [`rvwmo::MODELS`].
    pub verdicts: Vec<(&'static str, Verdict)>,
    /// All states.
    pub states: Vec<Final>,
    /// An execution that reaches a state which the proposition is about: one that satisfies an `exists`, or breaks a
    /// `forall`.
    pub witness: Option<Witness>,
    /// What else should be known.
    pub flags: Vec<Flag>,
    /// How many candidate executions were judged.
    pub judged: usize,
}

/// Decides a test.
///
/// # Errors
/// An execution that the model allows comes to something that is not modelled, or there is more than can be looked at.
pub fn decide(test: &Test) -> Result<Decision, Refusal> {
    let all = path::all(test)?;
    let mut search = Search::new(test);
    let mut chosen = vec![0; all.len()];
    loop {
        let paths: Vec<&Path> = all.iter().zip(&chosen).map(|(paths, n)| &paths[*n]).collect();
        search.combination(&paths)?;
        let Some(n) = (0..all.len()).find(|n| chosen[*n] + 1 < all[*n].len()) else { break };
        chosen[n] += 1;
        chosen[..n].fill(0);
    }
    Ok(search.decision())
}

/// More candidates than this are no litmus test.
const CANDIDATES: usize = 1_000_000;

struct Search<'a> {
    test: &'a Test,
    names: Vec<&'static str>,
    /// The models that allow a state, one bit each, and whether it satisfies the proposition.
    states: BTreeMap<Key, (u8, bool)>,
    witness: Option<Witness>,
    flags: BTreeSet<Flag>,
    judged: usize,
}

/// What a state shows: the values asked for, and the faults.
type Key = (Vec<Value>, Vec<super::thread::Fault>);

impl<'a> Search<'a> {
    fn new(test: &'a Test) -> Self {
        let names = match test.arch {
            Arch::AArch64 => vec!["aarch64"],
            Arch::Riscv => rvwmo::MODELS.iter().map(|(name, _)| *name).collect(),
        };
        Self { test, names, states: BTreeMap::new(), witness: None, flags: BTreeSet::new(), judged: 0 }
    }

    /// Judges everything that these paths can be together.
    fn combination(&mut self, paths: &[&Path]) -> Result<(), Refusal> {
        let refused = paths.iter().find_map(|path| path.refused.clone());
        let Some(mut candidate) = Candidate::new(paths) else {
            return Err(path::whole(self.test, format!("more than {EVENTS} events are outside of the surface")));
        };
        let (mut failure, test) = (None, self.test);
        candidate.each(test, &mut |candidate| {
            self.judged += 1;
            if self.judged > CANDIDATES {
                failure = Some(path::whole(test, format!("more than {CANDIDATES} candidate executions")));
                return false;
            }
            if refused.is_some() {
                // What is not modelled matters only if it can be reached.
                if self.models(candidate, false) != 0 {
                    failure.clone_from(&refused);
                }
                return failure.is_none();
            }
            if let Err(what) = self.judge(candidate) {
                let (line, column) = test.condition.place;
                failure = Some(Refusal { line, column, what: format!("the condition {what}") });
            }
            failure.is_none()
        });
        failure.map_or(Ok(()), Err)
    }

    /// Adds the final state if a model allows it.
    fn judge(&mut self, candidate: &Candidate<'_>) -> Result<(), String> {
        let end = End { test: self.test, candidate };
        let shown = self.test.condition.shown.iter().map(|place| end.value(*place)).collect();
        let mut faults: Vec<_> = candidate.paths.iter().flat_map(|path| path.faults.clone()).collect();
        faults.sort_unstable();
        let key = (shown, faults);
        let every = (1 << self.names.len()) - 1;
        let known = self.states.get(&key).map_or(0, |(models, _)| *models);
        let race =
            self.test.arch == Arch::AArch64 && !self.flags.contains(&Flag::Cmodx) && races(candidate).next().is_some();
        if known == every && !race {
            return Ok(());
        }
        let models = self.models(candidate, race);
        if models == 0 {
            return Ok(());
        }
        if self.test.arch == Arch::AArch64 && stores_to_two_instructions(candidate) {
            self.flags.insert(Flag::SeparateLines);
        }
        let holds = self.test.condition.prop.holds(&end)?;
        self.states.entry(key).or_insert((0, holds)).0 |= models;
        let wanted = self.test.condition.quantifier == Quantifier::Exists;
        if holds == wanted && self.witness.as_ref().is_none_or(|w| w.models.len() < models.count_ones() as usize) {
            self.witness = Some(Witness::new(self.test, candidate, self.named(models)));
        }
        Ok(())
    }

    /// The models that allow a candidate; `race` looks for unordered conflicts as well.
    fn models(&mut self, candidate: &Candidate<'_>, race: bool) -> u8 {
        match self.test.arch {
            Arch::AArch64 => {
                let mut unordered = false;
                let any = arm::judge(candidate, &self.test.options, &mut |ordered| {
                    let before = &ordered.before;
                    unordered |= race && races(candidate).any(|(f, w)| !before.has(f, w) && !before.has(w, f));
                    race && !unordered
                });
                if unordered {
                    self.flags.insert(Flag::Cmodx);
                }
                u8::from(any)
            }
            Arch::Riscv => {
                let shared = rvwmo::shared(candidate);
                if !shared.acyclic() {
                    return 0;
                }
                let bit = |n: usize, model| u8::from(rvwmo::allowed(candidate, &shared, model)) << n;
                rvwmo::MODELS.iter().enumerate().map(|(n, (_, model))| bit(n, *model)).sum()
            }
        }
    }

    fn named(&self, models: u8) -> Vec<&'static str> {
        self.names.iter().enumerate().filter(|(n, _)| models >> n & 1 == 1).map(|(_, name)| *name).collect()
    }

    fn decision(self) -> Decision {
        let verdict = |n: usize| {
            let mut reached = self.states.values().filter(|(models, _)| models >> n & 1 == 1).map(|(_, holds)| *holds);
            let (any, all) = (reached.clone().any(|holds| holds), reached.all(|holds| holds));
            match self.test.condition.quantifier {
                Quantifier::Forall if all => Verdict::Required,
                _ if any => Verdict::Allowed,
                _ => Verdict::Forbidden,
            }
        };
        let show = |(shown, faults): &Key| {
            let mut parts: Vec<String> = self
                .test
                .condition
                .shown
                .iter()
                .zip(shown)
                .map(|(place, value)| format!("{}={};", name(self.test, *place), self.test.show(*value)))
                .collect();
            for fault in faults {
                parts.push(format!("fault({},{});", self.test.name_of(Location::Code(fault.at)), fault.kind));
            }
            parts.join(" ")
        };
        let states = self.states.iter().map(|(key, (models, holds))| Final {
            text: show(key),
            holds: *holds,
            models: self.named(*models),
        });
        Decision {
            name: self.test.name.clone(),
            question: self.test.condition.text.clone(),
            verdicts: self.names.iter().enumerate().map(|(n, name)| (*name, verdict(n))).collect(),
            states: states.collect(),
            witness: self.witness.clone(),
            flags: self.flags.iter().copied().collect(),
            judged: self.judged,
        }
    }
}

/// `1:X9`, `x`.
fn name(test: &Test, place: Place) -> String {
    match place {
        Place::Register(register) => format!("{}:{}", register.process, test.register_name(register.number)),
        Place::Memory(at) => test.name_of(at),
    }
}

/// The final state of a candidate.
struct End<'a> {
    test: &'a Test,
    candidate: &'a Candidate<'a>,
}

impl State for End<'_> {
    fn value(&self, place: Place) -> Value {
        match place {
            Place::Register(r) => self.candidate.paths[usize::from(r.process)].regs[usize::from(r.number)],
            Place::Memory(at) => self.candidate.finally(self.test, at),
        }
    }

    fn fault(&self, at: CodeAddress, kind: Option<&str>) -> bool {
        let faults = self.candidate.paths.iter().flat_map(|path| &path.faults);
        faults.into_iter().any(|fault| fault.at == at && kind.is_none_or(|kind| kind == fault.kind))
    }
}

/// Fetches and stores of one instruction of which one is not on the list of those that may change live.
fn races<'a>(c: &'a Candidate<'_>) -> impl Iterator<Item = (usize, usize)> + 'a {
    let restricted = |e: usize| !matches!(c.events[e].value, Value::Instr(Instr::A64(i)) if i.live_patchable());
    let fetches = (0..c.len()).filter(|f| c.fetch(*f));
    fetches.flat_map(move |f| {
        let stores = (0..c.len()).filter(move |w| c.write(*w) && c.same(f, *w));
        stores.filter(move |w| restricted(f) || restricted(*w)).map(move |w| (f, w))
    })
}

fn stores_to_two_instructions(c: &Candidate<'_>) -> bool {
    let code: BTreeSet<Location> = c
        .events
        .iter()
        .filter_map(|event| match (event.kind, event.at) {
            (Kind::Write(_), Some(at @ Location::Code(_))) => Some(at),
            _ => None,
        })
        .collect();
    code.len() > 1
}
