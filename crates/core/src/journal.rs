//! What a killed patcher leaves behind: enough to put every byte back.

/// First field of a [`Header`]: "textpoke" read as a little-endian number.
pub const MAGIC: u64 = u64::from_le_bytes(*b"textpoke");
/// The layout that this version reads and writes.
pub const VERSION: u32 = 1;

/// Stands in front of the sites of a plan, in memory that outlives the patcher.
///
/// The state is stored after the sites and before the first byte of text changes; whoever repairs trusts nothing but
/// compares each site with its two forms and their mixtures.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
    /// A [`State`] as a number.
    pub state: u32,
    /// Number of sites that follow.
    pub sites: u64,
    /// Index of the first site that the batch in flight covers; those before it are installed.
    pub first: u64,
}

/// How far the text has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// Every site has its old bytes.
    Idle = 0,
    /// Some sites may hold traps or mixtures.
    Busy = 1,
    /// Every site has its new bytes.
    Installed = 2,
}

impl State {
    /// The state with this number.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            0 => Some(Self::Idle),
            1 => Some(Self::Busy),
            2 => Some(Self::Installed),
            _ => None,
        }
    }
}
