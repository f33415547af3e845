//! LOCAL: what belongs to one process alone. Private memory that a fork child finds zeroed (MADV_WIPEONFORK), because a
//! child shares the rings but must not write them.
//!
//! The GS base of a thread that has a ring points to its [`ThreadHeader`].

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
}

/// One thread's way to its ring, as found by its GS base.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct ThreadHeader {
    /// FS base of the owner. New threads inherit the GS base of their creator, but never its FS base.
    pub owner: AtomicU64,
    /// Address of the [`RingHeader`](crate::RingHeader) in the target; 0 = nobody owns this, whatever the owner says.
    pub ring: AtomicU64,
}

/// Offset of the header of ring `index` from the start of LOCAL.
pub const fn thread_header(index: usize) -> usize {
    size_of::<LocalHeader>() + index * size_of::<ThreadHeader>()
}

/// Bytes of LOCAL for this many rings, in whole pages.
pub const fn bytes(rings: usize) -> usize {
    thread_header(rings).next_multiple_of(crate::layout::PAGE)
}
