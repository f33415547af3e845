//! LOCAL: what belongs to one process alone. Private memory that a fork child finds zeroed (MADV_WIPEONFORK), because a
//! child shares the rings but must not write them.
//!
//! On x86-64 the GS base of a thread that has a ring points to its [`ThreadHeader`]. Elsewhere no such register is free: the
//! headers are a hash table, which a thread looks itself up in by its thread pointer.

use core::sync::atomic::{AtomicU32, AtomicU64};

/// LOCAL is always mapped inside this window: a GS base in it that is not of this session is a leftover of an earlier one
/// and may be replaced, any other is the program's own and is never touched.
pub const GS_WINDOW_START: u64 = 0x6e00_0000_0000;
/// First address behind the window.
pub const GS_WINDOW_END: u64 = 0x6f00_0000_0000;

/// The start of LOCAL; the thread headers follow.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct LocalHeader {
    /// 1 in the process that was attached to, from the sidecar's start on; 0 in its fork children.
    pub alive: AtomicU32,
    /// 1 while a thread changes the hash table.
    pub lock: AtomicU32,
}

/// One thread's way to its ring.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct ThreadHeader {
    /// Thread pointer of the owner (on x86-64 the FS base: new threads inherit the GS base of their creator, but never its
    /// FS base). 0 = nobody in the hash table has looked for more yet.
    pub owner: AtomicU64,
    /// Address of the [`RingHeader`](crate::RingHeader) in the target; 0 = nobody owns this, whatever the owner says.
    pub ring: AtomicU64,
    /// In the hash table: the address at which [`tid`](Self::tid) stands for as long as the owner lives.
    pub tid_at: AtomicU64,
    /// In the hash table: thread id of the owner.
    pub tid: AtomicU32,
}

/// What a thread pointer is multiplied with; bits 40 and up of the product, cut to the length of the table, are the offset
/// of the header to look at first. (The golden ratio times 2⁶⁴: neighbours end up far apart.)
pub const HASH: u64 = 0x9e37_79b9_7f4a_7c15;

/// Number of headers of the hash table: a power of two, at least twice the number of rings.
pub const fn hashed(rings: usize) -> usize {
    (2 * rings).next_power_of_two()
}

/// Offset of header `index` from the start of LOCAL.
pub const fn thread_header(index: usize) -> usize {
    size_of::<LocalHeader>() + index * size_of::<ThreadHeader>()
}

/// Bytes of LOCAL for this many rings, in whole pages.
pub const fn bytes(rings: usize) -> usize {
    thread_header(hashed(rings)).next_multiple_of(crate::layout::PAGE)
}
