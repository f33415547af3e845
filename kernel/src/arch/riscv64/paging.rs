//! The alias through which text is written: pages that are there during a batch only.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use super::sbi;

const PAGE: u64 = 4096;
/// The first address that has an alias.
const START: u64 = 0x8000_0000;
/// Where the alias of that is.
const ALIAS: u64 = 0x20_0000_0000;
/// Valid, readable, writable, accessed, written to.
const FLAGS: u64 = 1 | 2 | 4 | 0xc0;
/// Four tables.
const PAGES: usize = 4 * 512;

/// The page tables of the alias.
#[repr(align(4096))]
pub struct Tables([AtomicU64; PAGES]);

/// Written here, read by the harts.
#[unsafe(link_section = ".data.tables")]
pub static ALIAS_TABLES: Tables = Tables([const { AtomicU64::new(0) }; PAGES]);

fn pages(start: u64, end: u64) -> impl Iterator<Item = usize> {
    assert!(start >= START && end <= START + PAGES as u64 * PAGE, "{start:#x} to {end:#x} has no alias");
    ((start - START) / PAGE) as usize..=((end - 1 - START) / PAGE) as usize
}

/// Opens the alias of what lies between two addresses. A hart may remember that a page was not there (Privileged ISA,
/// "Supervisor Memory-Management Fence Instruction"), so that all have to forget that.
pub fn open(start: u64, end: u64) {
    let mut opened = false;
    for page in pages(start, end) {
        let entry = ((START / PAGE + page as u64) << 10) | FLAGS;
        opened |= ALIAS_TABLES.0[page].swap(entry, Ordering::SeqCst) == 0;
    }
    if opened {
        let (first, bytes) =
            (alias(start).addr() as u64 / PAGE * PAGE, end.div_ceil(PAGE) * PAGE - start / PAGE * PAGE);
        // SAFETY: forgetting translations harms nobody. All harts, this one included: the mask's base is −1.
        let done = unsafe { sbi::call(sbi::RFENCE, 1, [0, u64::MAX, first, bytes]) };
        assert!(done.is_ok(), "the firmware has no remote fence: {done:?}");
    }
}

/// Takes it away again, as far as this hart is concerned.
pub fn close(start: u64, end: u64) {
    for page in pages(start, end) {
        if ALIAS_TABLES.0[page].swap(0, Ordering::SeqCst) != 0 {
            // SAFETY: forgetting a translation harms nobody.
            unsafe { asm!("sfence.vma {}, zero", in(reg) ALIAS + page as u64 * PAGE, options(nostack)) };
        }
    }
}

/// Where to write what is executed at `addr`.
pub fn alias(addr: u64) -> *mut u8 {
    (ALIAS + (addr - START)) as *mut u8
}

/// What a hart does when it is asked to synchronise: it forgets all translations, and FENCE.I.
pub fn forget() {
    // SAFETY: forgetting translations harms nobody.
    unsafe { asm!("sfence.vma", options(nostack)) };
    textpoke_cpu::serialize();
}

/// Panics if any address can be both written and executed. Returns how many pages can be written now by the alias.
pub fn check() -> usize {
    const VALID: u64 = 1;
    const READABLE: u64 = 2;
    const WRITABLE: u64 = 4;
    const EXECUTABLE: u64 = 8;
    fn walk(table: u64) {
        for i in 0..512 {
            // SAFETY: page tables are at their physical address, which is mapped.
            let entry = unsafe { ((table + i * 8) as *const u64).read_volatile() };
            if entry & VALID == 0 {
                continue;
            }
            if entry & (READABLE | WRITABLE | EXECUTABLE) == 0 {
                walk(entry >> 10 << 12);
            }
            let both = WRITABLE | EXECUTABLE;
            assert!(entry & both != both, "a page can be written and executed: {entry:#x}");
        }
    }
    let satp: u64;
    // SAFETY: reads a register.
    unsafe { asm!("csrr {}, satp", out(reg) satp, options(nostack)) };
    assert_eq!(satp >> 60, 8, "no paging");
    walk((satp << 12) & ((1 << 56) - 1));
    ALIAS_TABLES.0.iter().filter(|entry| entry.load(Ordering::Relaxed) != 0).count()
}
