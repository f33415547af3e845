//! The 16-byte record of one event.
//!
//! Word 0 is the time stamp counter (x86-64), the virtual counter (AArch64) or `time` (RISC-V), never 0 in a committed record. Word 1 is `(sp >> 3) << 24 | site`: the stack pointer
//! as the program sees it at the site, without the three bits that are zero by the ABI and without the topmost 21 bits,
//! and the index of the site.

/// Bytes of one record.
pub const RECORD_BYTES: usize = 16;
/// Bits of word 1 that hold the site.
pub const SITE_BITS: u32 = 24;
/// Bits of word 1 that hold the stack pointer divided by 8.
pub const SP_BITS: u32 = 64 - SITE_BITS;
/// The site of a marker: not an event but "records were lost here".
pub const SITE_LOST: u32 = (1 << SITE_BITS) - 1;
/// The largest number of sites that one trace can tell apart.
pub const MAX_SITES: u32 = SITE_LOST;

/// One event of one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Time stamp counter. Records of one thread can step back by the length of a signal handler that ran inside the
    /// probe; readers take the larger of a record's time and the one before.
    pub tsc: u64,
    /// The stack pointer divided by 8, its low [`SP_BITS`] bits; in a marker the number of lost records.
    pub sp8: u64,
    /// Index of the site, or [`SITE_LOST`].
    pub site: u32,
}

impl Record {
    /// An event at `site` (below [`MAX_SITES`]) with the stack pointer `sp`.
    pub const fn new(tsc: u64, sp: u64, site: u32) -> Self {
        Self { tsc, sp8: (sp >> 3) & SP_MASK, site: site & SITE_LOST }
    }

    /// A marker: `count` records were lost at this place (saturating at 2⁴⁰ − 1).
    pub const fn lost(tsc: u64, count: u64) -> Self {
        Self { tsc, sp8: if count > SP_MASK { SP_MASK } else { count }, site: SITE_LOST }
    }

    /// Whether this is a marker.
    pub const fn is_lost(&self) -> bool {
        self.site == SITE_LOST
    }

    /// The two words as they stand in a ring.
    pub const fn to_words(self) -> [u64; 2] {
        [self.tsc, self.sp8 << SITE_BITS | self.site as u64]
    }

    /// From the two words in a ring.
    pub const fn from_words([tsc, word]: [u64; 2]) -> Self {
        Self { tsc, sp8: word >> SITE_BITS, site: word as u32 & SITE_LOST }
    }

    /// As it stands in a file: little-endian.
    pub const fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let [word0, word1] = self.to_words();
        ((word1 as u128) << 64 | word0 as u128).to_le_bytes()
    }

    /// From the bytes in a file.
    pub const fn from_bytes(bytes: [u8; RECORD_BYTES]) -> Self {
        let both = u128::from_le_bytes(bytes);
        Self::from_words([both as u64, (both >> 64) as u64])
    }
}

const SP_MASK: u64 = (1 << SP_BITS) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_bytes_hold_the_same() {
        for sp in [0, 8, 0x7fff_ffff_fff8, u64::MAX] {
            for site in [0, 1, 0xab_cdef, MAX_SITES - 1] {
                let record = Record::new(0x0102_0304_0506_0708, sp, site);
                assert_eq!(record.sp8, (sp >> 3) % (1 << 40));
                assert_eq!(Record::from_words(record.to_words()), record);
                assert_eq!(Record::from_bytes(record.to_bytes()), record);
                assert!(!record.is_lost());
            }
        }
        let bytes = Record::new(1, 0x10, 2).to_bytes();
        assert_eq!(bytes, [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 2, 0, 0, 0, 0]);
    }

    #[test]
    fn a_marker_counts_and_saturates() {
        assert_eq!(Record::lost(7, 3), Record { tsc: 7, sp8: 3, site: SITE_LOST });
        assert_eq!(Record::lost(7, u64::MAX).sp8, (1 << 40) - 1);
        assert!(Record::lost(7, 3).is_lost());
    }
}
