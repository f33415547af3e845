//! RISC-V, RV64GC.

mod raw;
pub mod ucontext;

use core::arch::{asm, naked_asm};

use textpoke_core::isa::Isa;
use textpoke_core::isa::riscv64::{Insn, NOP, ZERO, jal, length};
use textpoke_core::{Site, isa::Riscv64};

pub(crate) use raw::nr;
pub use raw::{syscall3, syscall6};

use crate::sys;
use ucontext::Registers;

/// The instruction set of this build.
pub type Host = Riscv64;

/// `O_DIRECTORY`.
pub const O_DIRECTORY: u32 = 0o200_000;

/// `si_code` of a trap that the kernel raised for EBREAK (`TRAP_BRKPT`).
pub const CODE_TRAP: i32 = 1;

/// There is no restorer: handlers return through the kernel's own code, which unwinders know.
pub(crate) const SA_RESTORER: u64 = 0;

/// The kernel's `struct sigaction`, which has no restorer here.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// Address of the handler, [`SIG_DFL`](crate::signal::SIG_DFL) or [`SIG_IGN`](crate::signal::SIG_IGN).
    pub handler: usize,
    /// `SA_…` bits.
    pub flags: u64,
    /// What is blocked besides while the handler runs.
    pub mask: u64,
}

impl Action {
    /// From its parts; the restorer is left out.
    pub const fn new(handler: usize, flags: u64, _restorer: usize, mask: u64) -> Self {
        Self { handler, flags, mask }
    }
}

pub(crate) fn restorer_address() -> usize {
    0
}

/// Number of links in what `fstat` wrote: device 8, inode 8, mode 4, links 4, and more.
pub(crate) fn links(stat: &[u64; 18]) -> u64 {
    stat[2] >> 32
}

/// Whether the trap that a thread has just taken at `at` is an instruction that nobody has taken away, and no trap of ours:
/// C.EBREAK.
///
/// # Safety
/// The CPU has just executed what is at `at`.
pub(crate) unsafe fn foreign_trap(at: u64) -> bool {
    // SAFETY: the caller's duty; instructions are aligned to two bytes.
    Host::is_trap(&unsafe { crate::trap::half(at) })
}

/// Where the PC stays at a trap, one that the kernel drops is executed again.
pub(crate) fn was_trap(_: &Registers) -> bool {
    false
}

/// Whether acting as the instruction would have to move a shadow stack: here programs push and pop with instructions of
/// their own (Zicfiss).
pub(crate) fn moves_shadow_stack(_: Insn) -> bool {
    false
}

/// Not asked: see [`moves_shadow_stack`].
pub fn has_shadow_stack() -> bool {
    false
}

/// Makes stores to the ranges visible to instruction fetch: data first, then on every hart that runs a thread of this
/// process, and on the others before they do (`riscv_flush_icache`). FENCE.I of our own would be undone by the kernel's
/// moving this thread.
pub(crate) fn maintain(_: impl Iterator<Item = (u64, u64)> + Clone, _keep_promises: bool) -> sys::Result {
    flush()
}

/// No part is known whose caches do not.
#[cfg(feature = "std")]
pub(crate) fn caches_keep_promises() -> bool {
    true
}

/// Synchronises all harts where the kernel's membarrier cannot (before Linux 6.10): FENCE.I on each of them is what both
/// do.
pub(crate) fn sync_otherwise() -> sys::Result {
    flush()
}

fn flush() -> sys::Result {
    // The kernel's request to other harts orders nothing of ours by itself (before Linux 6.16).
    // SAFETY: a barrier.
    unsafe { asm!("fence rw, rw", options(nostack, preserves_flags)) };
    // Start and end are not looked at, and no flags means every thread.
    // SAFETY: changes no memory.
    sys::check(unsafe { syscall3(nr::RISCV_FLUSH_ICACHE, 0, 0, 0) }).map(drop)
}

/// Makes the page of a byte private and present by an atomic instruction that writes back what it read.
///
/// # Safety
/// The byte is mapped writable.
pub(crate) unsafe fn touch(addr: u64) {
    // SAFETY: the caller's duty; the word around the byte lies on the same page.
    unsafe { asm!("amoor.w zero, zero, ({})", in(reg) addr & !3, options(nostack)) };
}

/// A PC and the stack pointer that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    pub pc: u64,
    pub sp: u64,
}

/// What recognises signal frames on a stack that is read word by word.
///
/// A frame has no number of its own here. But the registers stand in it in the order pc, ra, sp, gp, tp, and gp is the same
/// in all threads and for the whole life of the process (psABI: it is set when the program starts).
pub(crate) struct Frames {
    gp: u64,
}

impl Frames {
    pub fn new() -> Self {
        let gp;
        // SAFETY: reads a register.
        unsafe { asm!("mv {}, gp", out(reg) gp, options(nomem, nostack, preserves_flags)) };
        Self { gp }
    }

    /// What the frame saved of which the last words of `window` are a part, if they are one.
    pub fn saved(&self, &[pc, _, sp, gp, _]: &[u64; 5]) -> Option<Saved> {
        (gp == self.gp).then_some(Saved { pc, sp })
    }

    /// What [`Frames::saved`] recognises.
    #[cfg(test)]
    pub fn sample(saved: Saved) -> [u64; 5] {
        [saved.pc, 0, saved.sp, Self::new().gp, 0]
    }
}

/// Whether the instruction that fills `insn` is a call, which returns to behind it.
pub(crate) fn is_call(insn: &[u8]) -> bool {
    let links =
        |insn: Option<Insn>| matches!(insn, Some(Insn::Jump { link, .. } | Insn::JumpReg { link, .. }) if link != ZERO);
    let whole = insn.first_chunk().and_then(|&parcel| length(u16::from_le_bytes(parcel))) == Some(insn.len());
    whole && links(Host::decode(0, insn))
}

/// The address of a weak symbol, 0 where there is none.
#[doc(hidden)]
#[macro_export]
macro_rules! weak_address {
    ($symbol:literal $(, $visibility:literal)?) => {{
        let address: usize;
        // SAFETY: loads an address from the GOT.
        unsafe {
            ::core::arch::asm!(
                concat!(".weak ", $symbol),
                $(concat!(".", $visibility, " ", $symbol),)?
                concat!("2: auipc {at}, %got_pcrel_hi(", $symbol, ")"),
                "ld {at}, %pcrel_lo(2b)({at})",
                at = lateout(reg) address,
                options(nostack, preserves_flags),
            );
        }
        address
    }};
}

/// Returns 1: the site is a NOP, and in its second form jumps past what makes the result 1.
#[unsafe(naked)]
pub(crate) extern "C" fn scratch() -> u32 {
    naked_asm!(".balign 4", ".option push", ".option norvc", "li a0, 2", "nop", "li a0, 1", "ret", ".option pop")
}

/// The site in [`scratch`].
pub(crate) fn scratch_site() -> Option<Site> {
    let addr = (scratch as *const () as u64).next_multiple_of(4) + 4;
    Site::single(addr, &NOP, &jal(ZERO, addr, addr + 8).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_recognised() {
        // jal ra; jalr ra, t1; c.jalr a5
        for call in [&[0xef, 0, 0, 0][..], &[0xe7, 0, 3, 0], &[0x82, 0x97]] {
            assert!(is_call(call), "{call:x?}");
        }
        // j; ret; c.jr ra; nop
        for other in [&[0x6f, 0, 0, 0][..], &[0x67, 0x80, 0, 0], &[0x82, 0x80], &NOP] {
            assert!(!is_call(other), "{other:x?}");
        }
    }
}
