//! The alias through which text is written: pages that are there during a batch only.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use super::read_register;

const PAGE: u64 = 4096;
/// The first address that has an alias.
const START: u64 = 0x4000_0000;
/// Where the alias of that is.
const ALIAS: u64 = 0x40_0000_0000;
/// Present, accessed, inner shareable, writable, no execution.
const FLAGS: u64 = 3 | 3 << 8 | 1 << 10 | 3 << 53;
/// Four tables.
const PAGES: usize = 4 * 512;

/// The page tables of the alias.
#[repr(align(4096))]
pub struct Tables([AtomicU64; PAGES]);

/// Written here, read by the CPUs.
pub static ALIAS_TABLES: Tables = Tables([const { AtomicU64::new(0) }; PAGES]);

fn pages(start: u64, end: u64) -> impl Iterator<Item = usize> {
    assert!(start >= START && end <= START + PAGES as u64 * PAGE, "{start:#x} to {end:#x} has no alias");
    ((start - START) / PAGE) as usize..=((end - 1 - START) / PAGE) as usize
}

/// Opens the alias of what lies between two addresses.
pub fn open(start: u64, end: u64) {
    for page in pages(start, end) {
        // CPUs do not remember what is not there (Arm ARM, "General TLB maintenance requirements").
        ALIAS_TABLES.0[page].store((START + page as u64 * PAGE) | FLAGS, Ordering::Relaxed);
    }
    // SAFETY: barriers: the table walks of all CPUs see it, and this CPU's next instruction.
    unsafe { asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
}

/// Takes it away again, for all CPUs.
pub fn close(start: u64, end: u64) {
    for page in pages(start, end) {
        if ALIAS_TABLES.0[page].swap(0, Ordering::Relaxed) != 0 {
            let operand = (ALIAS >> 12) + page as u64;
            // SAFETY: forgetting a translation harms nobody. The first barrier lets the table walks see the store first.
            unsafe { asm!("dsb ishst", "tlbi vaae1is, {}", in(reg) operand, options(nostack, preserves_flags)) };
        }
    }
    // SAFETY: barriers: all CPUs have forgotten.
    unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
}

/// Where to write what is executed at `addr`.
pub fn alias(addr: u64) -> *mut u8 {
    (ALIAS + (addr - START)) as *mut u8
}

/// What a CPU does when it is asked to synchronise. ISB would do, since `close` has taken translations away from all CPUs; it
/// forgets its own as the other instruction sets do.
pub fn forget() {
    // SAFETY: forgetting translations harms nobody.
    unsafe { asm!("tlbi vmalle1", "dsb nsh", options(nostack, preserves_flags)) };
    textpoke_cpu::serialize();
}

/// Panics if any address can be both written and executed, or if the CPU would not mind. Returns how many pages can be
/// written now by the alias.
pub fn check() -> usize {
    const VALID: u64 = 1;
    const TABLE: u64 = 2;
    const READ_ONLY: u64 = 1 << 7;
    const NO_EXECUTION: u64 = 1 << 53;
    const WRITABLE_NEVER_EXECUTED: u64 = 1 << 19;
    fn walk(table: u64, level: u32) {
        for i in 0..512 {
            // SAFETY: page tables are at their physical address, which is mapped.
            let entry = unsafe { ((table + i * 8) as *const u64).read_volatile() };
            match entry & (VALID | TABLE) {
                entry_kind if entry_kind & VALID == 0 => {}
                3 if level < 3 => walk(entry & 0x0000_ffff_ffff_f000, level + 1),
                _ => assert!(entry & (READ_ONLY | NO_EXECUTION) != 0, "a page can be written and executed: {entry:#x}"),
            }
        }
    }
    assert!(read_register!("sctlr_el1") & WRITABLE_NEVER_EXECUTED != 0, "SCTLR_EL1.WXN is off");
    walk(read_register!("ttbr0_el1") & 0x0000_ffff_ffff_f000, 1);
    ALIAS_TABLES.0.iter().filter(|entry| entry.load(Ordering::Relaxed) != 0).count()
}
