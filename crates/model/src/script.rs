//! The patcher's side as a graph: `core`'s own `Run::next`, called for every outcome that can occur.
//!
//! A run is a small deterministic machine, so the graph is built once, before exploring, and a state of the model holds
//! only the number of a node. Nothing here knows what any protocol does.

use std::collections::HashMap;

use textpoke_core::{Cause, Direction, Kind, Outcome, Phase, Reason, Run, Site, Step, Unit, Verdict};

use crate::property::Sometimes;
use crate::scenario::{Batch, Grain, Scenario};
use crate::text::Text;

/// No such node.
pub const NONE: u16 = u16::MAX;

/// The number of the batch that a repairer performs: nobody's.
const REPAIR: u8 = u8::MAX - 1;

/// The cause that every failure of the model carries.
pub const CAUSE: Cause = Cause::Unsupported;

/// A step about to be performed.
#[derive(Clone, Debug)]
pub struct Node {
    /// The step.
    pub step: Step,
    /// The machine's direction while it is performed.
    pub dir: Direction,
    /// The direction that its batch began with.
    pub first: Direction,
    /// After success. Behind a `Done`: the first step of the next batch, or none.
    pub ok: u16,
    /// After a failure that the machine finds, like a mismatch.
    pub mismatch: u16,
    /// After a failure out of the blue, if one more is allowed.
    pub fail: u16,
    /// Where a repairer begins if the patcher is killed here, if that is allowed.
    pub kill: u16,
    /// What arriving here proves to be reachable, as bits of [`Sometimes`].
    pub happened: u32,
    /// For a `Store`, and for a `Record` what NMIs write: which pieces, as a range of [`Script::pieces`].
    pub pieces: (u16, u16),
    /// The set of sites.
    pub set: u8,
    /// For a `Record` and its `Announce`: its number, 1 or 2. It is its own bit in a mask, too.
    pub record: u8,
}

/// Bytes of one site that appear at once.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Index of the site.
    pub site: u8,
    /// Offset of the first byte.
    pub offset: u8,
    /// Number of lanes.
    pub len: u8,
    /// The lanes of the text that change.
    pub mask: u32,
    /// What they become.
    pub value: u32,
    /// What they are when this piece has nothing more to do: the same, or the whole of which it is the first half.
    pub done: u32,
    /// The same values as a set, to be added to what a CPU may fetch.
    pub seen: u64,
}

/// The graph.
#[derive(Debug)]
pub struct Script {
    /// All nodes; the first is where the patcher begins.
    pub nodes: Vec<Node>,
    /// All pieces.
    pub pieces: Vec<Piece>,
    /// Where a repairer is that has nothing to do but to leave.
    pub leave: u16,
    /// What the records with the numbers 1 and 2 say, as ranges of pieces.
    pub records: [(u16, u16); 2],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key<'p> {
    run: Run<'p>,
    step: Step,
    dir: Direction,
    from: From,
}

/// Where a walk stands, apart from its run.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct From {
    first: Direction,
    /// Failures that were left when the batch began, and now.
    allowed: u8,
    failures: u8,
    kill: bool,
    batch: u8,
}

struct Builder<'p> {
    scenario: &'p Scenario,
    sites: Vec<Vec<Site>>,
    text: &'p Text,
    ids: HashMap<Key<'p>, u16>,
    nodes: Vec<Node>,
    pieces: Vec<Piece>,
    stores: HashMap<(Phase, Unit, Direction, u8), (u16, u16)>,
    records: Vec<(u16, u16)>,
    /// What `textpoke repair` performs after a patcher was killed.
    repair: (Run<'p>, Direction),
}

