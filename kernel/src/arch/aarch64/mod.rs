//! AArch64, as QEMU's machine `virt` with a GICv3 has it: at EL1, on SP_EL1.

pub mod boot;
pub mod exit;
pub mod ipi;
pub mod nmi;
pub mod paging;
pub mod serial;
pub mod sites;
pub mod smp;
pub mod trace;
pub mod traps;

use core::arch::asm;

pub use textpoke_bare::aarch64::Saved;
pub use textpoke_core::isa::Aarch64 as Native;

/// Reads a system register.
macro_rules! read_register {
    ($name:literal) => {{
        let value: u64;
        // SAFETY: reading it changes nothing, as everywhere that this is used.
        unsafe { ::core::arch::asm!(concat!("mrs {}, ", $name), out(reg) value, options(nostack, preserves_flags)) };
        value
    }};
}
use read_register;

/// Writes a system register, and waits until it counts. To be used in an unsafe block.
macro_rules! write_register {
    ($name:literal, $value:expr) => {
        ::core::arch::asm!(
            concat!("msr ", $name, ", {}"),
            "isb",
            in(reg) $value,
            options(nostack, preserves_flags)
        )
    };
}
use write_register;

/// Switches interrupts off on this CPU, NMIs excepted; whether they were on.
pub fn interrupts_off() -> bool {
    nmi::ordinary_off()
}

/// Switches interrupts on, if they were.
pub fn interrupts_restore(on: bool) {
    if on {
        interrupts_on();
    }
}

/// Switches interrupts on.
pub fn interrupts_on() {
    nmi::ordinary_on();
}

/// Waits for an interrupt, unless `busy` says with interrupts off that there is something to do. With interrupts on
/// before and after.
pub fn idle(busy: impl FnOnce() -> bool) {
    // PSTATE.I keeps an interrupt from being taken and not WFI from ending, which the priority mask would.
    // SAFETY: what interrupts are for can wait.
    unsafe { asm!("msr daifset, #2", options(nostack)) };
    if !busy() {
        // SAFETY: waits.
        unsafe { asm!("dsb sy", "wfi", options(nostack)) };
    }
    // SAFETY: they were on.
    unsafe { asm!("msr daifclr, #2", options(nostack)) };
}

/// A clock, in ticks.
pub fn now() -> u64 {
    textpoke_cpu::timestamp()
}
