//! Why a place in the code is not patched.

use core::fmt;

/// Why an entry or an exit of a function is not patched. A refusal is not a failure of the
/// analysis: it is the answer wherever a patch is not certain to be harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// Fewer bytes than a jump has up to the end of the function, and no padding behind it.
    TooShort,
    /// A branch, jump-table entry or other label leads into the bytes.
    BranchInto,
    /// An exception landing pad lies inside the bytes.
    LandingPadInto,
    /// Some pointer or instruction takes the address of a place inside the bytes.
    AddressTaken,
    /// Some instruction reads these bytes as data.
    ReadAsData,
    /// The function jumps back to its own first instruction, which would count as a call.
    LoopToEntry,
    /// The bytes, or the function around them, do not decode into one certain run of instructions.
    Undecodable,
    /// An instruction that cannot be run from another address.
    NotRelocatable(Obstacle),
    /// A call that ends inside the bytes: its return address would lie inside.
    CallNotLast,
    /// A system call among the displaced instructions: a thread can sleep there for ever.
    SyscallInside,
    /// An IFUNC resolver: it runs inside the dynamic linker, before the program is ready.
    Ifunc,
    /// A cold part: its first instruction runs inside the frame of another function.
    Cold,
    /// The bytes belong to a restartable sequence, which the kernel knows by address.
    RseqSection,
    /// The bytes are reserved for another patch, such as a static key.
    StaticKeySite,
    /// The function returns more than once (`setjmp`, `vfork`, ...).
    ReturnsTwice,
    /// The function leaves on another stack than it was called on.
    StackSwitching,
    /// Code that belongs to two functions at once.
    SharedCode,
    /// There is a breakpoint at this place already: a debugger is at work, or the program traps on purpose.
    TrapInstruction,
    /// Not inside the executable bytes of the file.
    OutsideText,
    /// No unwind entry, in a file that has them: code of an assembler or of a generator, which may be
    /// copied, or entered in the middle, by means that the file does not show.
    NoUnwindEntry,
    /// A part of the program checks that these bytes never change (FIPS modules do).
    SelfChecked,
    /// The code is writable as well as executable: the program may change it itself.
    WritableText,
    /// The dynamic linker changes these bytes when it loads the file.
    RelocatedAtLoad,
    /// An indirect jump of the function may go anywhere, also into the bytes.
    UnresolvedJump,
    /// The exception table of the function cannot be read, so landing pads are unknown.
    UnreadableExceptionTable,
    /// The copy, or the jump to it, would have to reach further than instructions can.
    OutOfRange,
    /// The function leaves by a conditional jump, which is an exit only sometimes.
    ConditionalExit,
    /// The bytes are taken by the function's entry.
    OverlapsEntry,
}

/// What stands in the way of running an instruction from another address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Obstacle {
    /// A transaction start: its abort address is relative to itself.
    Transaction,
    /// A far call, far jump, far or interrupt return.
    FarTransfer,
    /// Addressing relative to the 32-bit instruction pointer.
    EipRelative,
    /// An indirect call through the stack pointer, which the emulated push would move.
    CallThroughStack,
    /// An indirect call through the register that gets its return address.
    CallThroughLink,
    /// `endbr64`, BTI, LPAD: indirect calls must land on it.
    LandingMark,
    /// An instruction that faults on purpose (`ud2`, `hlt`, UDF): handlers look at its address.
    Fault,
    /// A branch that processors disagree about, or of a kind that is not known well enough.
    OddBranch,
    /// Part of a sequence that must not be interrupted by other code: between a load-exclusive and its
    /// store-exclusive, a prefix and its instruction, the parts of a memory copy.
    Sequence,
    /// Pointer authentication that takes the instruction's own address into account.
    SignsAddress,
    /// An instruction that one vendor has defined for itself, or of an extension that is not known here.
    Vendor,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transaction => "a transaction starts there",
            Self::FarTransfer => "a far or privileged transfer of control",
            Self::EipRelative => "an operand relative to the 32-bit instruction pointer",
            Self::CallThroughStack => "an indirect call through the stack pointer",
            Self::CallThroughLink => "an indirect call through the register of its return address",
            Self::LandingMark => "a mark that indirect calls land on",
            Self::Fault => "an instruction that faults on purpose",
            Self::OddBranch => "a branch of an odd kind",
            Self::Sequence => "part of a sequence that other code must not interrupt",
            Self::SignsAddress => "a signature that depends on its own address",
            Self::Vendor => "an instruction of one vendor, or of an unknown extension",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "shorter than a jump, and no padding behind it",
            Self::BranchInto => "a branch leads into the bytes",
            Self::LandingPadInto => "an exception landing pad lies inside the bytes",
            Self::AddressTaken => "the address of a place inside the bytes is taken",
            Self::ReadAsData => "the bytes are read as data",
            Self::LoopToEntry => "the function jumps back to its own first instruction",
            Self::Undecodable => "the instructions cannot be told apart with certainty",
            Self::NotRelocatable(what) => return write!(f, "an instruction cannot be moved: {what}"),
            Self::CallNotLast => "a call too close to the start: it would return into the patch",
            Self::SyscallInside => "a system call inside the bytes: a thread may sleep there",
            Self::Ifunc => "an IFUNC resolver runs inside the dynamic linker",
            Self::Cold => "a cold part of another function, not an entry",
            Self::RseqSection => "part of a restartable sequence (rseq)",
            Self::StaticKeySite => "the bytes are reserved for a static key or another patch",
            Self::ReturnsTwice => "the function returns more than once",
            Self::StackSwitching => "the function switches stacks",
            Self::SharedCode => "the code belongs to two functions",
            Self::TrapInstruction => "a breakpoint instruction is there already",
            Self::OutsideText => "not inside the executable bytes of the file",
            Self::NoUnwindEntry => {
                "no unwind entry: hand-written or generated code, used in ways the file does not show"
            }
            Self::SelfChecked => "the program checks that these bytes never change",
            Self::WritableText => "the code is writable: the program may change it itself",
            Self::RelocatedAtLoad => "the dynamic linker changes these bytes at load time",
            Self::UnresolvedJump => "an indirect jump of the function may lead into the bytes",
            Self::UnreadableExceptionTable => "the exception table of the function cannot be read",
            Self::OutOfRange => "further away than instructions reach",
            Self::ConditionalExit => "the function leaves by a conditional jump",
            Self::OverlapsEntry => "the bytes are taken by the entry of the function",
        })
    }
}

impl std::error::Error for Reason {}
