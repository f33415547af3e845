//! Where things are in DATA, the memory that target, sidecar and tracer share.

use crate::control::Control;
use crate::ring::RingHeader;

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// Bytes of a site (`textpoke_core::Site`; this crate knows only its size).
pub const SITE_BYTES: usize = 56;
/// Bytes of a journal header (`textpoke_core::journal::Header`).
pub const JOURNAL_BYTES: usize = 32;
/// The most rings of one session.
pub const MAX_RINGS: usize = 1 << 14;
/// The least bytes of one ring: a page.
pub const MIN_RING_BYTES: usize = 4096;
/// The most bytes of one ring.
pub const MAX_RING_BYTES: usize = 1 << 30;

/// Offsets from the start of DATA, in bytes. Every part begins on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Number of sites that fit.
    pub site_capacity: usize,
    /// Number of rings.
    pub rings: usize,
    /// Bytes of each ring, a power of two.
    pub ring_bytes: usize,
    /// The journal's header.
    pub journal: usize,
    /// The sites, behind the journal's header.
    pub sites: usize,
    /// The first [`RingHeader`].
    pub headers: usize,
    /// The first slot of the first ring.
    pub slots: usize,
    /// Bytes of DATA.
    pub bytes: usize,
}

impl Layout {
    /// Computes the layout. `None` when a number is out of range: `rings` is 1 to [`MAX_RINGS`], `ring_bytes` a power of
    /// two from [`MIN_RING_BYTES`] to [`MAX_RING_BYTES`], `site_capacity` 1 to [`MAX_SITES`](crate::record::MAX_SITES).
    pub const fn new(site_capacity: usize, rings: usize, ring_bytes: usize) -> Option<Self> {
        if site_capacity == 0 || site_capacity > crate::record::MAX_SITES as usize || rings == 0 || rings > MAX_RINGS {
            return None;
        }
        if !ring_bytes.is_power_of_two() || ring_bytes < MIN_RING_BYTES || ring_bytes > MAX_RING_BYTES {
            return None;
        }
        let journal = size_of::<Control>().next_multiple_of(PAGE);
        let sites = journal + JOURNAL_BYTES;
        let headers = (sites + site_capacity * SITE_BYTES).next_multiple_of(PAGE);
        let slots = (headers + rings * size_of::<RingHeader>()).next_multiple_of(PAGE);
        let bytes = slots + rings * ring_bytes;
        Some(Self { site_capacity, rings, ring_bytes, journal, sites, headers, slots, bytes })
    }

    /// Offset of the header of ring `index`.
    pub const fn ring_header(&self, index: usize) -> usize {
        self.headers + index * size_of::<RingHeader>()
    }

    /// Offset of the first slot of ring `index`.
    pub const fn ring_slots(&self, index: usize) -> usize {
        self.slots + index * self.ring_bytes
    }

    /// Offset of site `index`.
    pub const fn site(&self, index: usize) -> usize {
        self.sites + index * SITE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_one_another() {
        let l = Layout::new(50_000, 256, 1 << 20).unwrap();
        assert!(size_of::<Control>() <= l.journal);
        assert!(l.site(50_000) <= l.headers && l.headers.is_multiple_of(PAGE));
        assert!(l.ring_header(256) <= l.slots && l.slots.is_multiple_of(PAGE));
        assert_eq!(l.ring_slots(256), l.bytes);
        assert!(l.sites.is_multiple_of(8));
    }

    #[test]
    fn numbers_out_of_range_make_no_layout() {
        assert!(Layout::new(1, 1, MIN_RING_BYTES).is_some());
        for (sites, rings, ring_bytes) in [
            (0, 1, 4096),
            (1 << 24, 1, 4096),
            (1, 0, 4096),
            (1, MAX_RINGS + 1, 4096),
            (1, 1, 2048),
            (1, 1, 5000),
            (1, 1, MAX_RING_BYTES * 2),
        ] {
            assert_eq!(Layout::new(sites, rings, ring_bytes), None);
        }
    }
}
