//! RISC-V, as QEMU's machine `virt` has it: in S-mode, above an SBI.

pub mod boot;
pub mod exit;
pub mod ipi;
pub mod nmi;
pub mod paging;
pub mod sbi;
pub mod serial;
pub mod sites;
pub mod smp;
pub mod trace;
pub mod traps;

use core::arch::asm;

pub use textpoke_bare::riscv64::Saved;
pub use textpoke_core::isa::Riscv64 as Native;

/// sstatus.SIE.
const SIE: u64 = 2;

/// Switches interrupts off on this hart, NMIs excepted; whether they were on.
pub fn interrupts_off() -> bool {
    let status: u64;
    // SAFETY: what they are for can wait.
    unsafe { asm!("csrrci {}, sstatus, 2", out(reg) status, options(nostack)) };
    status & SIE != 0
}

/// Switches interrupts on, if they were.
pub fn interrupts_restore(on: bool) {
    if on {
        interrupts_on();
    }
}

/// Switches interrupts on.
pub fn interrupts_on() {
    // SAFETY: the vector is in place.
    unsafe { asm!("csrsi sstatus, 2", options(nostack)) };
}

/// Waits for an interrupt, unless `busy` says with interrupts off that there is something to do. With interrupts on
/// before and after.
pub fn idle(busy: impl FnOnce() -> bool) {
    interrupts_off();
    if !busy() {
        // SAFETY: it waits, and ends also while interrupts are off.
        unsafe { asm!("wfi", options(nostack)) };
    }
    interrupts_on();
}

/// A clock, in ticks.
pub fn now() -> u64 {
    textpoke_cpu::timestamp()
}
