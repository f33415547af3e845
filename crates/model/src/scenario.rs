//! What is explored: sites, the batches performed on them, and the world around.

use serde::{Deserialize, Serialize};
use textpoke_core::{Direction, Kind, Run, Site, Step};

use crate::nmi::Nmi;
pub use crate::profile::{Fetch, IsaId, Profile};

/// A site and what stands there in truth, which the protocol need not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What the protocol is told.
    pub site: Site,
    /// Bit `i`: an instruction of the old form begins at offset `i`; bit 0 included.
    pub old_begins: u8,
    /// The same for the new form.
    pub new_begins: u8,
    /// Bit `i`: the old instruction that begins at offset `i` is a CALL, and its callee returns behind it.
    pub calls: u8,
}

impl Place {
    /// A place where the site tells the truth.
    pub fn new(site: Site) -> Self {
        Self { site, old_begins: site.inner | 1, new_begins: site.new_inner | 1, calls: 0 }
    }

    /// The first bytes of instructions of a form, as a mask of offsets.
    pub fn begins(&self, dir: Direction) -> u8 {
        match dir {
            Direction::Install => self.old_begins,
            Direction::Remove => self.new_begins,
        }
    }
}

/// The steps of one call of the patcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Steps {
    /// A protocol exactly as it runs live.
    BuiltIn(Kind),
    /// A program of one's own and the one that undoes it.
    Custom {
        /// The steps forth.
        forth: Vec<Step>,
        /// The steps back.
        back: Vec<Step>,
        /// The steps back if the wait until nobody is inside, or a step before it, failed; none: the same.
        retreat: Vec<Step>,
    },
}

/// One call of the patcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// What it performs.
    pub steps: Steps,
    /// The direction it starts in.
    pub dir: Direction,
    /// Which of the scenario's sets of sites it changes.
    pub set: u8,
}

impl Batch {
    /// A protocol exactly as it runs live.
    pub fn built_in(kind: Kind, dir: Direction) -> Self {
        Self { steps: Steps::BuiltIn(kind), dir, set: 0 }
    }

    /// A program of one's own.
    pub fn custom(forth: Vec<Step>, back: Vec<Step>, dir: Direction) -> Self {
        Self { steps: Steps::Custom { forth, back, retreat: Vec::new() }, dir, set: 0 }
    }

    /// The same on another set of sites.
    pub fn on(self, set: u8) -> Self {
        Self { set, ..self }
    }

    /// Whether it is this protocol in this direction.
    pub fn is(&self, kind: Kind, dir: Direction) -> bool {
        matches!(self.steps, Steps::BuiltIn(k) if k == kind) && self.dir == dir
    }

    /// The run of `core` that performs it.
    pub fn run(&self) -> Run<'_> {
        match &self.steps {
            Steps::BuiltIn(kind) => Run::new(*kind, self.dir),
            Steps::Custom { forth, back, retreat } => Run::custom(forth, back, self.dir).retreating(retreat),
        }
    }

    /// The steps forth, those that undo them, and those that do so up to the wait.
    pub fn programs(&self) -> [&[Step]; 3] {
        match &self.steps {
            Steps::BuiltIn(kind) => [kind.program(self.dir), kind.way_back(self.dir), kind.retreat()],
            Steps::Custom { forth, back, retreat } => [forth, back, retreat],
        }
    }

    /// Whose steps repair it after a patcher was killed, if no others are given.
    pub fn repaired_by(&self) -> Kind {
        match self.steps {
            Steps::BuiltIn(kind) => kind,
            Steps::Custom { .. } => Kind::Breakpoint,
        }
    }

    /// The same steps, no longer as a whole.
    pub fn opened(&self) -> Self {
        let [forth, back, retreat] = self.programs().map(<[Step]>::to_vec);
        Self { steps: Steps::Custom { forth, back, retreat }, ..*self }
    }
}

/// Everything that one exploration needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The sites, ascending. The first set is what stands there at the start; in each further one the old form is the new
    /// form of the one before.
    pub sets: Vec<Vec<Place>>,
    /// The batches, one after the other.
    pub batches: Vec<Batch>,
    /// Processors: the patcher's and `cpus - 1` others, each with a thread that executes the sites; 2 to 5.
    pub cpus: u8,
    /// The rules.
    pub world: World,
}

impl Scenario {
    /// The sites of a set as the protocol sees them.
    pub fn sites(&self, set: usize) -> Vec<Site> {
        self.sets[set].iter().map(|p| p.site).collect()
    }

    /// The same steps, each by itself: no batch is a protocol as a whole any longer, nor is the repair.
    pub fn opened(&self) -> Self {
        let mut s = self.clone();
        s.batches = self.batches.iter().map(Batch::opened).collect();
        if s.world.killed && s.world.repair.is_empty() {
            let kind = self.batches.first().map_or(Kind::Breakpoint, Batch::repaired_by);
            s.world.repair = kind.way_back(s.world.repairer.to().opposite()).to_vec();
        }
        s
    }
}

/// How long there is somebody who answers traps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Handler {
    /// Before, during and after every batch: a kernel's vector, a library that stays.
    Stays,
    /// From `Publish` to `Retire`: a tracer that detaches and leaves nothing behind.
    Leaves,
}

/// How a machine knows that nobody is inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// As the contract says: a thread whose trap is not resolved yet stands at the trap instruction.
    Contract,
    /// By the program counter that the system reports, which is behind a trap instruction that was executed.
    ByCounter,
    /// The same, and whoever's program counter is on an inner boundary is moved to the copy.
    ByCounterAndMove,
}

