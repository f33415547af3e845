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

#[cfg(test)]
mod tests {
    use super::super::{C_EBREAK, C_NOP, EBREAK, NOP, RA, ZERO, c_j, jal};
    use super::*;

    const C_JR: [u8; 2] = [0x82, 0x80];
    const C_JALR: [u8; 2] = [0x82, 0x90];

    /// The answer at a multiple of 4, and 2 bytes behind one.
    fn both(old: &[u8], new: &[u8]) -> (bool, bool) {
        assert!(!live(0x1001, old, new) && !live(0x1003, old, new), "odd");
        assert_eq!(live(0x1004, old, new), live(0x1000, old, new));
        (live(0x1000, old, new), live(0x1002, old, new))
    }

    #[test]
    fn each_row_of_the_table() {
        let jump = jal(ZERO, 0, 0x100).unwrap();
        let call = jal(RA, 0, 0x100).unwrap();
        let four: [&[u8]; 4] = [&NOP, &jump, &call, &EBREAK];
        let short = c_j(0, 0x100).unwrap();
        let two: [&[u8]; 5] = [&C_NOP, &short, &C_EBREAK, &C_JR, &C_JALR];
        for old in four {
            for new in four {
                assert_eq!(both(old, new), (true, false), "{old:x?} -> {new:x?}");
            }
        }
        for old in two {
            for new in two {
                assert_eq!(both(old, new), (true, true), "{old:x?} -> {new:x?}");
            }
        }
        for (i, head) in two.into_iter().enumerate() {
            for old in four {
                // Not the NOP, and not the call, which returns to what follows it.
                let shorter = (1..4).contains(&i);
                assert_eq!(both(old, head), (shorter, shorter), "{old:x?} -> {head:x?}");
                assert_eq!(both(old, &[head, &old[2..]].concat()), (shorter, shorter), "the rest stays");
                assert_eq!(both(old, &[head, &C_EBREAK].concat()), (shorter, false), "the rest is padding");
                assert_eq!(both(head, old), (false, false), "a small one grows: {head:x?} -> {old:x?}");
                assert_eq!(both(&[head, &old[2..]].concat(), old), (false, false), "and with the rest");
            }
        }
    }

    #[test]
    fn one_instruction_at_a_time() {
        let pair = [C_NOP, C_NOP].concat();
        for (old, new) in [(&pair, &NOP[..]), (&pair, &pair), (&[NOP, NOP].concat(), &NOP)] {
            assert_eq!(both(old, new), (false, false), "two before");
        }
        assert_eq!(both(&NOP, &[NOP, NOP].concat()), (false, false), "two after");
        assert_eq!(
            both(&NOP, &[&C_EBREAK[..], &EBREAK[..2]].concat()),
            (false, false),
            "half an instruction as padding"
        );
        assert_eq!(both(&[], &NOP), (false, false));
        assert_eq!(both(&NOP[..2], &NOP[..2]), (false, false), "half an instruction");
        // An instruction of six bytes.
        assert_eq!(both(&[0x1f, 0, 0, 0, 0, 0], &[0x1f, 0, 0, 0, 0, 1]), (false, false));
    }
}
