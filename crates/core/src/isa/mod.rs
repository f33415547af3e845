//! What the protocols must know of an instruction set. Knowledge only: it compiles on every host.

pub mod aarch64;
pub mod entry;
mod reg;
pub mod riscv64;
pub mod switch;
pub mod x86_64;

pub use aarch64::Aarch64;
pub use reg::Reg;
pub use riscv64::Riscv64;
pub use x86_64::X86_64;

use crate::trap::{Effect, Regs};

/// An instruction set, as patching sees it.
pub trait Isa: Copy + Eq + core::hash::Hash + core::fmt::Debug + 'static {
    /// The name in documents and on the command line.
    const NAME: &'static str;
    /// The trap instruction as it stands in memory.
    const TRAP: &'static [u8];
    /// What every instruction's address is a multiple of, in bytes.
    const ALIGN: u64;
    /// How far behind the start of the trap instruction the PC is when the trap is reported, in bytes.
    const TRAP_PC_ADVANCE: u64;
    /// An instruction that a trap handler can act as.
    type Insn: Copy + Eq + core::fmt::Debug;

    /// Whether `bytes` begin with a breakpoint, be it ours or a debugger's.
    fn is_trap(bytes: &[u8]) -> bool;

    /// Whether the architecture lets the one instruction `old` at `addr` become the one instruction `new` by one naturally
    /// aligned store while other CPUs may be executing it: each of them then executes the one or the other.
    ///
    /// It says nothing about when they see the new one, and nothing about two instructions that change together.
    fn live(addr: u64, old: &[u8], new: &[u8]) -> bool;

    /// An instruction of two bytes that goes on `len` bytes behind its own start; `None` if there is none for this
    /// length.
    fn hop(len: usize) -> Option<[u8; 2]>;

    /// Decodes the instruction that fills `bytes` at `addr`; `None` unless a trap handler can act as it.
    fn decode(addr: u64, bytes: &[u8]) -> Option<Self::Insn>;

    /// What executing the instruction does to the thread.
    fn effect(insn: Self::Insn, regs: &Regs) -> Effect;
}