impl Script {
    /// Builds the graph of a scenario. `None` if it has more than 65,000 nodes.
    pub fn new(scenario: &Scenario, text: &Text) -> Option<Self> {
        let mut builder = Builder {
            scenario,
            sites: (0..scenario.sets.len()).map(|set| scenario.sites(set)).collect(),
            text,
            ids: HashMap::new(),
            nodes: Vec::new(),
            pieces: Vec::new(),
            stores: HashMap::new(),
            records: Vec::new(),
            repair: {
                let world = &scenario.world;
                let to = world.repairer.to();
                let run = match &world.repair[..] {
                    [] => Run::finish(scenario.batches[0].repaired_by(), to),
                    steps => Run::repairing(steps, to),
                };
                (run, to)
            },
        };
        builder.begin(0, scenario.world.failures, scenario.world.killed)?;
        let repairer = From { first: Direction::Remove, allowed: 0, failures: 0, kill: false, batch: REPAIR };
        let nothing = Run::custom(&[], &[], Direction::Remove);
        let leave = builder.walk(nothing, Outcome::Start, Direction::Remove, repairer)?;
        let record = |i| builder.records.get(i).copied().unwrap_or_default();
        let records = [record(0), record(1)];
        // Two buffers are told apart; a third record would be taken for the first.
        (builder.records.len() <= 2).then_some(Self { nodes: builder.nodes, pieces: builder.pieces, leave, records })
    }
}

impl<'p> Builder<'p> {
    fn begin(&mut self, batch: u8, failures: u8, kill: bool) -> Option<u16> {
        let batches: &'p [Batch] = &self.scenario.batches;
        let Some(b) = batches.get(usize::from(batch)) else { return Some(NONE) };
        self.walk(b.run(), Outcome::Start, b.dir, From { first: b.dir, allowed: failures, failures, kill, batch })
    }

    /// The node that `run` answers `last` with.
    fn walk(&mut self, mut run: Run<'p>, last: Outcome, dir: Direction, from: From) -> Option<u16> {
        let step = run.next(last);
        // A machine that flips at `Undo` and a run agree on the direction.
        debug_assert!(matches!(step, Step::Undo(_) | Step::Done(_)) || run.direction() == dir);
        let key = Key { run, step, dir, from };
        if let Some(&id) = self.ids.get(&key) {
            return Some(id);
        }
        let id = u16::try_from(self.nodes.len()).ok().filter(|&id| id < 65_000)?;
        self.ids.insert(key, id);
        let happened = match step {
            Step::Done(Verdict::Performed(_)) if from.batch == REPAIR => Sometimes::Repaired.bit(),
            Step::Done(Verdict::Performed(_)) => Sometimes::Performed.bit(),
            Step::Done(Verdict::Undone(_)) => Sometimes::Undone.bit(),
            Step::Done(Verdict::Broken(..)) => Sometimes::Broken.bit(),
            _ => 0,
        };
        let first = from.first;
        let set = self.scenario.batches.get(usize::from(from.batch)).map_or(0, |b| b.set);
        let mut node = Node {
            step,
            dir,
            first,
            ok: NONE,
            mismatch: NONE,
            fail: NONE,
            kill: NONE,
            happened,
            pieces: (0, 0),
            set,
            record: 0,
        };
        self.nodes.push(node.clone());
        let behind = if matches!(step, Step::Undo(_)) { dir.opposite() } else { dir };
        if let Step::Done(verdict) = step {
            node.ok = match verdict {
                Verdict::Performed(_) if self.scenario.world.gives_up && from.batch == 0 => NONE,
                Verdict::Performed(_) => self.begin(from.batch + 1, from.failures, from.kill)?,
                Verdict::Undone(_) if from.failures < from.allowed && self.scenario.world.gives_up => {
                    self.begin(from.batch + 1, from.failures, from.kill)?
                }
                // Out of bad luck: the caller tries again.
                Verdict::Undone(_) if from.failures < from.allowed => {
                    self.begin(from.batch, from.failures, from.kill)?
                }
                // What comes after a batch that could not even be undone is the repairer's business.
                Verdict::Undone(_) | Verdict::Broken(..) => NONE,
            };
        } else {
            node.ok = self.walk(run, Outcome::Ok, behind, from)?;
            if matches!(step, Step::Verify { .. }) {
                node.mismatch = self.walk(run, Outcome::Failed(Cause::Mismatch(0)), dir, from)?;
            }
            if from.failures > 0 && !matches!(step, Step::Undo(_)) {
                let from = From { failures: from.failures - 1, ..from };
                node.fail = self.walk(run, Outcome::Failed(CAUSE), dir, from)?;
            }
            if from.kill {
                // The repairer is nobody's next batch.
                let (run, to) = self.repair;
                let from = From { first: to, kill: false, batch: REPAIR, ..from };
                node.kill = self.walk(run, Outcome::Start, to, from)?;
            }
        }
        if let Step::Store { phase, unit } = step {
            node.pieces = self.store(phase, unit, dir, set);
        }
        if matches!(step, Step::Record | Step::Announce { .. }) {
            node.pieces = self.store(Phase::Whole, Unit::Byte, dir, set);
            let known = self.records.iter().position(|r| *r == node.pieces);
            let number = known.unwrap_or_else(|| {
                self.records.push(node.pieces);
                self.records.len() - 1
            });
            node.record = number as u8 + 1;
        }
        self.nodes[usize::from(id)] = node;
        Some(id)
    }

