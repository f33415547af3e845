//! A checked batch of sites.

use core::fmt;
use core::marker::PhantomData;

use crate::isa::Isa;
use crate::site::{MAX_SITE, Site};

/// Sites in ascending order that do not overlap. Borrowed: whoever makes the batch owns the memory.
#[derive(Debug)]
pub struct Plan<'a, I: Isa> {
    sites: &'a [Site],
    isa: PhantomData<I>,
}

impl<I: Isa> Clone for Plan<'_, I> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<I: Isa> Copy for Plan<'_, I> {}

/// Why a list of sites is not a plan. The number is the index of the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PlanError {
    /// There are no sites.
    Empty,
    /// More than `u32::MAX` sites.
    TooMany,
    /// Length 0 or above [`MAX_SITE`], or the end wraps around.
    Length(usize),
    /// Shorter than the trap instruction or than a short jump, or not aligned as the instruction set or protocol demands.
    Shape(usize),
    /// Not behind the site before it.
    Order(usize),
    /// Several old instructions, but no copy of them for late threads, or one whose entries are not all given.
    NoCopy(usize),
    /// The trap side can neither emulate this site's instruction nor is there code that stands in for it.
    NotEmulated(usize),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the plan has no sites"),
            Self::TooMany => f.write_str("the plan has more sites than can be counted"),
            Self::Length(i) => write!(f, "site {i}: a site is 1 to {MAX_SITE} bytes long"),
            Self::Shape(i) => write!(f, "site {i}: too short for the protocol, or not aligned for it"),
            Self::Order(i) => write!(f, "site {i}: sites must ascend and not overlap"),
            Self::NoCopy(i) => write!(f, "site {i}: several old instructions need a copy for threads that are late"),
            Self::NotEmulated(i) => write!(f, "site {i}: no trap handler can act as this instruction"),
        }
    }
}

impl core::error::Error for PlanError {}

impl<'a, I: Isa> Plan<'a, I> {
    /// Checks the sites, one pass, no allocation.
    pub fn new(sites: &'a [Site]) -> Result<Self, PlanError> {
        if sites.is_empty() {
            return Err(PlanError::Empty);
        }
        if u32::try_from(sites.len()).is_err() {
            return Err(PlanError::TooMany);
        }
        let mut end = 0;
        for (i, site) in sites.iter().enumerate() {
            let len = usize::from(site.len);
            if len == 0 || len > MAX_SITE || site.addr.checked_add(len as u64).is_none() {
                return Err(PlanError::Length(i));
            }
            if len < I::TRAP.len() || !site.addr.is_multiple_of(I::ALIGN) {
                return Err(PlanError::Shape(i));
            }
            if i > 0 && site.addr < end {
                return Err(PlanError::Order(i));
            }
            // Bit 0 is the head itself, and a boundary behind the end would never be reached.
            let outside = site.inner & 1 != 0 || u32::from(site.inner) >> len != 0;
            if outside || (site.inner != 0 && site.copy == 0) {
                return Err(PlanError::NoCopy(i));
            }
            end = site.end();
        }
        Ok(Self { sites, isa: PhantomData })
    }

    /// Checks, in addition, that a trap at each head can be resolved in both directions, which the protocols that use
    /// traps need.
    pub fn trappable(self) -> Result<Self, PlanError> {
        for (i, site) in self.sites.iter().enumerate() {
            let new = site.stand_in != 0 || I::decode(site.addr, &site.new[..site.len()]).is_some();
            let old = site.copy != 0 || (site.inner == 0 && I::decode(site.addr, &site.old[..site.len()]).is_some());
            if !new || !old {
                return Err(PlanError::NotEmulated(i));
            }
        }
        Ok(self)
    }

    /// Checks, in addition, what `short_jump` needs of every site: a head that one aligned store of two bytes covers and
    /// something behind it.
    pub fn hoppable(self) -> Result<Self, PlanError> {
        match self.sites.iter().position(|s| !s.addr.is_multiple_of(2) || I::hop(s.len()).is_none() || s.inner != 0) {
            Some(i) => Err(PlanError::Shape(i)),
            None => Ok(self),
        }
    }

    /// The sites.
    pub fn sites(&self) -> &'a [Site] {
        self.sites
    }

    /// The address range from the first site to the end of the last.
    pub fn span(&self) -> (u64, u64) {
        (self.sites[0].addr, self.sites[self.sites.len() - 1].end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::X86_64;

    const NOP5: [u8; 5] = [0x0f, 0x1f, 0x44, 0, 0];
    const JMP: [u8; 5] = [0xe9, 0, 1, 0, 0];

    fn site(addr: u64) -> Site {
        Site::single(addr, &NOP5, &JMP).unwrap()
    }

    fn error(sites: &[Site]) -> Option<PlanError> {
        Plan::<X86_64>::new(sites).and_then(Plan::trappable).err()
    }

    #[test]
    fn every_error_has_its_case() {
        assert_eq!(error(&[site(0), site(5), site(64)]), None);
        assert_eq!(error(&[]), Some(PlanError::Empty));
        assert_eq!(error(&[Site { len: 0, ..site(0) }]), Some(PlanError::Length(0)));
        assert_eq!(error(&[Site { len: 9, ..site(0) }]), Some(PlanError::Length(0)));
        assert_eq!(error(&[site(u64::MAX - 2)]), Some(PlanError::Length(0)));
        assert_eq!(error(&[site(0), site(4)]), Some(PlanError::Order(1)));
        assert_eq!(error(&[site(9), site(0)]), Some(PlanError::Order(1)));
        assert_eq!(error(&[Site { inner: 2, ..site(0) }]), Some(PlanError::NoCopy(0)));
        assert_eq!(error(&[Site { inner: 1, copy: 9, ..site(0) }]), Some(PlanError::NoCopy(0)));
        assert_eq!(error(&[Site { inner: 32, copy: 9, ..site(0) }]), Some(PlanError::NoCopy(0)));
        let xor = Site::single(0, &NOP5, &[0x48, 0x31, 0xc0, 0x90, 0x90]).unwrap();
        assert_eq!(error(&[xor]), Some(PlanError::NotEmulated(0)));
        assert_eq!(error(&[Site { stand_in: 0x40, ..xor }]), None);
    }

    #[test]
    fn a_short_jump_needs_an_even_head_of_one_instruction() {
        let hoppable = |site: Site| Plan::<X86_64>::new(&[site]).and_then(Plan::hoppable).err();
        assert_eq!(hoppable(site(2)), None);
        assert_eq!(hoppable(site(1)), Some(PlanError::Shape(0)));
        assert_eq!(hoppable(Site { inner: 2, copy: 9, ..site(2) }), Some(PlanError::Shape(0)));
        assert_eq!(hoppable(Site::single(2, &[0x90], &[0xc3]).unwrap()), Some(PlanError::Shape(0)));
    }
}
