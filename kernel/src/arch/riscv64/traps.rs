//! The vector. Everything is entered on the stack of the code that was interrupted, below which nothing is in use.

use core::arch::{asm, global_asm};

use super::{Saved, ipi, smp};

/// Values of `scause`.
const BREAKPOINT: u64 = 3;
const SOFTWARE_INTERRUPT: u64 = 1 << 63 | 1;

/// Makes this hart use the vector.
pub fn install() {
    unsafe extern "C" {
        static trap_entry: u8;
    }
    // SAFETY: it is for good, at a multiple of 4: the two lowest bits say that there is one for everything.
    unsafe { asm!("csrw stvec, {}", in(reg) &raw const trap_entry, options(nostack)) };
}

extern "C" fn on_trap(saved: &mut Saved, cause: u64, value: u64) {
    match cause {
        BREAKPOINT if crate::engine::on_trap(smp::this(), saved) => {}
        SOFTWARE_INTERRUPT => ipi::on_interrupt(saved),
        _ => panic!("CPU {}: cause {cause:#x}, value {value:#x}, {saved:#x?}", smp::this()),
    }
}

// Saves all registers as `Saved`, and restores them. NMIs may come in anywhere, and leave all registers, `scause` and `stval` as
// they were.
global_asm!(
    ".pushsection .text.vector, \"ax\", @progbits",
    ".balign 4",
    ".global trap_entry",
    "trap_entry: addi sp, sp, -272",
    "sd x1, 8(sp)",
    "sd x3, 24(sp)",
    "sd x4, 32(sp)",
    "sd x5, 40(sp)",
    "sd x6, 48(sp)",
    "sd x7, 56(sp)",
    "sd x8, 64(sp)",
    "sd x9, 72(sp)",
    "sd x10, 80(sp)",
    "sd x11, 88(sp)",
    "sd x12, 96(sp)",
    "sd x13, 104(sp)",
    "sd x14, 112(sp)",
    "sd x15, 120(sp)",
    "sd x16, 128(sp)",
    "sd x17, 136(sp)",
    "sd x18, 144(sp)",
    "sd x19, 152(sp)",
    "sd x20, 160(sp)",
    "sd x21, 168(sp)",
    "sd x22, 176(sp)",
    "sd x23, 184(sp)",
    "sd x24, 192(sp)",
    "sd x25, 200(sp)",
    "sd x26, 208(sp)",
    "sd x27, 216(sp)",
    "sd x28, 224(sp)",
    "sd x29, 232(sp)",
    "sd x30, 240(sp)",
    "sd x31, 248(sp)",
    "sd zero, 0(sp)",
    "addi t0, sp, 272",
    "sd t0, 16(sp)",
    "csrr t0, sepc",
    "csrr t1, sstatus",
    "sd t0, 256(sp)",
    "sd t1, 264(sp)",
    "mv a0, sp",
    "csrr a1, scause",
    "csrr a2, stval",
    "mv s0, sp",
    "andi sp, sp, -16",
    "call {handler}",
    "mv sp, s0",
    "ld t0, 256(sp)",
    "ld t1, 264(sp)",
    "csrw sepc, t0",
    "csrw sstatus, t1",
    "ld x1, 8(sp)",
    "ld x3, 24(sp)",
    "ld x4, 32(sp)",
    "ld x5, 40(sp)",
    "ld x6, 48(sp)",
    "ld x7, 56(sp)",
    "ld x8, 64(sp)",
    "ld x9, 72(sp)",
    "ld x10, 80(sp)",
    "ld x11, 88(sp)",
    "ld x12, 96(sp)",
    "ld x13, 104(sp)",
    "ld x14, 112(sp)",
    "ld x15, 120(sp)",
    "ld x16, 128(sp)",
    "ld x17, 136(sp)",
    "ld x18, 144(sp)",
    "ld x19, 152(sp)",
    "ld x20, 160(sp)",
    "ld x21, 168(sp)",
    "ld x22, 176(sp)",
    "ld x23, 184(sp)",
    "ld x24, 192(sp)",
    "ld x25, 200(sp)",
    "ld x26, 208(sp)",
    "ld x27, 216(sp)",
    "ld x28, 224(sp)",
    "ld x29, 232(sp)",
    "ld x30, 240(sp)",
    "ld x31, 248(sp)",
    "ld sp, 16(sp)",
    "sret",
    ".popsection",
    handler = sym on_trap,
);
