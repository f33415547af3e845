//! Every step is load-bearing: delete each, swap each with its neighbour, and demand a counterexample or an argument.

use std::fmt;

use serde::Serialize;
use textpoke_core::protocol::breakpoint;
use textpoke_core::{Direction, Kind, Step};

use crate::explore::{Limits, Progress};
use crate::report::{Options, Report, Verdict, run, step_names};
use crate::scenario::{Batch, Handler, IsaId, Profile, Scenario, Steps};
use crate::variants::{Check, Shape};

/// Which of a batch's two programs is mutilated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The steps forth.
    Forth,
    /// The steps back after a failure.
    Back,
    /// The steps back after a failure up to the wait until nobody is inside.
    Retreat,
}

impl Part {
    const ALL: [Self; 3] = [Self::Forth, Self::Back, Self::Retreat];

    const fn suffix(self) -> &'static str {
        match self {
            Self::Forth => "",
            Self::Back => ", way back",
            Self::Retreat => ", retreat",
        }
    }
}

/// What is done to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The step with this index is left out.
    Delete(usize),
    /// The step with this index and the next change places.
    Swap(usize),
}

/// A mutilated protocol.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// The protocol.
    pub kind: Kind,
    /// The direction of the batch.
    pub dir: Direction,
    /// Which of its programs.
    pub part: Part,
    /// What is done.
    pub mutation: Mutation,
}

/// How a mutant fared.
#[derive(Clone, Debug, Serialize)]
pub struct Fate {
    /// The protocol's name.
    pub protocol: &'static str,
    /// `install` or `remove`.
    pub direction: &'static str,
    /// Which program.
    pub part: Part,
    /// What was done to it.
    pub mutation: String,
    /// The shortest counterexample found.
    pub found: Option<Report>,
    /// Why there need be none.
    pub argued: Option<&'static str>,
}

impl Fate {
    /// Whether there is a counterexample, or else an argument, and not both.
    pub fn as_it_should_be(&self) -> bool {
        self.found.is_some() != self.argued.is_some()
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}, {}: ", self.protocol, self.direction, self.part.suffix(), self.mutation)?;
        match (&self.found, self.argued) {
            (Some(report), None) => write!(f, "{} ({} rules)", report.verdict, report.profile.name()),
            (None, Some(why)) => write!(f, "argued: {why}"),
            (None, None) => f.write_str("NO COUNTEREXAMPLE AND NO ARGUMENT"),
            (Some(report), Some(_)) => write!(f, "ARGUED TO BE HARMLESS, BUT {}", report.verdict),
        }
    }
}

/// All mutants of the built-in protocols.
pub fn mutants() -> Vec<Mutant> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        for dir in [Direction::Install, Direction::Remove] {
            for part in Part::ALL {
                let n = program(kind, dir, part).len();
                let mutations = (0..n).map(Mutation::Delete).chain((1..n).map(|i| Mutation::Swap(i - 1)));
                all.extend(mutations.map(|mutation| Mutant { kind, dir, part, mutation }));
            }
        }
    }
    all
}

/// Tries every mutant.
pub fn mutate(progress: &mut dyn FnMut(usize, usize)) -> Vec<Fate> {
    let all = mutants();
    crate::parallel::map(&all, progress, |m| m.fate())
}

fn program(kind: Kind, dir: Direction, part: Part) -> Vec<Step> {
    match part {
        Part::Forth => kind.program(dir).to_vec(),
        // A run skips the first look on the way back.
        Part::Back => kind.way_back(dir).iter().copied().filter(|s| *s != Step::Verify { after: false }).collect(),
        Part::Retreat => kind.retreat().to_vec(),
    }
}

impl Mutant {
    fn whole(&self) -> Vec<Step> {
        program(self.kind, self.dir, self.part)
    }

    /// The mutilated program.
    pub fn program(&self) -> Vec<Step> {
        let mut program = self.whole();
        match self.mutation {
            Mutation::Delete(i) => drop(program.remove(i)),
            Mutation::Swap(i) => program.swap(i, i + 1),
        }
        program
    }

    /// In words.
    pub fn what(&self) -> String {
        let names = step_names(&self.whole());
        match self.mutation {
            Mutation::Delete(i) => format!("without \"{}\"", names[i]),
            Mutation::Swap(i) => format!("\"{}\" after \"{}\"", names[i], names[i + 1]),
        }
    }

