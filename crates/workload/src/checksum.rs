//! The running checksum over result rows, and the deterministic numbers that drive a transaction.

use rusqlite::types::ValueRef;

/// FNV-1a with 64 bits: not cryptographic, but one wrong bit in any row changes it.
/// (Constants: <https://datatracker.ietf.org/doc/draft-eastlake-fnv/>, section 5.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checksum(u64);

impl Checksum {
    pub fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    /// Feeds one column. The type is part of it, so that NULL, 0 and "" differ.
    pub fn column(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Null => self.bytes(b"n"),
            ValueRef::Integer(number) => {
                self.bytes(b"i");
                self.number(number.cast_unsigned());
            }
            ValueRef::Real(number) => {
                self.bytes(b"r");
                self.number(number.to_bits());
            }
            ValueRef::Text(text) => {
                self.bytes(b"t");
                self.number(text.len() as u64);
                self.bytes(text);
            }
            ValueRef::Blob(blob) => {
                self.bytes(b"b");
                self.number(blob.len() as u64);
                self.bytes(blob);
            }
        }
    }

    /// Feeds every row of a statement's result.
    pub fn rows(&mut self, rows: &mut rusqlite::Rows<'_>) -> rusqlite::Result<()> {
        while let Some(row) = rows.next()? {
            self.bytes(b"|");
            for index in 0..row.as_ref().column_count() {
                self.column(row.get_ref(index)?);
            }
        }
        Ok(())
    }

    pub fn value(self) -> u64 {
        self.0
    }

    pub fn hex(self) -> String {
        format!("{:016x}", self.0)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): a stream of numbers from one seed.
#[derive(Debug, Clone)]
pub(crate) struct SplitMix(u64);

impl SplitMix {
    /// The stream of transaction `number` of worker `worker`: independent of every other.
    pub fn of_transaction(worker: u64, number: u64) -> Self {
        let mut outer = Self(worker.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x7465_7874_706f_6b65);
        Self(outer.next().wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound` as SQLite takes it. `bound` must be 1 or more; the slight bias of the remainder does no harm here.
    pub fn below(&mut self, bound: u32) -> i64 {
        i64::try_from(self.next() % u64::from(bound)).expect("less than 2^32")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_matches_its_published_vector() {
        let mut sum = Checksum::new();
        sum.bytes(b"foobar");
        assert_eq!(sum.value(), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn splitmix_matches_its_published_vector() {
        let mut stream = SplitMix::new(1_234_567);
        assert_eq!(stream.next(), 6_457_827_717_110_365_317);
        assert_eq!(stream.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn types_differ() {
        let sum = |value| {
            let mut sum = Checksum::new();
            sum.column(value);
            sum.value()
        };
        let all = [
            sum(ValueRef::Null),
            sum(ValueRef::Integer(0)),
            sum(ValueRef::Real(0.0)),
            sum(ValueRef::Text(b"")),
            sum(ValueRef::Blob(b"")),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }
}
