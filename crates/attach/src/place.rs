//! Where in the target's address space trampolines go: within reach of the text they serve.

use textpoke_trace::layout::MAX_RINGS;
use textpoke_trace::record::MAX_SITES;
use textpoke_trace::{local, table};

use crate::arch::{self, REACH};
use crate::error::Error;
use crate::proc::Mapping;

/// Keep this far from other mappings, so that a growing stack or heap does not run into ours.
const MARGIN: u64 = 1 << 20;
const PAGE: u64 = 4096;
/// Below this, `vm.mmap_min_addr` and null-pointer checks of programs live.
const LOWEST: u64 = 1 << 20;

/// Rounds up to whole pages.
pub const fn page_up(len: u64) -> u64 {
    len.next_multiple_of(PAGE)
}

/// Finds room for `len` bytes such that everything in `from..to` reaches everything in it, and back. Prefers the place
/// nearest to the text, below it first, because the heap grows above.
pub fn near(maps: &[Mapping], from: u64, to: u64, len: u64) -> Result<u64, Error> {
    let len = page_up(len);
    let lowest = to.saturating_sub(REACH).max(LOWEST);
    let end = arch::highest(maps);
    let highest = from.saturating_add(REACH).min(end);
    let mut below = None;
    let mut above = None;
    let mut gap_start = 0;
    let ends = maps.iter().map(|m| (m.start, m.end)).chain([(end, end)]);
    for (start, end) in ends {
        let lo = (gap_start + MARGIN).max(lowest).next_multiple_of(PAGE);
        let hi = start.saturating_sub(MARGIN).min(highest) / PAGE * PAGE;
        if hi > lo && hi - lo >= len {
            if hi <= from {
                below = Some(hi - len);
            } else if above.is_none() {
                above = Some(lo.max(to.next_multiple_of(PAGE)).min(hi - len));
            }
        }
        gap_start = gap_start.max(end);
    }
    match (below, above) {
        (Some(b), Some(a)) => Ok(if from - b <= a - to.min(a) { b } else { a }),
        (Some(one), None) | (None, Some(one)) => Ok(one),
        (None, None) => Err(Error::NoRoom(from)),
    }
}

/// Where LOCAL and TABLE of a session go: a free place in the window that the probe recognises, in which no program and no
/// kernel maps anything by itself, so that what is there is ours even if nothing else tells. LOCAL comes first.
pub fn private(maps: &[Mapping]) -> Result<(u64, u64), Error> {
    let free = |at: &u64| maps.iter().all(|m| m.end <= *at || m.start >= at + 2 * PRIVATE);
    let window = arch::window(maps);
    let mut places = (window.start..window.end - 2 * PRIVATE).step_by(2 * PRIVATE as usize);
    places.find(free).map(|at| (at, at + PRIVATE)).ok_or(Error::NoRoom(window.start))
}

/// More than LOCAL or TABLE ever takes, in bytes.
const PRIVATE: u64 = 1 << 30;
const _: () =
    assert!(table::bytes(MAX_SITES as usize) < PRIVATE as usize && local::bytes(MAX_RINGS) < PRIVATE as usize);

/// Groups address ranges so that each group can share one trampoline area: the span stays well below the reach.
pub fn clusters(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut groups: Vec<(u64, u64)> = Vec::new();
    for (start, end) in ranges {
        match groups.last_mut() {
            Some(group) if end - group.0 < REACH / 2 => group.1 = group.1.max(end),
            _ => groups.push((start, end)),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(start: u64, end: u64) -> Mapping {
        Mapping { start, end, prot: 5, shared: false, offset: 0, inode: 0, path: String::new() }
    }

    #[test]
    fn the_place_is_free_and_within_reach() {
        let maps = [
            map(0x5555_5555_4000, 0x5555_5557_0000),
            map(0x5555_5560_0000, 0x5555_5570_0000),
            map(0x7fff_0000_0000, 0x7fff_0010_0000),
        ];
        let at = near(&maps, 0x5555_5555_5000, 0x5555_5556_0000, 0x10_0000).unwrap();
        assert!(maps.iter().all(|m| at + 0x10_0000 <= m.start || at >= m.end));
        assert!(at.abs_diff(0x5555_5555_5000) < REACH && (at + 0x10_0000).abs_diff(0x5555_5556_0000) < REACH);
    }

    #[test]
    fn low_programs_get_a_place_above() {
        let maps = [map(0x40_0000, 0x80_0000)];
        let at = near(&maps, 0x40_1000, 0x70_0000, 0x100_0000).unwrap();
        assert!((0x80_0000..0x1_0000_0000).contains(&at), "{at:#x}");
    }

    #[test]
    fn a_full_neighbourhood_is_refused() {
        let maps = [map(LOWEST, 0x7000_0000_0000)];
        assert!(matches!(near(&maps, 0x3000_0000_0000, 0x3000_0001_0000, 4096), Err(Error::NoRoom(_))));
    }

    #[test]
    fn far_files_make_clusters() {
        let groups = clusters(vec![
            (0x7f00_0000_0000, 0x7f00_0010_0000),
            (0x5500_0000_0000, 0x5500_0010_0000),
            (0x7f00_1000_0000, 0x7f00_1010_0000),
        ]);
        assert_eq!(groups, [(0x5500_0000_0000, 0x5500_0010_0000), (0x7f00_0000_0000, 0x7f00_1010_0000)]);
    }
}