    /// Looks for the shortest counterexample in all worlds that the protocol is for.
    pub fn fate(&self) -> Fate {
        let reports = worlds(self.kind, self.part).into_iter().map(|options| self.explore(&options));
        let found = reports.filter(|r| matches!(r.verdict, Verdict::Unsafe { .. } | Verdict::Vacuous { .. }));
        let found = found.min_by_key(|r| match r.verdict {
            Verdict::Unsafe { length, .. } => length,
            _ => usize::MAX,
        });
        Fate {
            protocol: self.kind.name(),
            direction: if self.dir == Direction::Install { "install" } else { "remove" },
            part: self.part,
            mutation: self.what(),
            found,
            argued: self.argument(),
        }
    }

    fn explore(&self, options: &Options) -> Report {
        let check = Check::of(self.kind);
        let mut scenario = scenario(self.kind, options);
        let mutilated = {
            let mut batch = Batch::built_in(self.kind, self.dir).opened();
            if let Steps::Custom { forth, back, retreat } = &mut batch.steps {
                let part = match self.part {
                    Part::Forth => forth,
                    Part::Back => back,
                    Part::Retreat => retreat,
                };
                *part = self.program();
            }
            batch
        };
        let again = Batch::built_in(self.kind, self.dir.opposite());
        scenario.batches = match (self.kind, self.dir) {
            // Whether it is planted well shows when the other one toggles, also when taking it away failed.
            (Kind::Plant, dir) => {
                let toggle = Batch::built_in(Kind::PreparedPair, Direction::Install).on(1);
                scenario.world.gives_up = dir == Direction::Remove && self.part == Part::Back;
                match dir {
                    Direction::Remove if self.part == Part::Forth => vec![mutilated, again, toggle],
                    _ => vec![mutilated, toggle],
                }
            }
            _ => vec![mutilated, again],
        };
        let name = format!("{} {}", self.kind.name(), self.what());
        let nobody: Progress<'_> = &mut |_, _| {};
        run(&name, check.title, check.sometimes, &scenario, options, nobody)
    }

    /// Why no counterexample is expected. `docs/protocols/README.md` repeats these.
    fn argument(&self) -> Option<&'static str> {
        let program = self.whole();
        let (a, b) = match self.mutation {
            Mutation::Delete(i) => (program[i], None),
            Mutation::Swap(i) => (program[i], Some(program[i + 1])),
        };
        let both = |x: Step, y: Step| b.is_some_and(|b| (a, b) == (x, y));
        let with = |x: Step| a == x || b == Some(x);
        let before = Step::Verify { after: false };
        let after = Step::Verify { after: true };
        let one_word = match (self.kind, self.part) {
            (Kind::ShortJump, _) => true,
            // The last one makes the final form visible.
            (Kind::Breakpoint, _) => !self.is_last_maintain(),
            // Behind the jump nothing is executed, so that only the heads count.
            (Kind::Displace, _) if program == breakpoint::PROGRAM[..] => !self.is_last_maintain(),
            // There may be old code to be waited for, which must be hidden by then.
            (Kind::Displace, Part::Back) => {
                !self.is_last_maintain() && (self.dir == Direction::Install || !self.is_first_maintain())
            }
            _ => false,
        };
        let reads = |s: Step| s == before || s == after;
        match (a, b) {
            _ if with(Step::Maintain) && one_word => Some(MAINTAIN),
            (a, None) if a == after => Some(READ_BACK),
            (a, Some(b)) if reads(a) || reads(b) => {
                let other = if reads(a) { b } else { a };
                match other {
                    Step::Publish => Some(EARLY_TABLE),
                    Step::Open | Step::SyncCores | Step::Park | Step::Unpark | Step::Close => Some(READING),
                    Step::AwaitNoneInside => Some(READING),
                    _ => None,
                }
            }
            _ if both(Step::Open, Step::Publish) || both(Step::Close, Step::Retire) => Some(INDEPENDENT),
            _ if both(Step::Open, Step::Park) => Some(PAGES_AND_THREADS),
            _ if both(Step::Publish, Step::Park) => Some(EARLY_TABLE),
            _ if both(Step::Park, Step::Record) => Some(EARLY_RECORD),
            _ if both(Step::AwaitNmis, Step::Unpark) => Some(NOTHING_LEFT),
            (Step::Open, None) if self.part == Part::Retreat => Some(STILL_OPEN),
            _ if self.part == Part::Retreat && a == Step::Publish => Some(EITHER_FORM),
            _ => None,
        }
    }

    /// Whether the mutation is about the last `Maintain` of the program.
    fn is_last_maintain(&self) -> bool {
        let last = self.whole().iter().rposition(|s| *s == Step::Maintain);
        last.is_some_and(|last| self.touches(last))
    }

    /// Whether the mutation is about the first.
    fn is_first_maintain(&self) -> bool {
        let first = self.whole().iter().position(|s| *s == Step::Maintain);
        first.is_some_and(|first| self.touches(first))
    }

    fn touches(&self, at: usize) -> bool {
        match self.mutation {
            Mutation::Delete(i) => i == at,
            Mutation::Swap(i) => i == at || i + 1 == at,
        }
    }
}

