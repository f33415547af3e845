//! A checked batch of sites.

use core::fmt;
use core::marker::PhantomData;

use crate::isa::Isa;
use crate::protocol::{Kind, Run};
use crate::site::{Direction, MAX_SITE, Site};

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
    /// Shorter than the trap instruction or the short jump that the protocol stores, or not aligned as the instruction set
    /// or protocol demands.
    Shape(usize),
    /// Not behind the site before it.
    Order(usize),
    /// Several old instructions, but no copy of them for late threads, or one whose entries are not all given.
    NoCopy(usize),
    /// The trap side can neither emulate this site's instruction nor is there code that stands in for it.
    NotEmulated(usize),
    /// Several instructions, and a protocol that does not wait until nobody is inside.
    Several(usize),
    /// The architecture does not let this instruction change while other CPUs may execute it, and the protocol parks
    /// nobody.
    NotLive(usize),
    /// The first instruction of a prepared pair is not planted, or would change, or the second of a planted one is not
    /// the same before and after.
    NotPrepared(usize),
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
            Self::Several(i) => {
                write!(f, "site {i}: several instructions need a protocol that waits until nobody is inside")
            }
            Self::NotLive(i) => write!(f, "site {i}: the architecture does not let this instruction change live; park"),
            Self::NotPrepared(i) => write!(f, "site {i}: not the pair of instructions that this protocol changes"),
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
            if !site.addr.is_multiple_of(I::ALIGN) || !len.is_multiple_of(I::ALIGN as usize) {
                return Err(PlanError::Shape(i));
            }
            if i > 0 && site.addr < end {
                return Err(PlanError::Order(i));
            }
            // Bit 0 is the head itself, and a boundary behind the end would never be reached.
            let outside = |inner: u8| inner & 1 != 0 || u32::from(inner) >> len != 0;
            if outside(site.inner) {
                return Err(PlanError::NoCopy(i));
            }
            if outside(site.new_inner) {
                return Err(PlanError::Several(i));
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
            let new = new && (site.new_inner == 0 || site.stand_in != 0);
            let old = site.copy != 0 || (site.inner == 0 && I::decode(site.addr, &site.old[..site.len()]).is_some());
            if site.inner != 0 && site.copy == 0 {
                return Err(PlanError::NoCopy(i));
            }
            if site.len() < I::TRAP.len() {
                return Err(PlanError::Shape(i));
            }
            if !new || !old {
                return Err(PlanError::NotEmulated(i));
            }
        }
        Ok(self)
    }

    /// Checks everything that a protocol asks of its sites.
    ///
    /// What makes a site of several instructions safe is that no thread is inside when the second changes. So such a site
    /// suits only protocols that wait for it, or [`Kind::PreparedPair`], whose pairs were planted.
    pub fn suits(self, kind: Kind) -> Result<Suited<'a, I>, PlanError> {
        if kind.traps() {
            self.trappable()?;
        }
        if kind == Kind::ShortJump {
            self.hoppable()?;
        }
        for (i, site) in self.sites.iter().enumerate() {
            kind.admits::<I>(site).map_err(|error| error(i))?;
        }
        Ok(Suited { plan: self, kind })
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

