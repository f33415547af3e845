//! Why a place in the code is not patched.

use core::fmt;

/// Why an entry or an exit of a function is not patched. A refusal is not a failure of the
/// analysis: it is the answer wherever a patch is not certain to be harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// Fewer than five bytes up to the end of the function, and no padding behind it.
    TooShort,
    /// A branch, jump-table entry or other label leads into the bytes.
    BranchInto,
    /// An exception landing pad lies inside the bytes.
    LandingPadInto,
    /// Some pointer or `lea` takes the address of a place inside the bytes.
    AddressTaken,
    /// Some instruction reads these bytes as data.
    ReadAsData,
    /// The function jumps back to its own first instruction, which would count as a call.
    LoopToEntry,
    /// The bytes, or the function around them, do not decode into one certain run of instructions.
    Undecodable,
    /// An instruction that cannot be run from another address.
    NotRelocatable(Obstacle),
    /// A call with fewer than five bytes behind it: its return address would lie inside.
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
    /// The instruction would have to reach further than ±2 GiB from the copy.
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
    /// `endbr64`: indirect calls must land on it.
    LandingMark,
    /// An instruction that faults on purpose (`ud2`, `hlt`): handlers look at its address.
    Fault,
    /// A branch with an operand-size prefix, which processors disagree about.
    OddBranch,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transaction => "a transaction starts there",
            Self::FarTransfer => "a far or privileged transfer of control",
            Self::EipRelative => "an operand relative to the 32-bit instruction pointer",
            Self::CallThroughStack => "an indirect call through the stack pointer",
            Self::LandingMark => "an endbr64 that indirect calls land on",
            Self::Fault => "an instruction that faults on purpose",
            Self::OddBranch => "a branch with an operand-size prefix",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "shorter than five bytes, and no padding behind it",
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
            Self::OutOfRange => "the copy would be further than 2 GiB from what it refers to",
            Self::ConditionalExit => "the function leaves by a conditional jump",
            Self::OverlapsEntry => "the bytes are taken by the entry of the function",
        })
    }
}

impl std::error::Error for Reason {}
