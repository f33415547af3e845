//! The tracer's two pieces of assembly: what a function calls at its entry, and where it returns to.
//!
//! A function begins with two NOPs of four bytes. The first becomes an AUIPC into T0, once; the second toggles between NOP
//! and a JALR, which reaches 2 KiB around what T0 then holds. So AUIPC leads near [`entry`] as the function sees it.

use core::arch::naked_asm;

use textpoke_core::Site;
use textpoke_core::isa::riscv64::{NOP, T0, far};

fn read(addr: u64) -> [u8; 4] {
    // SAFETY: an address of our own table, or the one behind it; both halves are there.
    unsafe { (addr as *const [u8; 4]).read_volatile() }
}

/// AUIPC and JALR at a function's entry.
fn pair(addr: u64) -> Option<[[u8; 4]; 2]> {
    far(T0, T0, addr, entry as *const () as u64).ok()
}

/// The site that prepares a function's entry. `None` if there is nothing to prepare.
pub fn plant(addr: u64) -> Option<Site> {
    if [read(addr), read(addr + 4)] != [NOP, NOP] {
        return None;
    }
    let planted = [pair(addr)?[0], NOP];
    let mut site = Site::single(addr, [NOP, NOP].as_flattened(), planted.as_flattened())?;
    (site.inner, site.new_inner) = (0b1_0000, 0b1_0000);
    Some(site)
}

/// The site at a function's entry, whose NOP becomes a call of [`entry`]. `None` if it is not prepared.
pub fn site(addr: u64) -> Option<Site> {
    let [auipc, jalr] = pair(addr)?;
    if [read(addr), read(addr + 4)] != [auipc, NOP] {
        return None;
    }
    Site::single(addr + 4, &NOP, &jalr)
}

/// The distance from a function's entry to where its JALR returns to.
const BEHIND: u64 = 8;

extern "C" fn on_entry(behind: u64, returns: *mut u64) {
    // SAFETY: the place of the caller's return address, which `entry` reads again.
    unsafe { crate::trace::on_entry(behind - BEHIND, returns, back as *const () as u64) };
}

extern "C" fn on_return() -> u64 {
    crate::trace::on_return()
}

/// Called at entry, with its own return address in T0: A0 to A7 may hold arguments, RA the caller's return address.
// SAFETY: it restores what it saved.
#[unsafe(naked)]
unsafe extern "C" fn entry() {
    naked_asm!(
        "addi sp, sp, -80",
        "sd a0, 0(sp)",
        "sd a1, 8(sp)",
        "sd a2, 16(sp)",
        "sd a3, 24(sp)",
        "sd a4, 32(sp)",
        "sd a5, 40(sp)",
        "sd a6, 48(sp)",
        "sd a7, 56(sp)",
        "sd ra, 64(sp)",
        "sd t0, 72(sp)",
        "mv a0, t0",
        "addi a1, sp, 64",
        "call {handler}",
        "ld a0, 0(sp)",
        "ld a1, 8(sp)",
        "ld a2, 16(sp)",
        "ld a3, 24(sp)",
        "ld a4, 32(sp)",
        "ld a5, 40(sp)",
        "ld a6, 48(sp)",
        "ld a7, 56(sp)",
        "ld ra, 64(sp)",
        "ld t0, 72(sp)",
        "addi sp, sp, 80",
        "jr t0",
        handler = sym on_entry,
    )
}

/// Where a traced function returns to: A0 and A1 may hold what it returns.
// SAFETY: as above.
#[unsafe(naked)]
unsafe extern "C" fn back() {
    naked_asm!(
        "addi sp, sp, -16",
        "sd a0, 0(sp)",
        "sd a1, 8(sp)",
        "call {handler}",
        "mv ra, a0",
        "ld a0, 0(sp)",
        "ld a1, 8(sp)",
        "addi sp, sp, 16",
        "ret",
        handler = sym on_return,
    )
}
