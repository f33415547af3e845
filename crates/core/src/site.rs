//! A site: the run of bytes that one patch changes.

use crate::isa::Isa;

/// The most bytes that one site changes. Five are needed on x86-64, eight for two words elsewhere.
pub const MAX_SITE: usize = 8;

/// One place in the text and both of its forms.
///
/// Plain old data with a fixed layout: a plan is an array of sites in memory that the patcher, its target and, after a
/// crash, `textpoke repair` all read. Only the first [`Site::len`] bytes of [`old`](Site::old) and [`new`](Site::new) count.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Site {
    /// Address of the first byte, as the CPU executes it.
    pub addr: u64,
    /// The bytes before [`Direction::Install`].
    pub old: [u8; MAX_SITE],
    /// The bytes after [`Direction::Install`]: one instruction, or one that never falls through and padding, unless
    /// [`new_inner`](Site::new_inner) says otherwise.
    pub new: [u8; MAX_SITE],
    /// Where code stands that does what the old instructions do and then goes on behind the site; 0 if there is none.
    pub copy: u64,
    /// Where code stands that does what the new instruction does; 0 asks [`trap::resolve`](crate::trap::resolve) to
    /// emulate the new instruction itself.
    pub stand_in: u64,
    /// For each `i` with bit `i` in [`inner`](Site::inner): the offset in the copy of the instruction that was at `addr + i`.
    pub copy_at: [u8; MAX_SITE],
    /// Number of bytes that differ in role between old and new, 1 to [`MAX_SITE`].
    pub len: u8,
    /// Bit `i` (1 ≤ `i` < `len`): an old instruction begins at `addr + i`. Zero when the old bytes are one instruction.
    /// None of these is where a displaced CALL returns to: nobody looks for return addresses.
    pub inner: u8,
    /// The same for the new bytes. Between two instructions a thread may be preempted, so that only protocols which wait
    /// until nobody is inside can change such a site.
    pub new_inner: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

/// Which way a plan is performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From old to new.
    Install,
    /// From new back to old.
    Remove,
}

impl Direction {
    /// The other way, which is how a failed batch is undone.
    pub const fn opposite(self) -> Self {
        match self {
            Self::Install => Self::Remove,
            Self::Remove => Self::Install,
        }
    }
}

/// Which bytes of every site a [`Step::Store`](crate::Step::Store) writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The trap instruction on the head and, when several instructions are about to vanish, on each inner boundary.
    Trap,
    /// Everything behind the bytes that the head trap covers, in its final form.
    Tail,
    /// The bytes that the head trap covered, in their final form.
    Head,
    /// The trap instruction on the head alone, whatever stands behind it.
    TrapHead,
    /// All bytes in one store.
    Whole,
    /// A two-byte jump over everything behind it, on the first two bytes.
    Hop,
    /// Everything behind those two bytes, in its final form.
    HopTail,
    /// Those two bytes, in their final form.
    HopHead,
}

/// Bytes to put at `site.addr + offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// Offset from the start of the site.
    pub offset: u8,
    /// Number of bytes, never 0.
    pub len: u8,
    bytes: [u8; MAX_SITE],
}

