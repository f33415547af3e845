//! What the analysis asks of an instruction set. Everything else in this crate is the same for all.

pub(crate) mod aarch64;
mod insn;
pub(crate) mod riscv64;
pub(crate) mod x86_64;

use core::fmt;

use crate::body::Body;
use crate::ehframe::Cfa;
use crate::elf::Image;
use crate::indirect::Origin;
use crate::reason::Reason;
use crate::relocate::Relocated;
use crate::site::{Jump, Site, Written};
use crate::tables::Table;
use crate::text::Marks;

pub(crate) use insn::{Flow, Insn, each};

/// An instruction set that programs are understood of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// x86-64.
    X86_64,
    /// AArch64, little-endian.
    Aarch64,
    /// RV64GC: RISC-V with 64 bits, and with compressed instructions where the file has them.
    Riscv64,
}

impl Isa {
    /// By `e_machine` of an ELF file.
    pub(crate) fn of_machine(machine: u16) -> Option<Self> {
        Some(match machine {
            62 => Self::X86_64,
            183 => Self::Aarch64,
            243 => Self::Riscv64,
            _ => return None,
        })
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Riscv64 => "riscv64",
        })
    }
}

/// What code refers to as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// The address is computed.
    Address(u64),
    /// So many bytes are read or written there.
    Bytes(u64, u64),
}

/// What a relocation puts into eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relocation {
    /// The value of a symbol and the addend.
    SymbolAndAddend,
    /// The value of a symbol.
    Symbol,
    /// The addend, as an address as linked.
    Addend,
    /// What the function at the addend returns.
    Resolver,
}

/// An instruction set. `Raw` is one decoded instruction as the set itself sees it.
pub(crate) trait Arch: Sized + 'static {
    const ISA: Isa;
    /// What every instruction's address is a multiple of, in bytes.
    const ALIGN: u64;
    /// Where the frame begins when a function is called.
    const ENTRY: Cfa;
    /// Whether bytes below the stack pointer may be in use.
    const RED_ZONE: bool;

    /// What the protocols know of it.
    type Core: textpoke_core::isa::Isa;
    type Raw: Copy + fmt::Debug;
    type Reg: Copy + PartialEq + fmt::Debug;
    /// What registers hold while code is read from front to back.
    type Track: Default;

    /// The instructions of `bytes`, which are at `ip`.
    fn decoder(bytes: &[u8], ip: u64) -> impl Iterator<Item = Insn<Self::Raw>>;

    /// Tells what an instruction refers to. `fixed` if addresses in the code are not relative to anything.
    fn references(track: &mut Self::Track, insn: &Insn<Self::Raw>, fixed: bool, found: &mut impl FnMut(Reference));

    /// What indirect branches must land on, so that it stays in front of the site.
    fn is_landing_mark(insn: &Insn<Self::Raw>) -> bool;

    /// How many of the first instructions of a function stay in front of its site.
    fn marks(insns: &[Insn<Self::Raw>]) -> usize {
        usize::from(insns.first().is_some_and(Self::is_landing_mark))
    }

    fn is_nop(insn: &Insn<Self::Raw>) -> bool;

    /// A breakpoint.
    fn is_trap(insn: &Insn<Self::Raw>) -> bool;

    /// Whether an instruction does the same from another address, given what `relocate` can do.
    fn movable(insn: &Insn<Self::Raw>) -> Result<(), Reason>;

    /// The lengths of the jumps that may be put over a site, the best first, in bytes. `near` if trampolines are.
    fn lengths(near: bool) -> &'static [u64];

    /// The jump of a length that fits a run, if there is one. `spare` are registers that hold nothing for whoever called
    /// the function; what the jump uses must be unused by the run, too.
    fn jump(length: u64, run: &[Insn<Self::Raw>], spare: u32) -> Option<Jump>;

    /// What else must hold of a run and its bytes.
    fn check(_run: &[Insn<Self::Raw>], _bytes: &[u8]) -> Result<(), Reason> {
        Ok(())
    }

    /// What of the registers that a jump may need an instruction itself writes, as a set. Errs on the side of too few.
    fn scratch_written(insn: &Insn<Self::Raw>) -> u32;

    /// What of them it reads. Errs on the side of too many.
    fn scratch_read(insn: &Insn<Self::Raw>) -> u32;

    /// All of them.
    const SCRATCH: u32;

    /// Those of them that compilers may pass arguments in, to functions that only they know.
    const PASSED: u32;

    /// Some instruction of the run reads flags that were set before it.
    fn flags_live(run: &[Insn<Self::Raw>]) -> bool;

    /// Whether a function leaves its stack: it loads the stack pointer from somewhere that no compiler
    /// keeps its own frame in.
    fn switches_stack(insns: &[Insn<Self::Raw>]) -> bool;

    /// Per instruction: it belongs to a sequence that must not be interrupted by other code.
    fn sequences(body: &Body<Self>, inside: &mut [bool]);

    /// Where the target of the indirect jump at an index comes from.
    fn origin(body: &Body<Self>, jump: usize, marks: &Marks) -> Origin<Self::Reg>;

    /// Whether a register, wherever the function writes it, gets one of these addresses.
    fn points_to(body: &Body<Self>, register: Self::Reg, is_table: &dyn Fn(u64) -> bool) -> bool;

    /// The places that may be jump tables of a function.
    fn tables(image: &Image<'_>, body: &Body<Self>, found: &mut Vec<Table>);

    /// Whether a jump leads to a detour that a linker made: it comes back behind the jump.
    fn is_detour(image: &Image<'_>, insn: &Insn<Self::Raw>, target: u64) -> bool;

    /// A procedure linkage stub, in a file where no section header tells.
    fn is_stub(image: &Image<'_>, vaddr: u64) -> bool;

    /// What a relocation of a type does; `None` if it makes no code address.
    fn relocation(kind: u32) -> Option<Relocation>;

    /// Functions that are called by rules of their own, so that the jump has no register to use.
    fn has_own_convention(name: &str) -> bool;

    /// The bytes of the jump from `from` to `to`.
    fn encode_jump(jump: Jump, from: u64, to: u64) -> Result<Written, Reason>;

    /// The copy of a site's instructions that runs at `dest`, the site being loaded at `origin`.
    fn relocate(site: &Site, origin: u64, dest: u64) -> Result<Relocated, Reason>;
}

/// Calls a generic function for an instruction set that is known at run time.
macro_rules! for_isa {
    ($isa:expr, $arch:ident => $what:expr) => {
        match $isa {
            $crate::isa::Isa::X86_64 => {
                type $arch = $crate::isa::x86_64::X86_64;
                $what
            }
            $crate::isa::Isa::Aarch64 => {
                type $arch = $crate::isa::aarch64::Aarch64;
                $what
            }
            $crate::isa::Isa::Riscv64 => {
                type $arch = $crate::isa::riscv64::Riscv64;
                $what
            }
        }
    };
}
pub(crate) use for_isa;
