//! AArch64.

#[cfg(feature = "std")]
mod parts;
mod raw;
pub mod ucontext;

use core::arch::{asm, naked_asm};

use textpoke_core::isa::Isa;
use textpoke_core::isa::aarch64::{Insn, NOP, b};
use textpoke_core::{Site, isa::Aarch64};

pub(crate) use raw::nr;
pub use raw::{syscall3, syscall6};

use crate::sys;
use ucontext::Registers;

/// The instruction set of this build.
pub type Host = Aarch64;

/// `O_DIRECTORY`: this instruction set inherits its numbers from the 32-bit one.
pub const O_DIRECTORY: u32 = 0o40_000;

/// `si_code` of a trap that the kernel raised for BRK (`TRAP_BRKPT`).
pub const CODE_TRAP: i32 = 1;

/// No restorer: handlers return through the kernel's own code, which unwinders know.
pub(crate) const SA_RESTORER: u64 = 0;

/// The kernel's `struct sigaction`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// Address of the handler, [`SIG_DFL`](crate::signal::SIG_DFL) or [`SIG_IGN`](crate::signal::SIG_IGN).
    pub handler: usize,
    /// `SA_…` bits.
    pub flags: u64,
    /// Not looked at, unless the flags say so.
    pub restorer: usize,
    /// What is blocked besides while the handler runs.
    pub mask: u64,
}

impl Action {
    /// From its parts; the restorer is left out.
    pub const fn new(handler: usize, flags: u64, _restorer: usize, mask: u64) -> Self {
        Self { handler, flags, restorer: 0, mask }
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
/// a BRK with somebody else's immediate.
///
/// # Safety
/// The CPU has just executed what is at `at`.
pub(crate) unsafe fn foreign_trap(at: u64) -> bool {
    // SAFETY: the caller's duty; instructions are aligned.
    let word = unsafe { crate::trap::word(at) };
    Host::is_trap(&word) && word != Host::TRAP
}

/// Where the PC stays at a trap, one that the kernel drops is executed again.
pub(crate) fn was_trap(_: &Registers) -> bool {
    false
}

/// Whether acting as the instruction would have to move a shadow stack (Guarded Control Stack).
pub(crate) fn moves_shadow_stack(insn: Insn) -> bool {
    matches!(insn, Insn::Bl { .. } | Insn::Blr { .. } | Insn::Ret { .. })
}

/// Whether the calling thread has a user shadow stack, which only a real BL can push to.
pub fn has_shadow_stack() -> bool {
    const PR_GET_SHADOW_STACK_STATUS: u32 = 74;
    let mut status = 0u64;
    // SAFETY: the kernel writes 8 bytes to `status`, or refuses because it knows no shadow stacks.
    let got = unsafe { sys::prctl(PR_GET_SHADOW_STACK_STATUS, [&raw mut status as usize, 0, 0, 0]) };
    got.is_ok() && status & 1 != 0
}

#[cfg(feature = "std")]
pub(crate) use parts::caches_keep_promises;

/// Makes stores to the ranges visible to instruction fetch, at the addresses at which they are executed. Unless the caches
/// `keep_promises`, every step is taken.
pub(crate) fn maintain(ranges: impl Iterator<Item = (u64, u64)> + Clone, keep_promises: bool) -> sys::Result {
    if keep_promises {
        textpoke_cpu::maintain_each(ranges);
    } else {
        textpoke_cpu::maintain_always(ranges);
    }
    Ok(())
}

/// Synchronises all CPUs where the kernel's membarrier cannot: there is no other way.
pub(crate) fn sync_otherwise() -> sys::Result {
    Err(sys::Errno::INVAL)
}

/// Makes the page of a byte private and present by storing what was read, unless somebody else stored meanwhile.
///
/// # Safety
/// The byte is mapped writable.
pub(crate) unsafe fn touch(addr: u64) {
    // SAFETY: the caller's duty. A store that fails has found that another CPU can write there.
    unsafe {
        asm!("ldxrb {old:w}, [{addr}]", "stxrb {done:w}, {old:w}, [{addr}]",
             old = out(reg) _, done = out(reg) _, addr = in(reg) addr, options(nostack));
    }
}

/// A PC and the stack pointer that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    pub pc: u64,
    pub sp: u64,
}

/// `struct fpsimd_context`'s header: the first record behind the registers of every signal frame (magic number and length
/// in bytes). The registers end 16 bytes in front of it, PSTATE and padding.
const FPSIMD: u64 = 0x4650_8001 | 528 << 32;

/// What recognises signal frames on a stack that is read word by word.
pub(crate) struct Frames;

impl Frames {
    pub fn new() -> Self {
        Self
    }

    /// What the frame saved of which the last word of `window` is the mark, if it is one.
    pub fn saved(&self, &[sp, pc, _, _, mark]: &[u64; 5]) -> Option<Saved> {
        (mark == FPSIMD).then_some(Saved { pc, sp })
    }

    /// What [`Frames::saved`] recognises.
    #[cfg(test)]
    pub fn sample(saved: Saved) -> [u64; 5] {
        [saved.sp, saved.pc, 0x6000_0000, 0, FPSIMD]
    }
}

/// Whether the instruction that fills `insn` is a call, which returns to behind it: BL, BLR and those that authenticate.
pub(crate) fn is_call(insn: &[u8]) -> bool {
    let Ok(word) = insn.try_into().map(u32::from_le_bytes) else { return false };
    word & 0xfc00_0000 == 0x9400_0000 || word & 0xfeff_f000 == 0xd63f_0000
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
                concat!("adrp {at}, :got:", $symbol),
                concat!("ldr {at}, [{at}, :got_lo12:", $symbol, "]"),
                at = lateout(reg) address,
                options(nostack, preserves_flags),
            );
        }
        address
    }};
}

/// Returns 1: the site is a NOP, and in its second form branches past what makes the result 1.
#[unsafe(naked)]
pub(crate) extern "C" fn scratch() -> u32 {
    naked_asm!("mov w0, 2", "nop", "mov w0, 1", "ret")
}

/// The site in [`scratch`].
pub(crate) fn scratch_site() -> Option<Site> {
    let addr = scratch as *const () as u64 + 4;
    Site::single(addr, &NOP, &b(addr, addr + 8).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_recognised() {
        for call in [0x9400_0001u32, 0xd63f_0120, 0xd63f_083f] {
            assert!(is_call(&call.to_le_bytes()), "{call:#x}");
        }
        for other in [0x1400_0001u32, 0xd61f_0120, 0xd65f_03c0, 0xd503_201f] {
            assert!(!is_call(&other.to_le_bytes()), "{other:#x}");
        }
    }
}
