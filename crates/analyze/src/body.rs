//! The decoded instructions of a function and of its cold parts.

use core::ops::ControlFlow;

use crate::elf::Image;
use crate::fragments::Fragment;
use crate::isa::{Arch, Flow, Insn, each};
use crate::text::{Mark, Marks};

/// Instructions from a load-exclusive on that are looked through for its store.
const LONGEST_SEQUENCE: usize = 64;

/// All instructions of a function, sorted by address.
#[derive(Debug)]
pub(crate) struct Body<I: Arch> {
    pub insns: Vec<Insn<I::Raw>>,
    /// Start and end of the function itself, then of its cold parts.
    pub parts: Vec<(u64, u64)>,
    /// Every byte decodes, and every branch inside leads to the start of an instruction.
    pub sound: bool,
}

impl<I: Arch> Default for Body<I> {
    fn default() -> Self {
        Self { insns: Vec::new(), parts: Vec::new(), sound: true }
    }
}

impl<I: Arch> Body<I> {
    /// Decodes a function and its cold parts into `self`, whose memory is used again.
    pub fn load<'f>(&mut self, image: &Image<'_>, marks: &Marks, parts: impl Iterator<Item = &'f Fragment>) {
        self.insns.clear();
        self.parts.clear();
        self.parts.extend(parts.map(|f| (f.start, f.end)));
        self.sound = true;
        let mut order = self.parts.clone();
        order.sort_unstable();
        for part in order {
            let read = each::<I>(image, marks, part, |mut insn| {
                match insn.flow {
                    Flow::Invalid => return ControlFlow::Break(()),
                    Flow::Jump(to) if !(part.0..part.1).contains(&to) && I::is_detour(image, &insn, to) => {
                        insn.flow = Flow::Next;
                    }
                    _ => {}
                }
                self.insns.push(insn);
                ControlFlow::Continue(())
            });
            self.sound &= read.is_continue();
        }
        self.sound &= self.insns.windows(2).all(|pair| pair[0].next_ip() <= pair[1].ip);
        self.sound &= self.insns.iter().filter_map(Insn::target).all(|t| !self.contains(t) || self.index(t).is_some());
    }

    /// Whether an address lies in the function or in a cold part of it.
    pub fn contains(&self, vaddr: u64) -> bool {
        self.parts.iter().any(|&(start, end)| vaddr >= start && vaddr < end)
    }

    /// The instruction that begins at an address.
    pub fn index(&self, vaddr: u64) -> Option<usize> {
        self.insns.binary_search_by_key(&vaddr, |i| i.ip).ok()
    }

    /// The instruction in front of this one, if control can come from it straight on.
    pub fn before(&self, index: usize) -> Option<usize> {
        let before = index.checked_sub(1)?;
        (self.insns[before].next_ip() == self.insns[index].ip && self.insns[before].falls_through()).then_some(before)
    }

    /// Where control may go from an instruction inside the function: on, and to its target. Calls are taken to return.
    pub fn after(&self, index: usize) -> impl Iterator<Item = usize> {
        let insn = &self.insns[index];
        let next = self.insns.get(index + 1).filter(|n| insn.falls_through() && n.ip == insn.next_ip());
        let target = insn.jump_target().and_then(|t| self.index(t));
        next.map(|_| index + 1).into_iter().chain(target)
    }

    /// Marks the instructions that lie on a way from one that opens a sequence to one that closes it, both included.
    pub fn between(&self, opens: impl Fn(I::Raw) -> bool, closes: impl Fn(I::Raw) -> bool, inside: &mut [bool]) {
        let opening = (0..self.insns.len()).filter(|&i| opens(self.insns[i].raw));
        for first in opening {
            // What control can come to from here, in that order, up to where the sequence ends or is given up.
            let mut ways = vec![first];
            let mut next = 0;
            while let Some(&at) = ways.get(next) {
                next += 1;
                if closes(self.insns[at].raw) || self.insns[at].is_call() {
                    continue;
                }
                let new: Vec<usize> = self.after(at).filter(|after| !ways.contains(after)).collect();
                ways.extend(new);
                // No processor promises anything for a sequence this long.
                if ways.len() > LONGEST_SEQUENCE {
                    break;
                }
            }
            let mut leads: Vec<bool> = ways.iter().map(|&at| closes(self.insns[at].raw)).collect();
            while let Some(more) = (0..ways.len()).find(|&w| {
                !leads[w]
                    && self.after(ways[w]).any(|to| ways.iter().zip(&leads).any(|(&at, &leads)| leads && at == to))
            }) {
                leads[more] = true;
            }
            ways.iter().zip(&leads).filter(|(_, leads)| **leads).for_each(|(&at, _)| inside[at] = true);
        }
    }

    /// Which instructions control can reach from the entry. Calls are taken to return.
    ///
    /// Bytes that are not reached may be data.
    pub fn reached(&self, marks: &Marks) -> Vec<bool> {
        let mut reached = vec![false; self.insns.len()];
        let entry = self.parts.first().and_then(|&(start, _)| self.index(start));
        let mut work: Vec<usize> = entry.into_iter().collect();
        for (index, insn) in self.insns.iter().enumerate() {
            let ip = insn.ip;
            let other = [Mark::Start, Mark::Called, Mark::Taken, Mark::Table, Mark::Pad];
            // The start of a cold part is a symbol, but only reached if something jumps there.
            let part = self.parts[1..].iter().any(|p| p.0 == ip);
            if other.iter().any(|&m| marks.get(m, ip) && !(part && m == Mark::Start)) {
                work.push(index);
            }
        }
        while let Some(index) = work.pop() {
            if !reached[index] {
                reached[index] = true;
                work.extend(self.after(index));
            }
        }
        reached
    }
}
