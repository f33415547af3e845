//! The names of transitions.

use textpoke_core::{Direction, Step};

use crate::machine::Who;
use crate::property::Sometimes;
use crate::state::{DataStore, Spot};
use crate::text::HOP;

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
    Arrives {
        /// While the text was changed in part.
        meanwhile: bool,
        /// Inside another NMI.
        inside: bool,
    },
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
        /// The patcher does it while an NMI runs on another CPU.
        meets: bool,
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
        /// The version that was executed to its end, as a mask; 0: it was not, or it may have been one of several.
        whole: u8,
        /// In an NMI.
        nmi: bool,
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
    /// What this proves to be reachable, if `who` does it.
    pub fn happened(self, who: Who) -> u32 {
        let bit = match self {
            Self::Executes { what: What::Trap, spot, nmi, .. } => {
                let trap = if spot.offset > 0 { Sometimes::InnerTrap } else { Sometimes::HeadTrap };
                return trap.bit() | ran(nmi);
            }
            Self::Executes { whole, nmi, .. } => {
                let form = match whole {
                    1 => Sometimes::OldRan.bit(),
                    2 => Sometimes::NewRan.bit(),
                    4 => Sometimes::ThenRan.bit(),
                    HOP => Sometimes::HopRan.bit(),
                    _ => 0,
                };
                return form | ran(nmi);
            }
            Self::Nmi { step: NmiStep::Arrives { meanwhile, inside } } => {
                let at = if who == 0 { Sometimes::NmiOnPatcher } else { Sometimes::NmiMeanwhile };
                let bit = |on: bool, what: Sometimes| if on { what.bit() } else { 0 };
                return Sometimes::NmiCame.bit() | bit(meanwhile, at) | bit(inside, Sometimes::NmiNested);
            }
            Self::Stores { meets: true, .. } => Sometimes::NmiMeanwhile,
            Self::Nmi { step: NmiStep::Written | NmiStep::Maintains } => Sometimes::NmiHelped,
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

fn ran(nmi: bool) -> u32 {
    if nmi { Sometimes::NmiRan.bit() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executed(whole: u8, nmi: bool) -> u32 {
        let spot = Spot::head(0);
        Action::Executes { spot, what: What::Both, len: 1, values: 0, whole, nmi }.happened(1)
    }

    #[test]
    fn an_instruction_that_both_forms_have_proves_neither() {
        assert_eq!(executed(0, false), 0);
        assert_eq!((executed(1, false), executed(2, false)), (Sometimes::OldRan.bit(), Sometimes::NewRan.bit()));
        assert_eq!(executed(4, true), Sometimes::ThenRan.bit() | Sometimes::NmiRan.bit());
    }

    #[test]
    fn an_nmi_counts_as_meanwhile_in_the_middle_of_a_change_only() {
        let came = |who, meanwhile| Action::Nmi { step: NmiStep::Arrives { meanwhile, inside: false } }.happened(who);
        assert_eq!(came(1, false), Sometimes::NmiCame.bit());
        assert_eq!(came(1, true), Sometimes::NmiCame.bit() | Sometimes::NmiMeanwhile.bit());
        assert_eq!(came(0, true), Sometimes::NmiCame.bit() | Sometimes::NmiOnPatcher.bit());
        let store = |meets| Action::Stores { piece: 0, nmi: false, meets }.happened(0);
        assert_eq!((store(false), store(true)), (0, Sometimes::NmiMeanwhile.bit()));
    }
}
