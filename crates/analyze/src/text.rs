//! Where the code is, and what is known of single code addresses.

use crate::elf::Image;

/// A range of code: an executable section, or a whole executable segment when sections are unknown.
#[derive(Clone, Debug)]
pub(crate) struct TextRange {
    pub vaddr: u64,
    pub end: u64,
    /// Procedure linkage stubs: code, but no functions of the program.
    pub stubs: bool,
    pub writable: bool,
}

/// All code of a file, sorted, without overlaps.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub ranges: Vec<TextRange>,
}

impl Text {
    pub fn of(image: &Image<'_>) -> Self {
        let writable =
            |vaddr: u64| image.segments().iter().any(|s| s.writable && vaddr >= s.vaddr && vaddr - s.vaddr < s.size);
        let mut ranges = Vec::new();
        for section in image.sections.iter().flatten().filter(|s| s.executable && s.size > 0 && s.vaddr != 0) {
            ranges.push(TextRange {
                vaddr: section.vaddr,
                end: section.vaddr + section.size,
                stubs: section.name.starts_with(".plt") || section.name.starts_with(".iplt"),
                writable: writable(section.vaddr),
            });
        }
        if ranges.is_empty() {
            for segment in image.executable_segments() {
                let (vaddr, end) = (segment.vaddr, segment.vaddr + segment.size);
                ranges.push(TextRange { vaddr, end, stubs: false, writable: segment.writable });
            }
        }
        ranges.sort_by_key(|r| r.vaddr);
        ranges.dedup_by(|next, first| next.vaddr < first.end);
        Self { ranges }
    }

    pub fn range(&self, vaddr: u64) -> Option<&TextRange> {
        let index = self.ranges.partition_point(|r| r.vaddr <= vaddr).checked_sub(1)?;
        Some(&self.ranges[index]).filter(|r| vaddr < r.end)
    }

    pub fn contains(&self, vaddr: u64) -> bool {
        self.range(vaddr).is_some()
    }
}

/// A fact about a code address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mark {
    /// A symbol or unwind entry starts here.
    Start,
    /// A jump, conditional jump or loop leads here.
    Branch,
    /// A direct call leads here.
    Called,
    /// A pointer or `lea` holds this address.
    Taken,
    /// An entry of a jump table leads here.
    Table,
    /// The unwinder enters here.
    Pad,
    /// The byte is read as data.
    Data,
}

const MARKS: usize = 7;

/// One bit per code address and kind of mark.
#[derive(Debug)]
pub(crate) struct Marks {
    ranges: Vec<(u64, u64, [Vec<u64>; MARKS])>,
    /// Data between the code, as the symbol table tells: start and end, sorted, without overlaps.
    pools: Vec<(u64, u64)>,
}

impl Marks {
    pub fn new(text: &Text) -> Self {
        let bits = |r: &TextRange| {
            // The range lies inside the file, so that its length fits the address space.
            let words = usize::try_from((r.end - r.vaddr).div_ceil(64)).unwrap_or(0);
            core::array::from_fn(|_| vec![0; words])
        };
        Self { ranges: text.ranges.iter().map(|r| (r.vaddr, r.end, bits(r))).collect(), pools: Vec::new() }
    }

    /// Takes note of data between the code: start and end, sorted, without overlaps.
    pub fn set_pools(&mut self, pools: Vec<(u64, u64)>) {
        for &(start, end) in &pools {
            (start..end).for_each(|at| self.set(Mark::Data, at));
        }
        self.pools = pools;
    }

    /// The pieces of code from `start` to `end`, without such data.
    pub fn code(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
        let first = self.pools.partition_point(|p| p.1 <= start);
        let pools = self.pools[first..].iter().copied().take_while(move |p| p.0 < end);
        let mut at = start;
        pools.chain([(end, end)]).filter_map(move |(from, to)| {
            let piece = (at, from);
            at = at.max(to);
            (piece.0 < piece.1).then_some(piece)
        })
    }

    fn slot(&self, vaddr: u64) -> Option<(usize, usize, u64)> {
        let index = self.ranges.partition_point(|r| r.0 <= vaddr).checked_sub(1)?;
        let (start, end, _) = self.ranges[index];
        let offset = vaddr - start;
        (vaddr < end).then_some((index, usize::try_from(offset / 64).ok()?, 1 << (offset % 64)))
    }

    pub fn set(&mut self, mark: Mark, vaddr: u64) {
        if let Some((range, word, bit)) = self.slot(vaddr) {
            self.ranges[range].2[mark as usize][word] |= bit;
        }
    }

    pub fn get(&self, mark: Mark, vaddr: u64) -> bool {
        self.slot(vaddr).is_some_and(|(range, word, bit)| self.ranges[range].2[mark as usize][word] & bit != 0)
    }

    /// Whether control may come to this address other than from the instruction before it.
    pub fn entered(&self, vaddr: u64) -> bool {
        self.slot(vaddr).is_some_and(|(range, word, bit)| {
            let bits = &self.ranges[range].2;
            (0..Mark::Data as usize).any(|mark| bits[mark][word] & bit != 0)
        })
    }
}
