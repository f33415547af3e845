//! x86-64.

mod raw;
pub mod ucontext;

use core::arch::{asm, naked_asm};

use textpoke_core::isa::x86_64::Insn;
use textpoke_core::{Site, isa::X86_64};

pub(crate) use raw::nr;
pub use raw::{syscall3, syscall6};

use crate::sys;
use ucontext::Registers;

/// The instruction set of this build.
pub type Host = X86_64;

/// `O_DIRECTORY`.
pub const O_DIRECTORY: u32 = 0o200_000;

/// `si_code` of a trap that the kernel raised for INT3 (`SI_KERNEL`).
pub const CODE_TRAP: i32 = 0x80;

/// `SA_RESTORER`, which is not optional here.
pub(crate) const SA_RESTORER: u64 = 0x0400_0000;

/// The kernel's `struct sigaction`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// Address of the handler, [`SIG_DFL`](crate::signal::SIG_DFL) or [`SIG_IGN`](crate::signal::SIG_IGN).
    pub handler: usize,
    /// `SA_…` bits.
    pub flags: u64,
    /// Where a handler returns to.
    pub restorer: usize,
    /// What is blocked besides while the handler runs.
    pub mask: u64,
}

impl Action {
    /// From its parts.
    pub const fn new(handler: usize, flags: u64, restorer: usize, mask: u64) -> Self {
        Self { handler, flags, restorer, mask }
    }
}

/// Where a handler returns to: `rt_sigreturn`.
///
/// Exactly these nine bytes: unwinders (libgcc, gdb) recognise a signal frame by them, so that a panic or a backtrace can
/// pass through a handler that was chained to.
#[unsafe(naked)]
pub extern "C" fn restorer() {
    naked_asm!("mov rax, 15", "syscall");
}

/// The address of [`restorer`].
pub(crate) fn restorer_address() -> usize {
    restorer as *const () as usize
}

/// Number of links in what `fstat` wrote: device 8, inode 8, links 8, and more.
pub(crate) fn links(stat: &[u64; 18]) -> u64 {
    stat[2]
}

/// Whether the trap that a thread has just taken at `at` is an instruction that nobody has taken away, and no trap of ours:
/// INT 3 in its two-byte form (CD 03), which ends in no trap byte.
///
/// # Safety
/// The CPU has just executed what is at `at`.
pub(crate) unsafe fn foreign_trap(at: u64) -> bool {
    // SAFETY: the caller's duty; the byte before is part of the instruction if the first is 3, and may only be read then.
    unsafe { crate::trap::byte(at) == 0x03 && crate::trap::byte(at.wrapping_sub(1)) == 0xcd }
}

/// Whether the last exception that the kernel saw in this thread was a breakpoint (#BP).
pub(crate) fn was_trap(regs: &Registers) -> bool {
    regs.trap == 3
}

/// Whether acting as the instruction would have to move a shadow stack.
pub(crate) fn moves_shadow_stack(insn: Insn) -> bool {
    matches!(insn, Insn::Call { .. } | Insn::Ret { .. })
}

/// Whether the calling thread has a user shadow stack, which only a real CALL can push to.
pub fn has_shadow_stack() -> bool {
    const ARCH_SHSTK_STATUS: usize = 0x5005;
    let mut features = 0u64;
    // SAFETY: the kernel writes 8 bytes to `features`, or refuses because it knows no shadow stacks.
    let ret = unsafe { syscall3(nr::ARCH_PRCTL, ARCH_SHSTK_STATUS, &raw mut features as usize, 0) };
    ret == 0 && features & 1 != 0
}

/// Makes stores to the sites visible to instruction fetch: nothing to do ([`textpoke_cpu::maintain_each`]).
pub(crate) fn maintain(_: impl Iterator<Item = (u64, u64)> + Clone, _keep_promises: bool) -> sys::Result {
    Ok(())
}

/// No part is known whose caches do not.
#[cfg(feature = "std")]
pub(crate) fn caches_keep_promises() -> bool {
    true
}

/// Synchronises all CPUs where the kernel's membarrier cannot: there is no other way.
pub(crate) fn sync_otherwise() -> sys::Result {
    Err(sys::Errno::INVAL)
}

/// Makes the page of a byte private and present by an atomic instruction that writes back what it read.
///
/// An atomic `or` with 0 in Rust is no store: the compiler makes a fence and a load of it.
///
/// # Safety
/// The byte is mapped writable.
pub(crate) unsafe fn touch(addr: u64) {
    // SAFETY: the caller's duty.
    unsafe { asm!("lock or byte ptr [{}], 0", in(reg) addr, options(nostack)) };
}

/// A PC and the stack pointer that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    pub pc: u64,
    pub sp: u64,
}

/// Selectors of a 64-bit thread, as the kernel writes them into a signal frame: a mark by which frames are recognised.
pub(crate) const USER_SEGMENTS: u64 = 0x002b_0000_0000_0033;

/// What recognises signal frames on a stack that is read word by word.
pub(crate) struct Frames;

impl Frames {
    pub fn new() -> Self {
        Self
    }

    /// What the frame saved of which the last word of `window` is the mark, if it is one: RSP, RIP and RFLAGS stand in
    /// front of the segments. From old kernels SS is 0.
    pub fn saved(&self, &[_, sp, pc, _, mark]: &[u64; 5]) -> Option<Saved> {
        (mark == USER_SEGMENTS || mark == USER_SEGMENTS & 0xffff).then_some(Saved { pc, sp })
    }

    /// What [`Frames::saved`] recognises.
    #[cfg(test)]
    pub fn sample(saved: Saved) -> [u64; 5] {
        [0, saved.sp, saved.pc, 0x246, USER_SEGMENTS]
    }
}

/// Whether the instruction that fills `insn` is a CALL, which returns to behind it.
pub(crate) fn is_call(insn: &[u8]) -> bool {
    let prefixes = |&&b: &&u8| matches!(b, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf2 | 0xf3);
    let insn = &insn[insn.iter().take_while(prefixes).count()..];
    // CALL rel32; CALL through a register or memory, near and far.
    matches!(*insn, [0xe8, ..]) || matches!(*insn, [0xff, modrm, ..] if matches!(modrm >> 3 & 7, 2 | 3))
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
                concat!("mov {}, [rip + ", $symbol, "@GOTPCREL]"),
                lateout(reg) address,
                options(nostack, preserves_flags),
            );
        }
        address
    }};
}

/// Returns 1: `mov eax, 1`, and its second form returns 2.
#[unsafe(naked)]
pub(crate) extern "C" fn scratch() -> u32 {
    naked_asm!(".byte 0xb8, 1, 0, 0, 0", "ret")
}

/// The site in [`scratch`].
pub(crate) fn scratch_site() -> Option<Site> {
    Site::single(scratch as *const () as u64, &[0xb8, 1, 0, 0, 0], &[0xb8, 2, 0, 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwinders_recognise_the_restorer() {
        // SAFETY: nine bytes of our own text.
        let code = unsafe { core::slice::from_raw_parts(restorer as *const () as *const u8, 9) };
        assert_eq!(code, [0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05]);
    }

    #[test]
    fn calls_are_recognised_behind_prefixes() {
        for call in [&[0xe8, 0, 0, 0, 0][..], &[0xff, 0xd0], &[0x41, 0xff, 0x53, 8]] {
            assert!(is_call(call), "{call:x?}");
        }
        assert!(!is_call(&[0x55]) && !is_call(&[0xff, 0xe0]) && !is_call(&[]));
    }
}
