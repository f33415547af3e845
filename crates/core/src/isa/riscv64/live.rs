//! What may change while other harts execute it: Unprivileged ISA, "Ziccif", for memory that is cacheable and coherent.
//!
//! Fetches of naturally aligned powers of two up to four bytes are atomic. An instruction that lies in one such piece is
//! fetched as it was before or after one store; one that does not may be fetched in halves.

use super::{length, trap_length};

/// | old | new | where | why |
/// |---|---|---|---|
/// | 4 bytes | 4 bytes | 4-aligned | one piece |
/// | 2 bytes | 2 bytes | everywhere | one piece |
/// | 4 bytes | C.J, C.JR or C.EBREAK on the first two | everywhere | the last two are no longer reached, and do not change |
///
/// The last row has no way back here: two bytes growing into four may be fetched with a second half of another time.
pub(super) fn live(addr: u64, old: &[u8], new: &[u8]) -> bool {
    if !addr.is_multiple_of(2) {
        return false;
    }
    match (whole(old), whole(new)) {
        (Some(4), Some(4)) => addr.is_multiple_of(4),
        (Some(2), Some(2)) => true,
        (Some(4), Some(2)) => false,
        (Some(4), None) => shrinks(old, new),
        _ => false,
    }
}

/// The length, if the bytes are one instruction.
fn whole(bytes: &[u8]) -> Option<usize> {
    let (first, _) = bytes.split_first_chunk::<2>()?;
    length(u16::from_le_bytes(*first)).filter(|&len| len == bytes.len())
}

fn shrinks(old: &[u8], new: &[u8]) -> bool {
    let (Some((head, tail)), Some(2..)) = (new.split_at_checked(2), old.get(2..).map(<[u8]>::len)) else {
        return false;
    };
    tail == &old[2..] && (trap_length(head) == 2 || super::decode::decode(0, head).is_some_and(super::decode::stays))
}