impl Kind {
    /// Whether the protocol can change this site, traps and short jumps aside.
    pub(crate) fn admits<I: Isa>(self, site: &Site) -> Result<(), fn(usize) -> PlanError> {
        let single = site.inner == 0 && site.new_inner == 0;
        let (old, new, head) = (&site.old[..site.len()], &site.new[..site.len()], I::TRAP.len().min(site.len()));
        let same = |range: core::ops::Range<usize>| old[range.clone()] == new[range];
        // Where the trap is one byte, live changes by way of it are what the protocols are made of.
        let one_byte = I::TRAP.len() == 1;
        let trap_at = |bytes: &[u8], at: usize| {
            let here = bytes.get(at..at + I::TRAP.len());
            here.is_some_and(|here| one_byte || I::live(site.addr + at as u64, here, I::TRAP))
        };
        let untrap = one_byte || I::live(site.addr, I::TRAP, &new[..head]);
        let by_trap = trap_at(old, 0) && untrap;
        let inner_traps = || (1..site.len()).filter(|i| site.inner >> i & 1 == 1).all(|i| trap_at(old, i));
        // A thread that stands behind the head must not find the second half of a trap there.
        let under_head = (1..I::TRAP.len()).any(|i| (site.inner | site.new_inner) >> i & 1 == 1);
        match self {
            _ if self.traps() && under_head => Err(PlanError::NotLive),
            Self::Breakpoint | Self::ShortJump | Self::Park | Self::NmiAssist if !single => Err(PlanError::Several),
            Self::Word if !single => Err(PlanError::Several),
            Self::Word if I::TRAP.len() > 1 && !I::live(site.addr, old, new) => Err(PlanError::NotLive),
            Self::Displace if site.new_inner != 0 => Err(PlanError::Several),
            Self::Breakpoint | Self::Displace | Self::Pair if !by_trap => Err(PlanError::NotLive),
            Self::Displace if !inner_traps() => Err(PlanError::NotLive),
            Self::Plant | Self::PreparedPair if site.len() != 2 * head => Err(PlanError::NotPrepared),
            Self::Plant if !same(head..2 * head) => Err(PlanError::NotPrepared),
            Self::PreparedPair if !same(0..head) => Err(PlanError::NotPrepared),
            Self::PreparedPair if !I::live(site.addr + head as u64, &old[head..], &new[head..]) => {
                Err(PlanError::NotLive)
            }
            _ => Ok(()),
        }
    }
}

/// A plan whose sites a protocol can change. The only proof of it is [`Plan::suits`].
#[derive(Debug)]
pub struct Suited<'a, I: Isa> {
    plan: Plan<'a, I>,
    kind: Kind,
}

impl<'a, I: Isa> Clone for Suited<'a, I> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<'a, I: Isa> Copy for Suited<'a, I> {}