/// What `Retire` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetireRule {
    /// As the contract says.
    Contract,
    /// Handlers that run; not traps that are pending.
    RunningOnly,
}

/// What a repairer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repairer {
    /// All of `Run::repair`, whatever it finds.
    Thorough,
    /// `Run::finish` to the new form.
    Onward,
    /// Nothing but to leave, if every site has its old bytes.
    SkipsClean,
}

impl Repairer {
    /// The direction in which it goes.
    pub const fn to(self) -> Direction {
        match self {
            Self::Onward => Direction::Install,
            Self::Thorough | Self::SkipsClean => Direction::Remove,
        }
    }
}

/// How finely stores are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// One transition for each piece that the step's unit keeps whole: the contract.
    Unit,
    /// One transition for each contiguous write, as the digest of the literature counts.
    Write,
}

/// In which order the pieces of one `Store` appear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By site and offset, as a loop writes them.
    Ascending,
    /// Any: the contract promises none. At most 16 pieces a step.
    Any,
}

/// The barrier that a machine forgot: its step ends though the store is still in the patcher's store buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfenced {
    /// The trap table.
    Publish,
    /// The record for NMIs.
    Record,
    /// The announcement to NMIs.
    Announce,
}

/// Which stores of one byte are assumed to be harmless on Intel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneByte {
    /// None.
    Nothing,
    /// Of the trap instruction over code, and of code over it: what Intel's engineers have said.
    Traps,
    /// Any.
    Any,
}

/// What cache maintenance does on Arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// DC CVAU, then IC IVAU, which reaches every CPU: the contract.
    Everywhere,
    /// The same, where the invalidation reaches the CPU alone that asks for it.
    Local,
    /// DC CVAU alone, which is enough with `CTR_EL0.DIC`.
    Cleans,
    /// IC IVAU alone, which is enough with `CTR_EL0.IDC`.
    Invalidates,
}

/// The rules of one exploration. [`World::new`] is the contract and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// Whose promises about fetch.
    pub profile: Profile,
    /// Intel: naturally aligned groups of so many bytes (1, 2 or 8) are assumed to be fetched at once. Ziccif promises 4.
    pub at_once: u8,
    /// Intel only: which stores of one byte over code are assumed to show the old or the new byte and nothing worse.
    pub one_byte: OneByte,
    /// AMD and Ziccid only: instructions fetched ahead, 1 or 2.
    pub queue: u8,
    /// Arm only: what cache maintenance does.
    pub maintenance: Maintenance,
    /// Arm only: whether changing an instruction that the architecture does not let change live is a violation.
    pub cmodx: bool,
    /// Whether a [`Step::Pause`] is assumed to be long enough for every CPU to fetch anew.
    pub bounded_staleness: bool,
    /// A data barrier that is missing.
    pub unfenced: Option<Unfenced>,
    /// Whether the trap handler reads the table before it looks at the trap instruction.
    pub table_first: bool,
    /// Whether the trap handler begins again when the table changed between its two reads.
    pub looks_again: bool,
    /// Non-maskable interrupts, if there are any.
    pub nmi: Option<Nmi>,
    /// Whether everybody else is parked all the time, so that only NMIs execute anything.
    pub parked: bool,
    /// Who answers traps.
    pub handler: Handler,
    /// How `AwaitNoneInside` looks.
    pub inside: Inside,
    /// What `Retire` waits for.
    pub retire: RetireRule,
    /// Whether text can be written at any time, so that nobody has to open it.
    pub writable: bool,
    /// Threads may be caught between the instructions of a site by a signal whose handler is program code.
    pub signals: bool,
    /// The program executes trap instructions of its own.
    pub own_traps: bool,
    /// Somebody else changed the sites before; nobody executes them.
    pub foreign: bool,
    /// So many steps may fail, each after any part of its work; 0 to 2.
    pub failures: u8,
    /// Whether the caller goes on with the next batch when the first was undone, and only then; else it tries the same
    /// again.
    pub gives_up: bool,
    /// The patcher may be killed at any moment; another one repairs.
    pub killed: bool,
    /// What that one does.
    pub repairer: Repairer,
    /// The steps by which it does so; none: those that the first batch's protocol has for it, or `breakpoint`'s.
    pub repair: Vec<Step>,
    /// What a piece of a store is.
    pub grain: Grain,
    /// The order of the pieces.
    pub order: Order,
    /// Whether old code after the call has returned counts as a violation.
    pub after_return: bool,
    /// Whether a thread may go on with it that had begun with it before, and no other.
    pub begun_ends: bool,
    /// Whether those who are unparked synchronise, as the contract says.
    pub unpark_synchronises: bool,
}

impl World {
    /// What `docs/contract.md` promises, and a fetch unit by this book.
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            at_once: if matches!(profile, Profile::Ziccif) { 4 } else { 1 },
            one_byte: OneByte::Traps,
            queue: 2,
            maintenance: Maintenance::Everywhere,
            cmodx: true,
            bounded_staleness: false,
            unfenced: None,
            table_first: false,
            looks_again: true,
            nmi: None,
            parked: false,
            handler: Handler::Stays,
            inside: Inside::Contract,
            retire: RetireRule::Contract,
            writable: false,
            signals: true,
            own_traps: false,
            foreign: false,
            failures: 0,
            gives_up: false,
            killed: false,
            repairer: Repairer::Thorough,
            repair: Vec::new(),
            grain: Grain::Unit,
            order: Order::Ascending,
            after_return: true,
            begun_ends: false,
            unpark_synchronises: true,
        }
    }
}
