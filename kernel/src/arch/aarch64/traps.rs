//! The vectors. Everything is entered on the stack of the code that was interrupted, below which nothing is in use.

use core::arch::global_asm;

use super::{Saved, ipi, nmi, read_register, smp, write_register};

/// Exception class of a BRK, in ESR_EL1.
const BRK: u64 = 0x3c;

/// Saves all registers as [`Saved`], and calls.
macro_rules! entry {
    ($handler:literal) => {
        concat!(
            ".balign 128\n",
            "sub sp, sp, #272\n",
            "stp x0, x1, [sp]\n",
            "stp x2, x3, [sp, #16]\n",
            "adr x0, ",
            $handler,
            "\n",
            "b entered\n"
        )
    };
}

global_asm!(
    ".pushsection .text.vectors, \"ax\", @progbits",
    ".balign 2048",
    ".global vectors",
    // From EL1 with SP_EL0: nobody.
    "vectors:",
    entry!("call_unexpected"),
    entry!("call_unexpected"),
    entry!("call_unexpected"),
    entry!("call_unexpected"),
    // From EL1: synchronous, IRQ, FIQ, SError.
    entry!("call_synchronous"),
    entry!("call_interrupt"),
    entry!("call_unexpected"),
    entry!("call_unexpected"),
    // From EL0: nobody.
    entry!("call_unexpected"),
    entry!("call_unexpected"),
    entry!("call_unexpected"),
    entry!("call_unexpected"),
    entry!("call_unexpected"),
    entry!("call_unexpected"),
    entry!("call_unexpected"),
    entry!("call_unexpected"),
    "call_unexpected: b {unexpected}",
    "call_synchronous: b {synchronous}",
    "call_interrupt: b {interrupt}",
    "entered: stp x4, x5, [sp, #32]",
    "stp x6, x7, [sp, #48]",
    "stp x8, x9, [sp, #64]",
    "stp x10, x11, [sp, #80]",
    "stp x12, x13, [sp, #96]",
    "stp x14, x15, [sp, #112]",
    "stp x16, x17, [sp, #128]",
    "stp x18, x19, [sp, #144]",
    "stp x20, x21, [sp, #160]",
    "stp x22, x23, [sp, #176]",
    "stp x24, x25, [sp, #192]",
    "stp x26, x27, [sp, #208]",
    "stp x28, x29, [sp, #224]",
    "add x1, sp, #272",
    "stp x30, x1, [sp, #240]",
    "mrs x1, elr_el1",
    "mrs x2, spsr_el1",
    "stp x1, x2, [sp, #256]",
    "mov x1, x0",
    "mov x0, sp",
    "blr x1",
    // Everything is masked, as on entry.
    "ldp x1, x2, [sp, #256]",
    "msr elr_el1, x1",
    "msr spsr_el1, x2",
    "ldr x30, [sp, #240]",
    "ldp x28, x29, [sp, #224]",
    "ldp x26, x27, [sp, #208]",
    "ldp x24, x25, [sp, #192]",
    "ldp x22, x23, [sp, #176]",
    "ldp x20, x21, [sp, #160]",
    "ldp x18, x19, [sp, #144]",
    "ldp x16, x17, [sp, #128]",
    "ldp x14, x15, [sp, #112]",
    "ldp x12, x13, [sp, #96]",
    "ldp x10, x11, [sp, #80]",
    "ldp x8, x9, [sp, #64]",
    "ldp x6, x7, [sp, #48]",
    "ldp x4, x5, [sp, #32]",
    "ldp x2, x3, [sp, #16]",
    "ldp x0, x1, [sp]",
    "add sp, sp, #272",
    "eret",
    ".popsection",
    unexpected = sym on_unexpected,
    synchronous = sym on_synchronous,
    interrupt = sym ipi::on_interrupt,
);

/// Makes this CPU use the vectors.
pub fn install() {
    unsafe extern "C" {
        static vectors: u8;
    }
    // SAFETY: they are for good.
    unsafe { write_register!("vbar_el1", (&raw const vectors).addr() as u64) };
}

extern "C" fn on_synchronous(saved: &mut Saved) {
    // Before NMIs are let in, which may trap, too.
    let syndrome = read_register!("esr_el1");
    if syndrome >> 26 & 0x3f != BRK {
        on_unexpected(saved);
    }
    let mut ours = false;
    let state = saved.pstate;
    nmi::let_in_as(state, || ours = crate::engine::on_trap(smp::this(), saved));
    if !ours {
        panic!("a breakpoint of nobody on CPU {}: {saved:#x?}", smp::this());
    }
}

extern "C" fn on_unexpected(saved: &mut Saved) -> ! {
    let (syndrome, address) = (read_register!("esr_el1"), read_register!("far_el1"));
    panic!("CPU {}: exception, ESR {syndrome:#x}, FAR {address:#x}, {saved:#x?}", smp::this());
}
