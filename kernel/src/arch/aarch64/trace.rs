//! The tracer's two pieces of assembly: what a function calls at its entry, and where it returns to.
//!
//! A function begins with two NOPs. The first becomes `MOV X9, X30`, once, because BL overwrites X30; the second toggles
//! between NOP and BL.

use core::arch::naked_asm;

use textpoke_core::Site;
use textpoke_core::isa::aarch64::{NOP, bl, word};

/// `MOV X9, X30`.
const PLANTED: [u8; 4] = word(0xaa1e_03e9);

fn read(addr: u64) -> [u8; 4] {
    // SAFETY: an address of our own table, or the one behind it.
    unsafe { (addr as *const [u8; 4]).read_volatile() }
}

/// The site that prepares a function's entry. `None` if there is nothing to prepare.
pub fn plant(addr: u64) -> Option<Site> {
    if [read(addr), read(addr + 4)] != [NOP, NOP] {
        return None;
    }
    let pair = |first: [u8; 4]| core::array::from_fn::<u8, 8, _>(|i| if i < 4 { first[i] } else { NOP[i - 4] });
    let mut site = Site::single(addr, &pair(NOP), &pair(PLANTED))?;
    (site.inner, site.new_inner) = (0b1_0000, 0b1_0000);
    Some(site)
}

/// The site at a function's entry, whose NOP becomes a call of [`entry`]. `None` if it is not prepared.
pub fn site(addr: u64) -> Option<Site> {
    if [read(addr), read(addr + 4)] != [PLANTED, NOP] {
        return None;
    }
    Site::single(addr + 4, &NOP, &bl(addr + 4, entry as *const () as u64).ok()?)
}

/// The distance from a function's entry to where its BL returns to.
const BEHIND: u64 = 8;

extern "C" fn on_entry(behind: u64, returns: *mut u64) {
    // SAFETY: the place of the caller's return address, which `entry` reads again.
    unsafe { crate::trace::on_entry(behind - BEHIND, returns, back as *const () as u64) };
}

extern "C" fn on_return() -> u64 {
    crate::trace::on_return()
}

/// Called at entry: X0 to X8 may hold arguments, X9 the caller's return address.
// SAFETY: it restores what it saved.
#[unsafe(naked)]
unsafe extern "C" fn entry() {
    naked_asm!(
        "sub sp, sp, #96",
        "stp x0, x1, [sp]",
        "stp x2, x3, [sp, #16]",
        "stp x4, x5, [sp, #32]",
        "stp x6, x7, [sp, #48]",
        "stp x8, x18, [sp, #64]",
        "stp x9, x30, [sp, #80]",
        "mov x0, x30",
        "add x1, sp, #80",
        "bl {handler}",
        "ldp x30, x10, [sp, #80]",
        "ldp x8, x18, [sp, #64]",
        "ldp x6, x7, [sp, #48]",
        "ldp x4, x5, [sp, #32]",
        "ldp x2, x3, [sp, #16]",
        "ldp x0, x1, [sp]",
        "add sp, sp, #96",
        "ret x10",
        handler = sym on_entry,
    )
}

/// Where a traced function returns to: X0 to X8 may hold what it returns.
// SAFETY: as above.
#[unsafe(naked)]
unsafe extern "C" fn back() {
    naked_asm!(
        "sub sp, sp, #80",
        "stp x0, x1, [sp]",
        "stp x2, x3, [sp, #16]",
        "stp x4, x5, [sp, #32]",
        "stp x6, x7, [sp, #48]",
        "str x8, [sp, #64]",
        "bl {handler}",
        "mov x30, x0",
        "ldr x8, [sp, #64]",
        "ldp x6, x7, [sp, #48]",
        "ldp x4, x5, [sp, #32]",
        "ldp x2, x3, [sp, #16]",
        "ldp x0, x1, [sp]",
        "add sp, sp, #80",
        "ret",
        handler = sym on_return,
    )
}
