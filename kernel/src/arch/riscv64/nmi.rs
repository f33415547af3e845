//! NMIs: supervisor software events of the firmware (SBI, "Supervisor Software Events Extension").
//!
//! The firmware interrupts whatever S-mode does, also with interrupts off and inside trap handlers, and enters here. It keeps
//! `sepc`, SPIE, SPP, A6 and A7 of what it interrupted, and this entry code keeps the rest. So for the kernel it is what an
//! NMI is. It is not the hardware's: M-mode stands in between, which cannot be interrupted itself by this.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{sbi, smp};
use crate::CPUS;

/// The event that software injects on one hart.
const LOCAL_SOFTWARE: u64 = 0xffff_0000;
const REGISTER: u64 = 2;
const ENABLE: u64 = 4;
const COMPLETE: u64 = 6;
const INJECT: u64 = 7;
const UNMASK: u64 = 8;

static CAME: [AtomicU64; CPUS] = [const { AtomicU64::new(0) }; CPUS];

/// What the NMIs of this kernel are.
pub fn kind() -> &'static str {
    "supervisor software events"
}

/// Lets NMIs in on this hart.
pub(super) fn enable() {
    // SAFETY: the entry code restores what it changes.
    let done = unsafe {
        sbi::call(sbi::SSE, REGISTER, [LOCAL_SOFTWARE, entry as *const () as u64, 0, 0])
            .and_then(|_| sbi::call(sbi::SSE, ENABLE, [LOCAL_SOFTWARE, 0, 0, 0]))
    };
    assert!(done.is_ok(), "the firmware has no software events: {done:?}");
    // Firmware of the first editions masks no harts and does not know the call.
    // SAFETY: as above.
    let _ = unsafe { sbi::call(sbi::SSE, UNMASK, [0; 4]) };
}

/// Sends an NMI to a CPU, also to this one.
pub fn send(cpu: usize) {
    // It fails while as many are on their way as the firmware's queue has room for.
    // SAFETY: an event that has a handler.
    while unsafe { sbi::call(sbi::SSE, INJECT, [LOCAL_SOFTWARE, smp::hart(cpu), 0, 0]) }.is_err() {
        core::hint::spin_loop();
    }
}

/// How many NMIs have ended on a CPU.
pub fn ended(cpu: usize) -> u64 {
    CAME[cpu].load(Ordering::SeqCst)
}

/// The handler: NMIs do not nest.
extern "C" fn on_nmi() {
    let cpu = smp::this();
    crate::engine::on_nmi(cpu);
    CAME[cpu].fetch_add(1, Ordering::SeqCst);
}

/// The entry, on the stack of what was interrupted. A trap in the handler overwrites `sepc`, `sstatus`, `scause` and `stval`.
// SAFETY: it restores what it saved, and the firmware the rest.
#[unsafe(naked)]
unsafe extern "C" fn entry() {
    naked_asm!(
        "addi sp, sp, -160",
        "sd ra, 0(sp)",
        "sd t0, 8(sp)",
        "sd t1, 16(sp)",
        "sd t2, 24(sp)",
        "sd a0, 32(sp)",
        "sd a1, 40(sp)",
        "sd a2, 48(sp)",
        "sd a3, 56(sp)",
        "sd a4, 64(sp)",
        "sd a5, 72(sp)",
        "sd t3, 80(sp)",
        "sd t4, 88(sp)",
        "sd t5, 96(sp)",
        "sd t6, 104(sp)",
        "csrr t0, sepc",
        "csrr t1, sstatus",
        "csrr t2, scause",
        "csrr t3, stval",
        "sd t0, 112(sp)",
        "sd t1, 120(sp)",
        "sd t2, 128(sp)",
        "sd t3, 136(sp)",
        // Whoever was interrupted may have been about to move the stack pointer.
        "sd s0, 144(sp)",
        "mv s0, sp",
        "andi sp, sp, -16",
        "call {handler}",
        "mv sp, s0",
        "ld s0, 144(sp)",
        "ld t0, 112(sp)",
        "ld t1, 120(sp)",
        "ld t2, 128(sp)",
        "ld t3, 136(sp)",
        "csrw sepc, t0",
        "csrw sstatus, t1",
        "csrw scause, t2",
        "csrw stval, t3",
        "ld ra, 0(sp)",
        "ld t0, 8(sp)",
        "ld t1, 16(sp)",
        "ld t2, 24(sp)",
        "ld a0, 32(sp)",
        "ld a1, 40(sp)",
        "ld a2, 48(sp)",
        "ld a3, 56(sp)",
        "ld a4, 64(sp)",
        "ld a5, 72(sp)",
        "ld t3, 80(sp)",
        "ld t4, 88(sp)",
        "ld t5, 96(sp)",
        "ld t6, 104(sp)",
        "addi sp, sp, 160",
        "li a6, {complete}",
        "li a7, {sse}",
        "ecall",
        "unimp",
        complete = const COMPLETE,
        sse = const sbi::SSE,
        handler = sym on_nmi,
    )
}