impl<'a, I: Isa> Suited<'a, I> {
    /// The plan.
    pub fn plan(&self) -> Plan<'a, I> {
        self.plan
    }

    /// The protocol.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The protocol, ready to be performed.
    pub fn run(&self, dir: Direction) -> Run<'static> {
        Run::new(self.kind, dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Aarch64, Riscv64, X86_64};

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
        assert_eq!(error(&[Site { new_inner: 1, ..site(0) }]), Some(PlanError::Several(0)));
    }

    fn words(addr: u64, old: [u32; 2], new: [u32; 2]) -> Site {
        let bytes = |[a, b]: [u32; 2]| (u64::from(a) | u64::from(b) << 32).to_le_bytes();
        Site { inner: 16, new_inner: 16, copy: 0x9000, ..Site::single(addr, &bytes(old), &bytes(new)).unwrap() }
    }

    fn word(old: u32, new: u32) -> Site {
        Site::single(0x1000, &old.to_le_bytes(), &new.to_le_bytes()).unwrap()
    }

    #[test]
    fn no_boundary_may_lie_under_the_trap_of_the_head() {
        // Two C.NOPs and another instruction become AUIPC and JALR.
        let old = [1, 0, 1, 0, 0x13, 0, 0, 0];
        let new = [0x97, 2, 0, 0, 0xe7, 0x82, 2, 0];
        let site = Site { new_inner: 16, copy: 9, stand_in: 9, ..Site::single(0x1000, &old, &new).unwrap() };
        let suits = |site: Site| Plan::<Riscv64>::new(&[site]).unwrap().suits(Kind::ParkTwice).err();
        assert_eq!(suits(Site { inner: 0b1_0100, ..site }), Some(PlanError::NotLive(0)));
        assert_eq!(suits(Site { inner: 0b1_0000, ..site }), None);
    }

    #[test]
    fn two_bytes_change_where_no_trap_is_stored() {
        let site = Site::single(0x1002, &[1, 0], &[0x01, 0xa8]).unwrap();
        let suits = |kind| Plan::<Riscv64>::new(&[site]).unwrap().suits(kind).err();
        assert_eq!((suits(Kind::Word), suits(Kind::Park)), (None, None));
        assert_eq!(suits(Kind::Breakpoint), Some(PlanError::Shape(0)));
        let odd = Site::single(0x1002, &[1, 0, 1], &[1, 0, 2]).unwrap();
        assert_eq!(Plan::<Riscv64>::new(&[odd]).err(), Some(PlanError::Shape(0)));
    }

    const A64_NOP: u32 = 0xd503_201f;
    const A64_MOV: u32 = 0xaa1e_03e9;
    const A64_BL: u32 = 0x9400_0040;
    const A64_B: u32 = 0x1400_0040;

    #[test]
    fn what_makes_several_instructions_safe_is_that_nobody_is_inside() {
        let suits = |site: Site, kind| Plan::<Aarch64>::new(&[site]).unwrap().suits(kind).err();
        let pair = Site { stand_in: 0x8000, ..words(0x1000, [A64_NOP, A64_NOP], [A64_BL, A64_BL]) };
        for kind in [Kind::Word, Kind::Park, Kind::NmiAssist, Kind::Breakpoint] {
            assert_eq!(suits(pair, kind), Some(PlanError::Several(0)), "{}", kind.name());
        }
        assert_eq!((suits(pair, Kind::Pair), suits(pair, Kind::ParkTwice)), (None, None));
        let jump = |old| Site { stand_in: 0x8000, new_inner: 0, ..words(0x1000, old, [A64_B, A64_NOP]) };
        assert_eq!(suits(jump([A64_NOP, A64_NOP]), Kind::Displace), None);
        let traps_mov = suits(jump([A64_NOP, A64_MOV]), Kind::Displace);
        assert_eq!(traps_mov, Some(PlanError::NotLive(0)), "the trap over the second is not live either");
        let mov = Site { stand_in: 0x8000, ..words(0x1000, [A64_NOP, A64_NOP], [A64_MOV, A64_BL]) };
        assert_eq!(suits(mov, Kind::Pair), Some(PlanError::NotLive(0)), "MOV is not in the list");
        assert_eq!(suits(mov, Kind::ParkTwice), None);
    }

    #[test]
    fn the_second_of_a_pair_toggles_only_behind_a_planted_first() {
        let suits = |site: Site, kind| Plan::<Aarch64>::new(&[site]).unwrap().suits(kind).err();
        let toggle = words(0x1000, [A64_MOV, A64_NOP], [A64_MOV, A64_BL]);
        let plant = words(0x1000, [A64_NOP, A64_NOP], [A64_MOV, A64_NOP]);
        assert_eq!((suits(toggle, Kind::PreparedPair), suits(plant, Kind::Plant)), (None, None));
        let both = words(0x1000, [A64_NOP, A64_NOP], [A64_MOV, A64_BL]);
        assert_eq!(suits(both, Kind::PreparedPair), Some(PlanError::NotPrepared(0)));
        assert_eq!(suits(both, Kind::Plant), Some(PlanError::NotPrepared(0)));
        assert_eq!(suits(word(A64_NOP, A64_B), Kind::Plant), Some(PlanError::NotPrepared(0)));
    }

    #[test]
    fn one_word_changes_live_only_inside_the_list() {
        let suits = |site: Site, kind| Plan::<Aarch64>::new(&[site]).unwrap().suits(kind).err();
        assert_eq!(suits(word(A64_NOP, A64_B), Kind::Word), None);
        assert_eq!(suits(word(A64_MOV, A64_B), Kind::Word), Some(PlanError::NotLive(0)));
        assert_eq!(suits(word(A64_MOV, A64_B), Kind::Park), None);
        assert_eq!(suits(word(A64_MOV, A64_B), Kind::Breakpoint), Some(PlanError::NotLive(0)));
        let suited = Plan::<Aarch64>::new(&[word(A64_NOP, A64_B)]).unwrap().suits(Kind::Word).map(|s| s.kind());
        assert_eq!(suited, Ok(Kind::Word));
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
