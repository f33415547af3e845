//! The verbs of a protocol. `docs/contract.md` says what must be true after each.

use crate::isa::Isa;
use crate::site::{Direction, Phase};

/// What a machine is asked to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Make the text of all sites writable, and its pages private, so that no later store can fail.
    Open,
    /// Compare every site with the bytes that must stand there: before the batch if `after` is false, else after it.
    Verify {
        /// Which of the two forms is expected.
        after: bool,
    },
    /// Journal the plan and make the trap table for this direction visible to every CPU, before the first trap byte.
    Publish,
    /// Write one phase of every site, each write in stores that no CPU sees halves of beyond `unit`.
    Store {
        /// Which bytes.
        phase: Phase,
        /// The widest access that must not tear.
        unit: Unit,
    },
    /// Make the stores visible to instruction fetch, where caches are not coherent with it.
    Maintain,
    /// Every CPU that runs program code passes a context synchronising point.
    SyncCores,
    /// Nobody else runs program code until [`Step::Unpark`].
    Park,
    /// Let them run again; each passes a context synchronising point first.
    Unpark,
    /// No thread's PC, running or saved, is behind the head of a site, where one whose trap has no answer yet stands at the
    /// trap instruction. Late threads may be moved to the copy, but not those.
    AwaitNoneInside,
    /// Lay the final bytes of the batch out for [`nmi::Visit`](crate::nmi::Visit), in the buffer that is not announced.
    Record,
    /// From now on whoever is interrupted by an NMI writes this record first, and no other.
    Announce {
        /// Only at a moment when no NMI is running, found out and announced in one atomic step.
        idle: bool,
    },
    /// From now on NMIs write nothing.
    Withdraw,
    /// Every NMI that was running when the step began has ended.
    AwaitNmis,
    /// Time passes. It promises nothing; it is here so that schemes which count on time can be written down and checked.
    Pause,
    /// No trap handler runs for this batch and no thread has its trap pending; then the trap table is withdrawn.
    Retire,
    /// Something failed: what follows is the way back. A note for the journal and the reader.
    Undo(Reason),
    /// Take the writable window away again; protections as they were.
    Close,
    /// The end.
    Done(Verdict),
}

/// The widest store that must be single-copy atomic as instruction fetch sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// Bytes may become visible one by one, in any order; only those of a trap instruction, and those that replace them,
    /// never do (see [`Unit::piece`]).
    Byte,
    /// Naturally aligned 2 bytes at once.
    Half,
    /// Naturally aligned 4 bytes at once.
    Word,
    /// Naturally aligned 8 bytes at once.
    Eight,
}

impl Unit {
    /// Size in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Byte => 1,
            Self::Half => 2,
            Self::Word => 4,
            Self::Eight => 8,
        }
    }

    /// How many naturally aligned bytes of a phase no CPU may see halves of. A head that threads execute is a trap
    /// instruction, or becomes one or stops being one, and a trap instruction of several bytes has no halves. Behind the
    /// head there may be trap instructions, too, which a way back replaces.
    pub const fn piece<I: Isa>(self, phase: Phase) -> u64 {
        let trap = I::TRAP.len() as u64;
        match phase {
            Phase::Trap | Phase::TrapHead | Phase::Head | Phase::Tail if trap > self.bytes() => trap,
            _ => self.bytes(),
        }
    }
}

/// How the last step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// There was none yet.
    Start,
    /// Its contract holds.
    Ok,
    /// It could not be done; whatever it did before failing stands.
    Failed(Cause),
}

/// Why a machine could not perform a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The operating system said no, with this `errno`.
    Os(i32),
    /// The bytes at this address were not the expected ones.
    Mismatch(u64),
    /// A thread stayed inside the site at this address.
    Inside(u64),
    /// Waiting took longer than the machine allows.
    TimedOut,
    /// This machine cannot perform the step at all.
    Unsupported,
}

/// Where and why a batch turned back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reason {
    /// Index of the failed step in its program.
    pub step: u8,
    /// What the machine said.
    pub cause: Cause,
}

/// How a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Every site has its final bytes.
    Performed(Direction),
    /// Every site is as it was before the batch.
    Undone(Reason),
    /// The way back failed too (second reason); the journal tells what is left to repair.
    Broken(Reason, Reason),
}
