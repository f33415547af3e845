//! The alias through which text is written: pages that are there during a batch only.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

const PAGE: u64 = 4096;
/// Where the alias of address 0 would be.
const ALIAS: u64 = 0xffff_8000_0000_0000;
/// Present, writable, no execution.
const FLAGS: u64 = 1 << 63 | 3;
/// How much has an alias: three tables.
const END: u64 = 3 * 512 * PAGE;

/// The page tables of the alias.
#[repr(align(4096))]
pub struct Tables([AtomicU64; 3 * 512]);

/// Written here, read by the CPUs.
pub static ALIAS_TABLES: Tables = Tables([const { AtomicU64::new(0) }; 3 * 512]);

fn pages(start: u64, end: u64) -> impl Iterator<Item = usize> {
    assert!(end <= END, "{end:#x} has no alias");
    (start / PAGE) as usize..=((end - 1) / PAGE) as usize
}

/// Opens the alias of what lies between two addresses.
pub fn open(start: u64, end: u64) {
    for page in pages(start, end) {
        // Nobody uses it before it is there, and CPUs do not remember what is not there (SDM vol. 3, 4.10.2.3). On this CPU
        // a locked instruction is enough of an order; others are told by what comes later.
        ALIAS_TABLES.0[page].swap((page as u64 * PAGE) | FLAGS, Ordering::SeqCst);
    }
}

/// Takes it away again, as far as this CPU is concerned.
pub fn close(start: u64, end: u64) {
    for page in pages(start, end) {
        if ALIAS_TABLES.0[page].swap(0, Ordering::SeqCst) != 0 {
            // SAFETY: forgetting a translation harms nobody.
            unsafe { asm!("invlpg [{}]", in(reg) ALIAS + page as u64 * PAGE, options(nostack, preserves_flags)) };
        }
    }
}

/// Where to write what is executed at `addr`.
pub fn alias(addr: u64) -> *mut u8 {
    (ALIAS + addr) as *mut u8
}

/// Makes this CPU forget all translations. MOV to CR3 is a serialising instruction, too (SDM vol. 3, 9.3).
pub fn forget() {
    // SAFETY: the same tables again.
    unsafe { asm!("mov {r}, cr3", "mov cr3, {r}", r = out(reg) _, options(nostack, preserves_flags)) };
}

/// Panics if any address can be both written and executed, or if text can be written where it is executed. Returns how many
/// pages can be written now by the alias.
pub fn check() -> usize {
    const PRESENT: u64 = 1;
    const WRITABLE: u64 = 2;
    const LARGE: u64 = 1 << 7;
    const NO_EXECUTION: u64 = 1 << 63;
    fn walk(table: u64, level: u32, writable: bool, executable: bool) {
        for i in 0..512 {
            // SAFETY: page tables are at their physical address, which is mapped.
            let entry = unsafe { ((table + i * 8) as *const u64).read_volatile() };
            if entry & PRESENT == 0 {
                continue;
            }
            let writable = writable && entry & WRITABLE != 0;
            let executable = executable && entry & NO_EXECUTION == 0;
            if level == 1 || entry & LARGE != 0 {
                assert!(!(writable && executable), "a page can be written and executed: {entry:#x}");
            } else {
                walk(entry & 0x000f_ffff_ffff_f000, level - 1, writable, executable);
            }
        }
    }
    let (top, mode): (u64, u64);
    // SAFETY: reads registers.
    unsafe { asm!("mov {}, cr3", "mov {}, cr0", out(reg) top, out(reg) mode, options(nostack, preserves_flags)) };
    assert!(mode & 1 << 16 != 0, "the kernel may write what it may not write");
    walk(top & !0xfff, 4, true, true);
    ALIAS_TABLES.0.iter().filter(|entry| entry.load(Ordering::Relaxed) != 0).count()
}
