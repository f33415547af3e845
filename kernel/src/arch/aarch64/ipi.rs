//! The GICv3: interrupts from CPU to CPU, which it calls SGIs.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{Saved, nmi, write_register};

/// The distributor and the first CPU's redistributor.
const DISTRIBUTOR: u64 = 0x0800_0000;
const REDISTRIBUTORS: u64 = 0x080a_0000;
const REDISTRIBUTOR_BYTES: u64 = 0x2_0000;
/// Where a redistributor's second page begins, which has the SGIs.
const SGI: u64 = 0x1_0000;

/// Registers, by their distance.
const GICD_CTLR: u64 = 0;
const GICD_TYPER: u64 = 4;
const GICR_WAKER: u64 = 0x14;
const GICR_IGROUPR0: u64 = SGI + 0x80;
const GICR_ISENABLER0: u64 = SGI + 0x100;
const GICR_IPRIORITYR0: u64 = SGI + 0x400;
const GICR_INMIR0: u64 = SGI + 0xf80;

/// Our interrupt, and the one that serves as an NMI.
const ORDINARY: u32 = 0;
const NMI: u32 = 1;
/// From this number on nothing has come in.
const SPECIAL: u32 = 1020;

static SENT: AtomicU64 = AtomicU64::new(0);

fn read(register: u64) -> u32 {
    // SAFETY: mapped by `boot`, for good; reading those that are used here changes nothing.
    unsafe { (register as *const u32).read_volatile() }
}

fn write(register: u64, value: u32) {
    // SAFETY: as above; what the values do is said where they are.
    unsafe { (register as *mut u32).write_volatile(value) }
}

/// Whether the interrupt controller knows NMIs.
pub(super) fn has_nmis() -> bool {
    read(DISTRIBUTOR + GICD_TYPER) & 1 << 9 != 0
}

/// Switches on what this CPU needs to be interrupted. Its ordinary interrupts stay off.
pub fn enable(cpu: usize) {
    if cpu == 0 {
        nmi::choose();
        // Affinity routing, and the interrupts of group 1.
        write(DISTRIBUTOR + GICD_CTLR, 0x12);
    }
    let mine = REDISTRIBUTORS + cpu as u64 * REDISTRIBUTOR_BYTES;
    write(mine + GICR_WAKER, read(mine + GICR_WAKER) & !2);
    while read(mine + GICR_WAKER) & 4 != 0 {
        core::hint::spin_loop();
    }
    write(mine + GICR_IGROUPR0, !0);
    write(mine + GICR_IPRIORITYR0, u32::from(nmi::ORDINARY_PRIORITY) | u32::from(nmi::NMI_PRIORITY) << 8);
    if nmi::by_architecture() {
        write(mine + GICR_INMIR0, 1 << NMI);
    }
    write(mine + GICR_ISENABLER0, 1 << ORDINARY | 1 << NMI);
    // SAFETY: the interrupt controller by system registers, all priorities distinguished, group 1 on. The vectors are there.
    unsafe {
        write_register!("icc_sre_el1", 1_u64);
        write_register!("icc_bpr1_el1", 0_u64);
        write_register!("icc_ctlr_el1", 0_u64);
    }
    nmi::enable();
    // SAFETY: as above.
    unsafe { write_register!("icc_igrpen1_el1", 1_u64) };
}

fn interrupt(cpu: usize, number: u32) {
    let command = 1_u64 << cpu | u64::from(number) << 24;
    // SAFETY: interrupts that have handlers. The barrier: whoever is interrupted sees what was stored before.
    unsafe { asm!("dsb ish", "msr icc_sgi1r_el1, {}", "isb", in(reg) command, options(nostack, preserves_flags)) };
}

/// Interrupts a CPU.
pub fn send(cpu: usize) {
    SENT.fetch_add(1, Ordering::Relaxed);
    interrupt(cpu, ORDINARY);
}

/// Sends an NMI to a CPU, also to this one.
pub(super) fn send_nmi(cpu: usize) {
    interrupt(cpu, NMI);
}

/// How many interrupts were sent by [`send`].
pub fn sent() -> u64 {
    SENT.load(Ordering::Relaxed)
}

fn done(number: u32) {
    // SAFETY: the interrupt that was taken last.
    unsafe { write_register!("icc_eoir1_el1", u64::from(number)) };
}

/// The vector of both, with everything masked.
pub(super) extern "C" fn on_interrupt(saved: &mut Saved) {
    let number = nmi::acknowledge();
    match number {
        NMI => {
            nmi::on_nmi();
            done(number);
        }
        ORDINARY => {
            done(number);
            nmi::let_in(|| crate::engine::on_interrupt(super::smp::this(), saved.pc));
        }
        // It went away, or an NMI came in meanwhile, which will be taken at once.
        SPECIAL.. => {}
        other => panic!("interrupt {other} of nobody"),
    }
}