    fn store(&mut self, phase: Phase, unit: Unit, dir: Direction, set: u8) -> (u16, u16) {
        if let Some(&range) = self.stores.get(&(phase, unit, dir, set)) {
            return range;
        }
        let isa = self.text.isa;
        let width = self.text.width();
        let unit_bytes = match self.scenario.world.grain {
            Grain::Unit => isa.piece(unit, phase) as usize,
            Grain::Write => 64,
        };
        let chunk = unit_bytes.max(width);
        let from = self.pieces.len() as u16;
        for (i, site) in self.sites[usize::from(set)].iter().enumerate() {
            for write in isa.writes(site, phase, dir) {
                let mut done = 0;
                while done < write.bytes().len() {
                    let at = site.addr as usize + usize::from(write.offset) + done;
                    let len = (chunk - at % chunk).min(write.bytes().len() - done);
                    let offset = usize::from(write.offset) + done;
                    let piece = self.text.piece(i, offset, &write.bytes()[done..done + len]);
                    if unit_bytes < width {
                        self.pieces.push(self.text.half(&piece));
                    }
                    self.pieces.push(piece);
                    done += len;
                }
            }
        }
        let range = (from, self.pieces.len() as u16);
        self.stores.insert((phase, unit, dir, set), range);
        range
    }
}

/// Whether `steps` is what a run of this protocol performs, its final `Done` included or not: the way for live tests to
/// ask whether what they recorded is a path of the model. The number of the first step that is not, otherwise.
pub fn accepts(kind: Kind, dir: Direction, steps: &[Step]) -> Result<(), usize> {
    let mut runs = vec![(Run::new(kind, dir), Outcome::Start)];
    for (i, &step) in steps.iter().enumerate() {
        let mut next = Vec::new();
        for (run, last) in runs {
            let mut run = run;
            if same(run.next(last), step) {
                next.push((run, Outcome::Ok));
                next.push((run, Outcome::Failed(CAUSE)));
            }
        }
        if next.is_empty() {
            return Err(i);
        }
        runs = next;
    }
    Ok(())
}

/// Live causes are many and the model knows one.
fn same(a: Step, b: Step) -> bool {
    let plain = |r: Reason| Reason { cause: CAUSE, ..r };
    let key = |s: Step| match s {
        Step::Undo(r) => Step::Undo(plain(r)),
        Step::Done(Verdict::Undone(r)) => Step::Done(Verdict::Undone(plain(r))),
        Step::Done(Verdict::Broken(r, q)) => Step::Done(Verdict::Broken(plain(r), plain(q))),
        other => other,
    };
    key(a) == key(b)
}
