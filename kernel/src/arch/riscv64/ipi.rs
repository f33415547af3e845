//! Interrupts from hart to hart: supervisor software interrupts, which the firmware sends.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{Saved, sbi, smp};

/// sie.SSIE and sip.SSIP.
const SOFTWARE: u64 = 2;

static SENT: AtomicU64 = AtomicU64::new(0);

/// Lets this interrupt in on this hart, once interrupts are on.
pub fn enable() {
    // SAFETY: the vector is in place.
    unsafe { asm!("csrs sie, {}", in(reg) SOFTWARE, options(nostack)) };
}

/// Interrupts a CPU.
pub fn send(cpu: usize) {
    SENT.fetch_add(1, Ordering::Relaxed);
    // SAFETY: an interrupt that has a handler. The barrier: whoever is interrupted sees what was stored before, for a FENCE.I
    // there orders nothing of ours.
    let done = unsafe {
        asm!("fence iorw, iorw", options(nostack));
        sbi::call(sbi::IPI, 0, [1, smp::hart(cpu), 0, 0])
    };
    assert!(done.is_ok(), "the firmware sends no interrupts: {done:?}");
}

/// How many interrupts were sent by [`send`].
pub fn sent() -> u64 {
    SENT.load(Ordering::Relaxed)
}

/// The handler, with interrupts off.
pub(super) fn on_interrupt(saved: &Saved) {
    // Before the work, so that one that is sent meanwhile comes in again.
    // SAFETY: this interrupt is what is handled.
    unsafe { asm!("csrc sip, {}", "fence iorw, iorw", in(reg) SOFTWARE, options(nostack)) };
    crate::engine::on_interrupt(smp::this(), saved.pc);
}