const MAINTAIN: &str = "x86-64 keeps instruction fetch coherent; elsewhere such a site is one word, or its second word is \
    not executed: a CPU that fetches any of its forms late does no harm before the last maintenance";
const READ_BACK: &str = "the contract of the stores makes it true; it is there for machines that break their contract";
const READING: &str = "reading the text needs neither a window nor a synchronisation, and disturbs nobody";
const EARLY_TABLE: &str = "a table without a trap of its own is never asked; a mismatch retires it";
const INDEPENDENT: &str = "one is about pages, the other about traps";
const PAGES_AND_THREADS: &str = "one is about pages, the other about threads";
const EARLY_RECORD: &str = "nobody reads a record that is not announced";
const NOTHING_LEFT: &str = "an NMI that is waited for has nothing left to change";
const STILL_OPEN: &str = "what failed came behind the opening, and nothing closed the window since";
const EITHER_FORM: &str = "whoever meets a trap may act as the form that is given up until the call returns";

fn scenario(kind: Kind, options: &Options) -> Scenario {
    let mut scenario = options.scenario(Check::of(kind));
    if options.shape.profile == Profile::Intel {
        scenario.world.at_once = match kind {
            Kind::Word => 8,
            Kind::ShortJump => 2,
            _ => 1,
        };
    }
    scenario
}

/// The worlds that a protocol is for, with the assumptions that its verdicts carry.
fn worlds(kind: Kind, part: Part) -> Vec<Options> {
    let mut all = Vec::new();
    // Whatever AArch64's better caches or Ziccid let happen, these let happen, too.
    let books = [Profile::Intel, Profile::Amd, Profile::Arm, Profile::Ziccif];
    for profile in books.into_iter().filter(|p| Check::of(kind).isas.contains(&p.isa())) {
        let cuts: &[u8] = match kind {
            _ if profile.isa() != IsaId::X86 => &[0],
            Kind::Word => &[0],
            Kind::ShortJump => &[2, 0],
            _ => &[3, 0],
        };
        let handlers: &[Handler] = if kind.traps() || profile == Profile::Intel {
            &[Handler::Leaves, Handler::Stays]
        } else {
            &[Handler::Stays]
        };
        for &handler in handlers {
            for &cut in cuts {
                let base = Options {
                    handler: Some(handler),
                    shape: Shape { cut: Some(cut), ..Shape::new(profile) },
                    limits: Limits { memory: 1 << 30, liveness: true },
                    ..Options::new(profile)
                };
                match part {
                    Part::Forth => {
                        all.push(base.clone());
                        all.push(Options { own_traps: kind.traps(), failures: Some(1), ..base });
                    }
                    Part::Back | Part::Retreat => all.push(Options { failures: Some(1), ..base }),
                }
            }
        }
        if part == Part::Forth {
            all.push(Options { foreign: true, ..Options::new(profile) });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmutilated_the_protocols_are_safe_in_all_these_worlds() {
        for kind in Kind::ALL {
            for part in Part::ALL {
                for options in worlds(kind, part) {
                    let check = Check::of(kind);
                    let scenario = scenario(kind, &options);
                    let report = run(check.name, "", check.sometimes, &scenario, &options, &mut |_, _| {});
                    assert!(matches!(report.verdict, Verdict::Safe { .. }), "{report}");
                }
            }
        }
    }
}
