//! What is explored: sites, the batches performed on them, and the world around.

use serde::Serialize;
use textpoke_core::{Direction, Kind, Site, Step};

/// A site and what stands there in truth, which the protocol need not know.
#[derive(Clone, Copy, Debug)]
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
    /// A place where the site tells the truth and the new form is one instruction.
    pub fn new(site: Site) -> Self {
        Self { site, old_begins: site.inner | 1, new_begins: 1, calls: 0 }
    }

    /// The first bytes of instructions of a form, as a mask of offsets.
    pub fn begins(&self, dir: Direction) -> u8 {
        match dir {
            Direction::Install => self.old_begins,
            Direction::Remove => self.new_begins,
        }
    }
}

/// One call of the patcher.
#[derive(Clone, Debug)]
pub enum Batch {
    /// A protocol exactly as it runs live.
    BuiltIn(Kind, Direction),
    /// A program of one's own and the one that undoes it.
    Custom {
        /// The steps forth.
        forth: Vec<Step>,
        /// The steps back.
        back: Vec<Step>,
        /// The direction of the steps forth.
        dir: Direction,
    },
}

impl Batch {
    /// The direction it starts in.
    pub fn dir(&self) -> Direction {
        match self {
            Self::BuiltIn(_, dir) | Self::Custom { dir, .. } => *dir,
        }
    }
}

/// Everything that one exploration needs to know.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The sites, ascending.
    pub places: Vec<Place>,
    /// The batches, one after the other.
    pub batches: Vec<Batch>,
    /// Processors: the patcher and `cpus - 1` threads that execute the sites; 2 to 5.
    pub cpus: u8,
    /// The rules.
    pub world: World,
}

impl Scenario {
    /// The sites as the protocol sees them.
    pub fn sites(&self) -> Vec<Site> {
        self.places.iter().map(|p| p.site).collect()
    }
}

/// What instruction fetch may see, by whose book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// AMD APM vol. 2 §7.6.1: fetch reads aligned quadwords of coherent memory, each instruction by itself, in order,
    /// some instructions ahead.
    Amd,
    /// Intel SDM vol. 3: nothing is promised. Each byte is any value that stood there since this CPU last synchronised.
    Intel,
}

impl Profile {
    /// The name on the command line and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd => "amd",
            Self::Intel => "intel",
        }
    }
}

/// How long there is somebody who answers traps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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

/// The rules of one exploration. [`World::new`] is the contract and nothing else.
#[derive(Clone, Debug)]
pub struct World {
    /// Whose promises about fetch.
    pub profile: Profile,
    /// Intel only: naturally aligned groups of so many bytes (1, 2 or 8) are assumed to be fetched at once.
    pub at_once: u8,
    /// Intel only: storing one byte over code is assumed to show the old or the new byte and nothing worse.
    pub one_byte_exempt: bool,
    /// AMD only: instructions fetched ahead, 1 or 2.
    pub queue: u8,
    /// Who answers traps.
    pub handler: Handler,
    /// How `AwaitNoneInside` looks.
    pub inside: Inside,
    /// What `Retire` waits for.
    pub retire: RetireRule,
    /// Threads may be caught between the instructions of a site by a signal whose handler is program code.
    pub signals: bool,
    /// The program executes trap instructions of its own.
    pub own_traps: bool,
    /// Somebody else changed the sites before; nobody executes them.
    pub foreign: bool,
    /// So many steps may fail, each after any part of its work; 0 to 2.
    pub failures: u8,
    /// The patcher may be killed at any moment; another one repairs.
    pub killed: bool,
    /// What that one does.
    pub repairer: Repairer,
    /// What a piece of a store is.
    pub grain: Grain,
    /// The order of the pieces.
    pub order: Order,
    /// Whether old code after the call has returned counts as a violation.
    pub after_return: bool,
}

impl World {
    /// What `docs/contract.md` promises, and a fetch unit by this book.
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            at_once: 1,
            one_byte_exempt: true,
            queue: 2,
            handler: Handler::Stays,
            inside: Inside::Contract,
            retire: RetireRule::Contract,
            signals: true,
            own_traps: false,
            foreign: false,
            failures: 0,
            killed: false,
            repairer: Repairer::Thorough,
            grain: Grain::Unit,
            order: Order::Ascending,
            after_return: true,
        }
    }
}
