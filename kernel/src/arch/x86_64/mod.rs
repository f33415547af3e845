//! x86-64, as QEMU's machine `q35` or `pc` has it.

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

pub use textpoke_bare::x86_64::Saved;
pub use textpoke_core::isa::X86_64 as Native;

/// Writes a model-specific register.
///
/// # Safety
/// The register exists, and the value does no harm.
unsafe fn wrmsr(register: u32, value: u64) {
    // SAFETY: the caller's duty.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack));
    }
}

/// Reads a port.
///
/// # Safety
/// Reading it does no harm.
unsafe fn inb(port: u16) -> u8 {
    let byte;
    // SAFETY: the caller's duty.
    unsafe { asm!("in al, dx", in("dx") port, out("al") byte, options(nostack)) };
    byte
}

/// Writes a port.
///
/// # Safety
/// Writing it does no harm.
unsafe fn outb(port: u16, byte: u8) {
    // SAFETY: the caller's duty.
    unsafe { asm!("out dx, al", in("dx") port, in("al") byte, options(nostack)) };
}

/// Writes four bytes to a port.
///
/// # Safety
/// Writing it does no harm.
unsafe fn outl(port: u16, value: u32) {
    // SAFETY: the caller's duty.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack)) };
}

/// Switches interrupts off on this CPU; whether they were on.
pub fn interrupts_off() -> bool {
    let flags: u64;
    // SAFETY: what they are for can wait.
    unsafe { asm!("pushfq", "pop {}", "cli", out(reg) flags) };
    flags & 1 << 9 != 0
}

/// Switches interrupts on, if they were.
pub fn interrupts_restore(on: bool) {
    if on {
        interrupts_on();
    }
}

/// Switches interrupts on.
pub fn interrupts_on() {
    // SAFETY: the vectors are in place.
    unsafe { asm!("sti") };
}

/// Waits for an interrupt, unless `busy` says with interrupts off that there is something to do. With interrupts on
/// before and after.
pub fn idle(busy: impl FnOnce() -> bool) {
    interrupts_off();
    if busy() {
        interrupts_on();
    } else {
        // SAFETY: STI lets nothing in before the next instruction is done.
        unsafe { asm!("sti", "hlt") };
    }
}

/// A clock, in ticks.
pub fn now() -> u64 {
    textpoke_cpu::timestamp()
}
