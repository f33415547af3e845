//! Data stores of the patcher, as they wait in its store buffer.

/// A data store of the patcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataStore {
    /// The trap table, by number.
    Table(u8),
    /// The address of a record.
    Address(u8),
    /// The bytes of a record.
    Bytes(u8),
    /// The flag for NMIs: the record that is announced, 0 for none.
    Flag(u8),
}

impl DataStore {
    pub(super) const fn pack(self) -> u64 {
        match self {
            Self::Flag(r) => 1 + r as u64,
            Self::Address(r) => 3 + r as u64,
            Self::Bytes(r) => 5 + r as u64,
            Self::Table(t) => 8 + t as u64,
        }
    }
    pub(super) const fn unpack(bits: u64) -> Option<Self> {
        Some(match (bits & 15) as u8 {
            0 => return None,
            r @ 1..=3 => Self::Flag(r - 1),
            r @ 4..=5 => Self::Address(r - 3),
            r @ 6..=7 => Self::Bytes(r - 5),
            t => Self::Table(t - 8),
        })
    }
}
