//! Which instructions can be displaced, and the run at the entry of a function.

use core::ops::Range;

use crate::elf::Image;
use crate::isa::{Arch, Insn};
use crate::reason::Reason;
use crate::site::{Jump, Site};
use crate::text::{Mark, Marks, Text};

/// Most bytes of padding in a row: a page, as some programs align their code to. Whatever is larger is no padding.
const MAX_PADDING: u64 = 4096;

/// What a run of bytes must not touch, and how to see it.
pub(crate) struct Ground<'g, 'a> {
    pub image: &'g Image<'a>,
    pub text: &'g Text,
    pub marks: &'g Marks,
    /// Sorted starts of 8-byte words that the dynamic linker writes.
    pub patched: &'g [u64],
    pub rseq: &'g [Range<u64>],
    /// Reserved for other patches.
    pub reserved: &'g [Range<u64>],
    /// Hashed by the program itself.
    pub checked: &'g [Range<u64>],
}

impl Ground<'_, '_> {
    /// Whether the bytes from `start` to `end` may be displaced, as far as the rest of the file is concerned.
    pub fn free(&self, start: u64, end: u64) -> Result<(), Reason> {
        let range = self.text.range(start).filter(|r| end <= r.end).ok_or(Reason::OutsideText)?;
        if range.writable {
            return Err(Reason::WritableText);
        }
        let hit = |r: &Range<u64>| r.start < end && start < r.end;
        if self.rseq.iter().any(hit) {
            return Err(Reason::RseqSection);
        }
        if self.checked.iter().any(hit) {
            return Err(Reason::SelfChecked);
        }
        if self.reserved.iter().any(hit) {
            return Err(Reason::StaticKeySite);
        }
        let next = self.patched.partition_point(|&at| at.saturating_add(8) <= start);
        if self.patched.get(next).is_some_and(|&at| at < end) {
            return Err(Reason::RelocatedAtLoad);
        }
        if (start..end).any(|at| self.marks.get(Mark::Data, at)) {
            return Err(Reason::ReadAsData);
        }
        for at in start + 1..end {
            if self.marks.get(Mark::Pad, at) {
                return Err(Reason::LandingPadInto);
            }
            if [Mark::Branch, Mark::Table, Mark::Called, Mark::Start].iter().any(|&m| self.marks.get(m, at)) {
                return Err(Reason::BranchInto);
            }
            if self.marks.get(Mark::Taken, at) {
                return Err(Reason::AddressTaken);
            }
        }
        Ok(())
    }

    /// How many bytes from `vaddr` on are padding that nothing reaches.
    ///
    /// Only NOPs and breakpoints count, and only if they go on up to something that is reached or up
    /// to the end of the code: the first bytes of a table could look like padding too.
    pub fn padding<I: Arch>(&self, vaddr: u64) -> u64 {
        let Some(range) = self.text.range(vaddr) else { return 0 };
        let Some(bytes) = self.image.bytes_at(vaddr, range.end - vaddr) else { return 0 };
        let mut decoder = I::decoder(bytes, vaddr);
        let mut at = vaddr;
        while at < range.end && !self.marks.entered(at) {
            if at - vaddr > MAX_PADDING {
                return 0;
            }
            let Some(insn) = decoder.next() else { return 0 };
            let clean = (at + 1..insn.next_ip()).all(|b| !self.marks.entered(b));
            let code = (at..insn.next_ip()).all(|b| !self.marks.get(Mark::Data, b));
            if !(I::is_nop(&insn) || I::is_trap(&insn)) || !clean || !code {
                return 0;
            }
            at = insn.next_ip();
        }
        at - vaddr
    }

    /// Makes a site of checked instructions and the padding that they need to have room for the jump.
    pub fn site<I: Arch>(&self, insns: &[Insn<I::Raw>], jump: Option<Jump>, length: u64) -> Result<Site, Reason> {
        // Without a register for this jump a shorter one is tried, which needs none.
        let jump = jump.ok_or(Reason::TooShort)?;
        let start = insns[0].ip;
        let end = insns[insns.len() - 1].next_ip().max(start + length);
        self.free(start, end)?;
        let bytes = self.image.bytes_at(start, end - start).ok_or(Reason::OutsideText)?;
        I::check(insns, bytes)?;
        Ok(Site::new::<I>(insns, bytes, jump))
    }
}

/// What a jump over a run may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Bytes of the jump.
    pub length: u64,
    /// Registers that hold nothing for whoever called the function.
    pub spare: u32,
}

impl Room {
    /// The same with fewer registers.
    pub fn without(self, live: u32) -> Self {
        Self { spare: self.spare & !live, ..self }
    }
}

/// The run at the entry of a function: from the first instruction behind a landing mark on, as few
/// instructions as the jump has bytes.
pub(crate) fn entry<I: Arch>(
    ground: &Ground<'_, '_>,
    insns: &[Insn<I::Raw>],
    end: u64,
    room: Room,
) -> Result<Site, Reason> {
    let insns = insns.get(I::marks(insns)..).filter(|i| !i.is_empty()).ok_or(Reason::TooShort)?;
    let start = insns[0].ip;
    if I::is_trap(&insns[0]) {
        return Err(Reason::TrapInstruction);
    }
    let site = |run: &[Insn<I::Raw>]| ground.site::<I>(run, I::jump(room.length, run, room.spare), room.length);
    for (index, insn) in insns.iter().enumerate() {
        // The next instruction belongs to a cold part somewhere else.
        if index > 0 && insns[index - 1].next_ip() != insn.ip {
            break;
        }
        I::movable(insn)?;
        let len = insn.next_ip() - start;
        if len >= room.length {
            return site(&insns[..=index]);
        }
        if insn.is_call() {
            return Err(Reason::CallNotLast);
        }
        if !insn.falls_through() {
            // What follows is either padding or another block; a block that nothing marks may be data.
            return if len + ground.padding::<I>(insn.next_ip()) >= room.length {
                site(&insns[..=index])
            } else if insn.next_ip() < end {
                Err(Reason::BranchInto)
            } else {
                Err(Reason::TooShort)
            };
        }
    }
    Err(Reason::TooShort)
}
