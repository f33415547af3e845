//! The names of transitions.

use textpoke_core::{Direction, Step};

use crate::property::Sometimes;
use crate::state::{DataStore, Spot};

/// What was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// An instruction of the old form.
    Old,
    /// An instruction of the new form.
    New,
    /// An instruction that both forms have there.
    Both,
    /// The short jump.
    Hop,
    /// The trap instruction.
    Trap,
    /// One of several that may not follow each other while it is executed.
    Fixed,
    /// Something else.
    Torn,
}

/// What an NMI does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NmiStep {
    /// It comes in.
    Arrives,
    /// It counts itself as running.
    Counts,
    /// It reads whether a change is announced.
    Reads {
        /// It is.
        announced: bool,
    },
    /// Both in one atomic step.
    Enters {
        /// A change is announced.
        announced: bool,
    },
    /// It reads the record's address.
    Address,
    /// It reads the record's bytes.
    Bytes,
    /// Everything is written.
    Written,
    /// The same, and it maintains the caches.
    Maintains,
    /// It synchronises.
    Synchronises,
    /// It returns.
    Leaves,
}

/// How a trap was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Act as the new form.
    New,
    /// Act as the old form.
    Old,
    /// Go on in the copy, behind what was already done.
    Late,
    /// Execute the same address again.
    Again,
    /// Look again: the table changed meanwhile.
    LookAgain,
    /// It is the program's own.
    Own,
    /// Nobody's.
    Nobody,
    /// Something that is neither form's effect.
    Wrong,
}

/// One transition. Who does it is told beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Performs a step that happens at once.
    Performs {
        /// The step.
        step: Step,
        /// In which direction.
        dir: Direction,
    },
    /// Stores one piece.
    Stores {
        /// Index into the script's pieces.
        piece: u16,
        /// An NMI does it.
        nmi: bool,
    },
    /// Writes the record for NMIs: the address, then the bytes.
    Records {
        /// The bytes.
        bytes: bool,
    },
    /// A data store leaves the store buffer.
    Visible {
        /// Which.
        store: DataStore,
    },
    /// Something of a non-maskable interrupt.
    Nmi {
        /// What.
        step: NmiStep,
    },
    /// Asks every thread for its part in a step.
    Asks {
        /// The step.
        step: Step,
    },
    /// Every thread did its part.
    AllDid {
        /// The step.
        step: Step,
    },
    /// Finds bytes that it did not expect.
    Mismatch,
    /// A step fails.
    Fails {
        /// The step.
        step: Step,
        /// After all of its work was done.
        done: bool,
    },
    /// The patcher is killed; a repairer begins.
    Dies,
    /// The next batch begins.
    Begins,
    /// Fetches bytes, the first of them at `offset + from`.
    Fetches {
        /// Where the instruction begins.
        spot: Spot,
        /// How many bytes of it were there before.
        from: u8,
        /// How many are there now.
        to: u8,
        /// Their values, two bits each, from the start of the instruction.
        values: u16,
    },
    /// Executes an instruction.
    Executes {
        /// Where it begins.
        spot: Spot,
        /// What it turned out to be.
        what: What,
        /// Its length.
        len: u8,
        /// The values of its bytes, two bits each.
        values: u16,
    },
    /// Passes a synchronising point.
    Synchronises,
    /// Is found outside of every site.
    SeenOutside,
    /// Is moved from an inner boundary to the copy.
    Moved,
    /// Stops executing program code.
    Parks,
    /// A signal handler begins.
    Caught,
    /// The signal handler or the called function returns.
    Returns,
    /// Executes a trap instruction of its own.
    OwnTrap,
    /// The system finds no handler for its trap.
    NoHandler,
    /// The handler looks whether the trap instruction still stands there.
    Looks {
        /// It does.
        still: bool,
    },
    /// The handler reads the table.
    Reads {
        /// 0 none, 1 Install, 2 Remove.
        table: u8,
    },
    /// The handler answers.
    Answers {
        /// How.
        answer: Answer,
    },
}

impl Action {
    /// What this proves to be reachable.
    pub fn happened(self) -> u32 {
        let bit = match self {
            Self::Executes { what: What::Old, .. } => Sometimes::OldRan,
            Self::Executes { what: What::New, .. } => Sometimes::NewRan,
            Self::Executes { what: What::Both, .. } => return Sometimes::OldRan.bit() | Sometimes::NewRan.bit(),
            Self::Nmi { step: NmiStep::Arrives } => Sometimes::NmiCame,
            Self::Nmi { step: NmiStep::Written | NmiStep::Maintains } => Sometimes::NmiHelped,
            Self::Executes { what: What::Hop, .. } => Sometimes::HopRan,
            Self::Executes { what: What::Trap, spot, .. } if spot.offset > 0 => Sometimes::InnerTrap,
            Self::Executes { what: What::Trap, .. } => Sometimes::HeadTrap,
            Self::Answers { answer: Answer::New } => Sometimes::ActedNew,
            Self::Answers { answer: Answer::Old } => Sometimes::ActedOld,
            Self::Answers { answer: Answer::Late } | Self::Moved => Sometimes::Late,
            Self::Answers { answer: Answer::Again } => Sometimes::Again,
            Self::Caught => Sometimes::Caught,
            Self::OwnTrap => Sometimes::OwnTrap,
            _ => return 0,
        };
        bit.bit()
    }
}
