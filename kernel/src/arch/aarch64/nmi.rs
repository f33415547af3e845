//! NMIs, in one of two ways.
//!
//! Where CPU and interrupt controller have FEAT_NMI, PSTATE.I masks ordinary interrupts only, and PSTATE.ALLINT masks all.
//! Elsewhere an NMI is an interrupt of high priority, as in Linux (`irqchip.gicv3_pseudo_nmi`): "off" means that the
//! priority mask lets nothing else through, and PSTATE.I, which masks both, is set on entry only, until the registers are
//! saved.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{ipi, read_register, smp, write_register};
use crate::CPUS;

/// Lower numbers come first. An NMI by architecture comes before all numbers.
pub(super) const ORDINARY_PRIORITY: u8 = 0xa0;
pub(super) const NMI_PRIORITY: u8 = 0x20;
/// Values of the priority mask: what is lower comes in.
const ALL: u64 = 0xf0;
const NMIS_ONLY: u64 = 0x80;

/// PSTATE.I, in DAIF.
const I: u64 = 1 << 7;
/// SCTLR_EL1.NMI. (SPINTMASK, bit 62, stays zero: each exception sets ALLINT.)
const SCTLR_NMI: u64 = 1 << 61;

static BY_ARCHITECTURE: AtomicBool = AtomicBool::new(false);
static CAME: [AtomicU64; CPUS] = [const { AtomicU64::new(0) }; CPUS];

/// Finds out which way it is. By the first CPU, before there are others.
pub(super) fn choose() {
    let cpu = read_register!("id_aa64pfr1_el1") >> 36 & 15 != 0;
    BY_ARCHITECTURE.store(cpu && ipi::has_nmis(), Ordering::Relaxed);
}

/// Whether it is FEAT_NMI.
pub fn by_architecture() -> bool {
    BY_ARCHITECTURE.load(Ordering::Relaxed)
}

/// What the NMIs of this kernel are.
pub fn kind() -> &'static str {
    if by_architecture() { "FEAT_NMI" } else { "interrupts of high priority" }
}

/// Writes PSTATE.ALLINT, which only CPUs with FEAT_NMI have: S3_0_C4_C3_0, bit 13.
fn set_allint(masked: bool) {
    // SAFETY: as `by_architecture` says; whoever unmasks has saved what an NMI overwrites.
    unsafe { write_register!("S3_0_C4_C3_0", u64::from(masked) << 13) };
}

/// Lets NMIs in on this CPU, with its ordinary interrupts off.
pub(super) fn enable() {
    if by_architecture() {
        let control = read_register!("sctlr_el1") | SCTLR_NMI;
        // SAFETY: the vectors are in place.
        unsafe {
            write_register!("sctlr_el1", control);
            write_register!("icc_pmr_el1", ALL);
        }
        set_allint(false);
    } else {
        // SAFETY: as above.
        unsafe {
            write_register!("icc_pmr_el1", NMIS_ONLY);
            asm!("msr daifclr, #2", options(nostack));
        }
    }
    // SAFETY: errors of memory are to be heard of.
    unsafe { asm!("msr daifclr, #4", options(nostack)) };
}

/// Switches ordinary interrupts off; whether they were on.
pub(super) fn ordinary_off() -> bool {
    let free = read_register!("daif") & I == 0;
    if by_architecture() {
        // SAFETY: what they are for can wait.
        unsafe { asm!("msr daifset, #2", options(nostack)) };
        return free;
    }
    let mask = read_register!("icc_pmr_el1");
    // SAFETY: as above.
    unsafe { write_register!("icc_pmr_el1", NMIS_ONLY) };
    free && mask == ALL
}

/// Switches ordinary interrupts on. Not in handlers.
pub(super) fn ordinary_on() {
    if by_architecture() {
        // SAFETY: the vectors are in place.
        unsafe { asm!("msr daifclr, #2", options(nostack)) };
    } else {
        // SAFETY: as above. The barrier: the interrupt controller knows before the next instruction.
        unsafe { asm!("msr icc_pmr_el1, {}", "dsb sy", in(reg) ALL, options(nostack)) };
    }
}

/// Runs a part of a handler, whose registers are saved, with NMIs let in and ordinary interrupts off; before and after,
/// everything is masked. In an interrupt that came in while ordinary interrupts were on.
pub(super) fn let_in(handle: impl FnOnce()) {
    if by_architecture() {
        set_allint(false);
        handle();
        set_allint(true);
    } else {
        // SAFETY: ordinary interrupts stay off.
        unsafe {
            write_register!("icc_pmr_el1", NMIS_ONLY);
            asm!("msr daifclr, #2", options(nostack));
        }
        handle();
        // SAFETY: what it was, as the interrupt came in.
        unsafe {
            asm!("msr daifset, #2", options(nostack));
            write_register!("icc_pmr_el1", ALL);
        }
    }
}

/// The same in a trap, for NMIs as far as the code that trapped let them in: `state` is its PSTATE.
pub(super) fn let_in_as(state: u64, handle: impl FnOnce()) {
    let masked = if by_architecture() { state & 1 << 13 != 0 } else { state & I != 0 };
    if masked {
        return handle();
    }
    if by_architecture() {
        // PSTATE.I is set.
        return let_in(handle);
    }
    let before = read_register!("icc_pmr_el1");
    let_in(handle);
    // SAFETY: what it was when the code trapped.
    unsafe { write_register!("icc_pmr_el1", before) };
}

/// Takes the interrupt that came in: its number.
pub(super) fn acknowledge() -> u32 {
    // An NMI by architecture has a register of its own, ICC_NMIAR1_EL1, and ISR_EL1.IS tells.
    let nmi = by_architecture() && read_register!("isr_el1") & 1 << 10 != 0;
    // SAFETY: taking an interrupt is what the handler is for.
    let number = if nmi { read_register!("S3_0_C12_C9_5") } else { read_register!("icc_iar1_el1") };
    number as u32 & 0xff_ffff
}

/// The handler, with everything masked: NMIs do not nest.
pub(super) fn on_nmi() {
    let cpu = smp::this();
    crate::engine::on_nmi(cpu);
    CAME[cpu].fetch_add(1, Ordering::SeqCst);
}

/// Sends an NMI to a CPU, also to this one.
pub fn send(cpu: usize) {
    ipi::send_nmi(cpu);
}

/// How many NMIs have ended on a CPU.
pub fn ended(cpu: usize) -> u64 {
    CAME[cpu].load(Ordering::SeqCst)
}