impl Write {
    fn new(offset: usize, bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        let mut held = [0; MAX_SITE];
        held[..bytes.len()].copy_from_slice(bytes);
        Some(Self { offset: offset as u8, len: bytes.len() as u8, bytes: held })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Site {
    /// A site whose old bytes are one instruction and whose new instruction the trap side emulates.
    ///
    /// Returns `None` when the lengths differ, or are 0 or above [`MAX_SITE`].
    pub fn single(addr: u64, old: &[u8], new: &[u8]) -> Option<Self> {
        if old.len() != new.len() || old.is_empty() || old.len() > MAX_SITE {
            return None;
        }
        let mut site = Self {
            addr,
            old: [0; MAX_SITE],
            new: [0; MAX_SITE],
            copy: 0,
            stand_in: 0,
            copy_at: [0; MAX_SITE],
            len: old.len() as u8,
            inner: 0,
            new_inner: 0,
            reserved: [0; 5],
        };
        site.old[..old.len()].copy_from_slice(old);
        site.new[..new.len()].copy_from_slice(new);
        Some(site)
    }

    /// Number of bytes that the site changes.
    pub fn len(&self) -> usize {
        usize::from(self.len).min(MAX_SITE)
    }

    /// Never true for a site of a checked [`Plan`](crate::Plan).
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// First address behind the site.
    pub fn end(&self) -> u64 {
        self.addr.saturating_add(self.len() as u64)
    }

    /// The bytes that stand at the site before a batch in direction `dir`.
    pub fn before(&self, dir: Direction) -> &[u8] {
        let all = match dir {
            Direction::Install => &self.old,
            Direction::Remove => &self.new,
        };
        &all[..self.len()]
    }

    /// The bytes that stand at the site after a batch in direction `dir`.
    pub fn after(&self, dir: Direction) -> &[u8] {
        self.before(dir.opposite())
    }

    /// Whether an old instruction begins at `addr + offset`, the head included.
    pub fn begins_at(&self, offset: usize) -> bool {
        offset == 0 || (offset < self.len() && self.inner >> offset & 1 == 1)
    }

    /// What phase `phase` of direction `dir` writes, in the order in which it is written.
    ///
    /// When several old instructions vanish (Install), each of them gets a trap: a thread that was preempted between them
    /// must not resume inside the new instruction. On the way back (Remove) nobody can stand between them, so that only
    /// the head is trapped.
    pub fn writes<I: Isa>(&self, phase: Phase, dir: Direction) -> impl Iterator<Item = Write> + use<I> {
        let trap = I::TRAP;
        let after = self.after(dir);
        let covered = trap.len().min(after.len());
        let inner = match (phase, dir) {
            (Phase::Trap, Direction::Install) => self.inner,
            _ => 0,
        };
        let first = match phase {
            Phase::Trap | Phase::TrapHead => Write::new(0, &trap[..covered]),
            Phase::Tail => Write::new(covered, &after[covered..]),
            Phase::Head => Write::new(0, &after[..covered]),
            Phase::Whole => Write::new(0, after),
            Phase::Hop => I::hop(after.len()).and_then(|hop| Write::new(0, &hop)),
            Phase::HopTail => Write::new(2, after.get(2..).unwrap_or_default()),
            Phase::HopHead => Write::new(0, after.get(..2).unwrap_or(after)),
        };
        let len = self.len();
        let rest = (1..len)
            .filter(move |&i| inner >> i & 1 == 1 && i + trap.len() <= len)
            .filter_map(move |i| Write::new(i, trap));
        first.into_iter().chain(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::X86_64;

    fn displaced() -> Site {
        // push rbp; mov rbp,rsp; push rbx  ->  jmp +0x100
        let mut site = Site::single(0x1000, &[0x55, 0x48, 0x89, 0xe5, 0x53], &[0xe9, 0xfb, 0, 0, 0]).unwrap();
        site.inner = 0b1_0010;
        site
    }

    fn apply(site: &Site, text: &mut [u8; 5], phase: Phase, dir: Direction) {
        for w in site.writes::<X86_64>(phase, dir) {
            text[usize::from(w.offset)..][..w.bytes().len()].copy_from_slice(w.bytes());
        }
    }

    #[test]
    fn the_layout_is_fixed() {
        assert_eq!(size_of::<Site>(), 56);
        assert_eq!(core::mem::offset_of!(Site, len), 48);
    }

    #[test]
    fn install_traps_every_old_instruction_and_remove_only_the_head() {
        let site = displaced();
        let mut text = [0x55, 0x48, 0x89, 0xe5, 0x53];
        apply(&site, &mut text, Phase::Trap, Direction::Install);
        assert_eq!(text, [0xcc, 0xcc, 0x89, 0xe5, 0xcc]);
        apply(&site, &mut text, Phase::Tail, Direction::Install);
        assert_eq!(text, [0xcc, 0xfb, 0, 0, 0]);
        apply(&site, &mut text, Phase::Head, Direction::Install);
        assert_eq!(text, site.new[..5]);
        apply(&site, &mut text, Phase::Trap, Direction::Remove);
        assert_eq!(text, [0xcc, 0xfb, 0, 0, 0]);
        apply(&site, &mut text, Phase::Tail, Direction::Remove);
        apply(&site, &mut text, Phase::Head, Direction::Remove);
        assert_eq!(text, site.old[..5]);
    }

    #[test]
    fn a_short_jump_covers_the_tail_while_it_changes() {
        let site = Site::single(0x1000, &[0x0f, 0x1f, 0x44, 0, 0], &[0xe9, 0x11, 0x22, 0x33, 0x44]).unwrap();
        let mut text = [0x0f, 0x1f, 0x44, 0, 0];
        apply(&site, &mut text, Phase::Hop, Direction::Install);
        assert_eq!(text, [0xeb, 3, 0x44, 0, 0]);
        apply(&site, &mut text, Phase::HopTail, Direction::Install);
        assert_eq!(text, [0xeb, 3, 0x22, 0x33, 0x44]);
        apply(&site, &mut text, Phase::HopHead, Direction::Install);
        assert_eq!(text, site.new[..5]);
    }

    #[test]
    fn a_head_trap_leaves_the_rest_alone() {
        let site = displaced();
        let mut text = [0xe9, 0xfb, 0, 0, 0];
        apply(&site, &mut text, Phase::TrapHead, Direction::Install);
        assert_eq!(text, [0xcc, 0xfb, 0, 0, 0]);
    }

    #[test]
    fn a_one_byte_site_has_no_tail() {
        let site = Site::single(0, &[0xc3], &[0xcc]).unwrap();
        assert_eq!(site.writes::<X86_64>(Phase::Tail, Direction::Install).count(), 0);
    }

    #[test]
    fn odd_lengths_make_no_site() {
        assert!(Site::single(0, &[], &[]).is_none());
        assert!(Site::single(0, &[0x90], &[0x90, 0x90]).is_none());
        assert!(Site::single(0, &[0x90; 9], &[0x90; 9]).is_none());
    }
}
