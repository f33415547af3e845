//! Where a site lies, as instruction fetch may care: which boundaries cut it.

use serde::{Deserialize, Serialize};

use crate::variant::Fits;

/// Bytes of a site.
const LEN: u64 = 5;

/// A place for a site of five bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Offset in the cache line, 0 to 63.
    pub offset: u8,
    /// Whether the line is the last of its page.
    pub last: bool,
}

/// The widest boundary inside a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Boundary {
    /// None: it lies in one aligned 8-byte word.
    None,
    /// Of a word.
    Word,
    /// Of 16 bytes, which some CPUs fetch at once.
    Sixteen,
    /// Of 32 bytes, which others do.
    ThirtyTwo,
    /// Of a cache line.
    Line,
    /// Of a page.
    Page,
}

impl Place {
    /// One place for each kind of boundary, cut behind the second byte, which is even.
    pub const INTERESTING: [Self; 6] =
        [Self::at(0), Self::at(6), Self::at(14), Self::at(30), Self::at(62), Self { offset: 62, last: true }];

    const fn at(offset: u8) -> Self {
        Self { offset, last: false }
    }

    /// Every offset in a line, and every split by a page boundary.
    pub fn all() -> Vec<Self> {
        let page = (60..64).map(|offset| Self { offset, last: true });
        (0..64).map(Self::at).chain(page).collect()
    }

    /// Bytes in front of the 8-byte boundary that cuts the site; 0 if none does.
    pub fn cut(self) -> u8 {
        let cut = 8 - self.offset % 8;
        if u64::from(cut) < LEN { cut } else { 0 }
    }

    /// The widest boundary that cuts it.
    pub fn boundary(self) -> Boundary {
        let end = u64::from(self.offset) + LEN - 1;
        let crosses = |size: u64| u64::from(self.offset) / size != end / size;
        match () {
            () if crosses(64) && self.last => Boundary::Page,
            () if crosses(64) => Boundary::Line,
            () if crosses(32) => Boundary::ThirtyTwo,
            () if crosses(16) => Boundary::Sixteen,
            () if crosses(8) => Boundary::Word,
            () => Boundary::None,
        }
    }

    /// Offset from the start of a page.
    pub fn in_page(self) -> u64 {
        u64::from(self.offset) + if self.last { 4096 - 64 } else { 1024 }
    }

    /// Whether a variant can be run here.
    pub fn fits(self, fits: Fits) -> bool {
        match fits {
            Fits::Anywhere => true,
            Fits::Even => self.offset.is_multiple_of(2),
            Fits::Inside => self.cut() == 0,
            Fits::Across => self.cut() != 0,
        }
    }
}

impl Boundary {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "inside 8",
            Self::Word => "across 8",
            Self::Sixteen => "across 16",
            Self::ThirtyTwo => "across 32",
            Self::Line => "across lines",
            Self::Page => "across pages",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interesting_places_have_each_boundary_once() {
        let boundaries = Place::INTERESTING.map(Place::boundary);
        let all =
            [Boundary::None, Boundary::Word, Boundary::Sixteen, Boundary::ThirtyTwo, Boundary::Line, Boundary::Page];
        assert_eq!(boundaries, all);
        assert!(Place::INTERESTING.iter().all(|p| p.fits(Fits::Even) && p.in_page() % 64 == u64::from(p.offset)));
    }

    #[test]
    fn cuts_and_boundaries_agree() {
        for place in Place::all() {
            assert_eq!(place.cut() == 0, place.boundary() == Boundary::None, "{place:?}");
            assert!(place.fits(Fits::Inside) != place.fits(Fits::Across));
            let ends_in = (place.in_page() + LEN - 1) / 4096;
            assert_eq!(ends_in == 1, place.boundary() == Boundary::Page, "{place:?}");
        }
        assert_eq!(Place::all().len(), 68);
    }
}
