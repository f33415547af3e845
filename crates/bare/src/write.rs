//! Stores to text through its alias.

use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use textpoke_core::Direction;
use textpoke_core::isa::Isa;
use textpoke_core::{Phase, Site, Unit};

use crate::hooks::Hooks;

/// Performs one phase of one site.
///
/// # Safety
/// The alias is open, and whoever executes the site meanwhile must not be harmed, which is the protocol's business.
pub(crate) unsafe fn phase<H: Hooks>(hooks: &H, site: &Site, phase: Phase, unit: Unit, dir: Direction) {
    let piece = unit.piece::<H::Isa>(phase);
    for write in site.writes::<H::Isa>(phase, dir) {
        let at = site.addr + u64::from(write.offset);
        // SAFETY: the caller's duties; the alias has the alignment of the original, a page being a page.
        unsafe { store(hooks.writable(at), write.bytes(), piece) };
    }
}

/// Stores bytes, so that nobody sees halves of a naturally aligned piece of `piece` bytes (1, 2, 4 or 8).
///
/// # Safety
/// As for [`phase`].
unsafe fn store(mut to: *mut u8, mut bytes: &[u8], piece: u64) {
    while !bytes.is_empty() {
        // Release throughout: an NMI that sees a byte here sees what was recorded before it, and a CPU that traps on it sees
        // the table (its Acquire is in `trap.rs` and `table.rs`).
        let width = piece.min(8) as usize;
        let room = width - to.addr() % width;
        let len = bytes.len().min(room);
        let (now, rest) = bytes.split_at(len);
        // SAFETY: writable as the caller promises, aligned as `room` says; text is nobody's Rust object.
        unsafe {
            match *now {
                [a] => AtomicU8::from_ptr(to).store(a, Ordering::Release),
                [a, b] if to.addr().is_multiple_of(2) => {
                    AtomicU16::from_ptr(to.cast()).store(u16::from_ne_bytes([a, b]), Ordering::Release);
                }
                [a, b, c, d] if to.addr().is_multiple_of(4) => {
                    AtomicU32::from_ptr(to.cast()).store(u32::from_ne_bytes([a, b, c, d]), Ordering::Release);
                }
                [a, b, c, d, e, f, g, h] => {
                    let all = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
                    AtomicU64::from_ptr(to.cast()).store(all, Ordering::Release);
                }
                _ => merge(to, now),
            }
        }
        to = to.wrapping_add(len);
        bytes = rest;
    }
}

/// Replaces some bytes of one aligned word of eight in one store, without losing what somebody changes beside them.
///
/// # Safety
/// As for [`phase`], for the whole word: a page is writable as a whole.
unsafe fn merge(to: *mut u8, bytes: &[u8]) {
    let offset = to.addr() % 8;
    // SAFETY: an aligned word on the page of the site.
    let word = unsafe { AtomicU64::from_ptr(to.wrapping_sub(offset).cast()) };
    let with = |word: u64| {
        let mut held = word.to_ne_bytes();
        held[offset..offset + bytes.len()].copy_from_slice(bytes);
        u64::from_ne_bytes(held)
    };
    let mut seen = word.load(Ordering::Relaxed);
    while let Err(now) = word.compare_exchange(seen, with(seen), Ordering::Release, Ordering::Relaxed) {
        seen = now;
    }
}

/// Whether a breakpoint stands at `at`, be it ours or somebody else's.
///
/// # Safety
/// The address is one at which a CPU has just executed an instruction, and text is readable.
pub(crate) unsafe fn trap_stands<I: Isa>(at: u64) -> bool {
    // Acquire, here and below: the table is read behind this. Pairs with the Release of the stores to text.
    let half = |at: u64| {
        // SAFETY: mapped, and aligned by the instruction set.
        unsafe { AtomicU16::from_ptr(at as *mut u16) }.load(Ordering::Acquire).to_ne_bytes()
    };
    match (I::TRAP.len(), at % 4) {
        // SAFETY: mapped.
        (1, _) => I::is_trap(&[unsafe { AtomicU8::from_ptr(at as *mut u8) }.load(Ordering::Acquire)]),
        (_, 0) => {
            // SAFETY: mapped, and four aligned bytes are on one page.
            let word = unsafe { AtomicU32::from_ptr(at as *mut u32) }.load(Ordering::Acquire);
            I::is_trap(&word.to_ne_bytes())
        }
        _ => {
            let low = half(at);
            // One that changes between the two looks is no trap any more, or was none at the first.
            I::is_trap(&low) || {
                let high = half(at + 2);
                I::is_trap(&[low[0], low[1], high[0], high[1]])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(16))]
    struct Text([u8; 32]);

    #[test]
    fn every_width_at_every_offset_changes_just_its_bytes() {
        for piece in [1, 2, 4, 8] {
            for offset in 0..16 {
                for len in 1..=8 {
                    let mut text = Text([0xaa; 32]);
                    let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
                    // SAFETY: inside the array.
                    unsafe { store((&raw mut text.0).cast::<u8>().add(offset), &bytes[..len], piece) };
                    let mut wanted = [0xaa; 32];
                    wanted[offset..offset + len].copy_from_slice(&bytes[..len]);
                    assert_eq!(text.0, wanted, "{piece} {offset} {len}");
                }
            }
        }
    }

    #[test]
    fn traps_are_seen_where_they_stand() {
        use textpoke_core::isa::{Aarch64, Riscv64, X86_64};
        let mut text = Text([0x13; 32]);
        let at = |text: &Text, i: usize| (&raw const text.0[i]) as u64;
        text.0[3] = 0xcc;
        text.0[8..12].copy_from_slice(Aarch64::TRAP);
        text.0[18..22].copy_from_slice(Riscv64::TRAP);
        // SAFETY: inside the array.
        unsafe {
            assert!(trap_stands::<X86_64>(at(&text, 3)) && !trap_stands::<X86_64>(at(&text, 4)));
            assert!(trap_stands::<Aarch64>(at(&text, 8)) && !trap_stands::<Aarch64>(at(&text, 12)));
            assert!(trap_stands::<Riscv64>(at(&text, 18)) && !trap_stands::<Riscv64>(at(&text, 16)));
        }
    }
}
