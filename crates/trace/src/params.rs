//! The one page of the agent image that the tracer fills in: where everything is.
//!
//! The target sees it read-only; the tracer writes it through its own mapping of the same memory, also later, which is
//! how probes are switched off before anything they use is unmapped.

use core::sync::atomic::{AtomicU32, AtomicU64};

/// Addresses and sizes, all as the target sees them. Fields of the fast path first, in one cache line.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct Params {
    /// Address of the first [`ThreadHeader`](crate::local::ThreadHeader).
    pub headers: AtomicU64,
    /// Bytes of all thread headers, of the hash table a power of two. 0 sends every probe to the slow path.
    pub headers_len: AtomicU64,
    /// [`HASH`](crate::local::HASH).
    pub hash: AtomicU64,
    /// Address of [`LocalHeader`](crate::local::LocalHeader).
    pub local: AtomicU64,
    /// Address of [`Control`](crate::Control), the start of DATA.
    pub control: AtomicU64,
    /// Address of the first [`RingHeader`](crate::RingHeader).
    pub rings: AtomicU64,
    /// Number of rings.
    pub ring_count: AtomicU64,
    /// 0: a probe on the slow path returns at once and touches neither LOCAL nor DATA.
    pub enabled: AtomicU32,
    /// Zero.
    pub reserved: AtomicU32,
    /// [`GS_WINDOW_START`](crate::local::GS_WINDOW_START).
    pub window_start: AtomicU64,
    /// [`GS_WINDOW_END`](crate::local::GS_WINDOW_END) minus its start.
    pub window_len: AtomicU64,
    /// Address of the journal: header, then sites.
    pub journal: AtomicU64,
    /// Number of sites that fit behind the journal's header.
    pub site_capacity: AtomicU64,
    /// Address of [`TableHeader`](crate::table::TableHeader), the start of TABLE.
    pub table: AtomicU64,
    /// Address of the private copy of the sites, in TABLE.
    pub site_copy: AtomicU64,
    /// Executable areas, start and bytes each; unused ones are empty.
    pub areas: [[AtomicU64; 2]; MAX_AREAS],
}

/// The most executable areas that are known to the trap handler.
pub const MAX_AREAS: usize = 8;

impl Params {
    /// Whether `addr` lies in an executable area.
    pub fn is_ours(&self, addr: u64) -> bool {
        use core::sync::atomic::Ordering::Relaxed;
        self.areas.iter().any(|[start, len]| addr.wrapping_sub(start.load(Relaxed)) < len.load(Relaxed))
    }
}
