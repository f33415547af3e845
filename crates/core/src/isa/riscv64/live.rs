//! What may change while other harts execute it: Unprivileged ISA, "Ziccif", for memory that is cacheable and coherent.
//!
//! A hart fetches each naturally aligned piece of M bytes at once; M is at least 4 where instructions of four bytes
//! exist. The manual's rules for modification without FENCE.I, in our words: one naturally aligned store; whole
//! instructions that do not lie in two pieces; small ones never become a large one; and one more, the last row.
//!
//! | old | new | where |
//! |---|---|---|
//! | 4 bytes | 4 bytes | at a multiple of 4 |
//! | 2 bytes | 2 bytes | anywhere |
//! | 4 bytes | C.J, C.JR or C.EBREAK and two bytes of padding | at a multiple of 4 |
//! | 4 bytes | the same on the first two bytes, the others unchanged | anywhere |
//!
//! The last two have no way back here: from C.EBREAK to an instruction of four bytes two small ones would become a large
//! one.

use super::decode::{decode, length, stays};
use super::trap_length;

/// Whether a row of the table covers it. `new` may be given with or without what follows a jump of two bytes.
pub(super) fn live(addr: u64, old: &[u8], new: &[u8]) -> bool {
    let (Some(before), Some(after)) = (first(old), first(new)) else { return false };
    if !addr.is_multiple_of(2) || before != old.len() {
        return false;
    }
    let one_piece = addr.is_multiple_of(4);
    match (before, after) {
        (4, 4) => new.len() == 4 && one_piece,
        (2, 2) => new.len() == 2,
        (4, 2) => {
            let (head, tail) = new.split_at(2);
            let unchanged = tail.is_empty() || tail == &old[2..];
            never_comes_back(head) && (unchanged || (one_piece && first(tail) == Some(2) && tail.len() == 2))
        }
        _ => false,
    }
}

/// The length of the first instruction, if all of it is there.
fn first(bytes: &[u8]) -> Option<usize> {
    let (parcel, _) = bytes.split_first_chunk::<2>()?;
    length(u16::from_le_bytes(*parcel)).filter(|&len| len <= bytes.len())
}

fn never_comes_back(insn: &[u8]) -> bool {
    trap_length(insn) != 0 || decode(0, insn).is_some_and(stays)
}
