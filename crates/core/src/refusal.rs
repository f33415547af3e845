//! Why a site is not patched.

use core::fmt;

/// A reason to leave a site alone. Refusing is always safe; guessing is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// Old and new differ in length, or are empty or longer than a site can be.
    Length {
        /// Length of the old bytes.
        old: usize,
        /// Length of the new bytes.
        new: usize,
    },
    /// Old and new are the same bytes: there is nothing to do.
    Same,
    /// The old bytes begin with a trap instruction: a debugger or another patcher owns the site.
    ForeignTrap,
    /// The trap side cannot act as the new bytes, and no stand-in was given.
    NewNotEmulated,
    /// The trap side cannot act as the old bytes, which removing the patch needs, and no copy was given.
    OldNotEmulated,
    /// Several old instructions stand there and no relocated copy of them was given.
    NoCopy,
    /// A call inside the site returns to inside of it, and return addresses are not looked for.
    ReturnInside,
    /// A planted CALL would overwrite the red zone of a leaf function (System V ABI x86-64, 3.2.2).
    RedZone,
    /// A thread blocks the trap signal: the trap would kill the process.
    TrapBlocked,
    /// No thread may trap, and the site does not fit into one aligned word.
    Straddles,
    /// The architecture does not let the instruction change while other CPUs may execute it, and nobody can be parked.
    NotLive,
    /// No thread may trap, and several old instructions cannot vanish in one store.
    SeveralInstructions,
    /// An address that an instruction is at or goes to is not a multiple of what the instruction set demands.
    Misaligned {
        /// The address.
        addr: u64,
        /// Bytes of which it should be a multiple.
        align: u64,
    },
    /// The instruction has no room for this operand.
    Operand {
        /// The operand.
        value: i64,
    },
    /// The branch does not reach.
    OutOfRange {
        /// Address of the branch.
        from: u64,
        /// Where it should go.
        to: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Length { old, new } => write!(f, "{old} old and {new} new bytes do not make a site"),
            Self::Same => f.write_str("old and new bytes are the same"),
            Self::ForeignTrap => f.write_str("a breakpoint of somebody else stands there"),
            Self::NewNotEmulated => f.write_str("no trap handler can act as the new instruction"),
            Self::OldNotEmulated => f.write_str("no trap handler can act as the old instruction"),
            Self::NoCopy => f.write_str("several old instructions and no copy of them for late threads"),
            Self::ReturnInside => {
                f.write_str("a call in the site returns to inside of it: let it be the last instruction")
            }
            Self::RedZone => f.write_str("a call here would overwrite the red zone"),
            Self::TrapBlocked => f.write_str("a thread blocks SIGTRAP"),
            Self::Straddles => f.write_str("the site does not lie in one aligned 8-byte word"),
            Self::NotLive => {
                f.write_str("the architecture does not let this instruction change live, and nobody is parked")
            }
            Self::SeveralInstructions => f.write_str("several instructions cannot vanish in one store"),
            Self::Misaligned { addr, align } => write!(f, "{addr:#x} is not a multiple of {align}"),
            Self::Operand { value } => write!(f, "the instruction cannot hold {value}"),
            Self::OutOfRange { from, to } => write!(f, "{to:#x} is out of a branch's reach from {from:#x}"),
        }
    }
}

impl core::error::Error for Refusal {}
