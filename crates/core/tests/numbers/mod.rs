//! Numbers to try.

/// The same numbers on every run, by Steele, Lea and Flood's SplitMix64.
pub struct Numbers(pub u64);

impl Numbers {
    /// The next one.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

/// Signed numbers of `bits` bits: both ends, each power of two with its neighbours, and one in 509.
pub fn distances(bits: u32) -> impl Iterator<Item = i64> {
    let half = 1_i64 << (bits - 1);
    let powers = (0..bits).flat_map(|bit| [1 << bit, -(1 << bit)]).flat_map(|power| [power - 1, power, power + 1]);
    powers.filter(move |d| (-half..half).contains(d)).chain((-half..half).step_by(509))
}
