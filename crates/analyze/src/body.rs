//! The decoded instructions of a function and of its cold parts.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction};

use crate::elf::Image;
use crate::flow::{direct_target, falls_through};
use crate::fragments::Fragment;
use crate::text::{Mark, Marks};

/// All instructions of a function, sorted by address.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub insns: Vec<Instruction>,
    /// Start and end of the function itself, then of its cold parts.
    pub parts: Vec<(u64, u64)>,
    /// Every byte decodes, and every branch inside leads to the start of an instruction.
    pub sound: bool,
}

impl Body {
    /// Decodes a function and its cold parts into `self`, whose memory is used again.
    pub fn load<'f>(&mut self, image: &Image<'_>, parts: impl Iterator<Item = &'f Fragment>) {
        self.insns.clear();
        self.parts.clear();
        self.sound = true;
        self.parts.extend(parts.map(|f| (f.start, f.end)));
        let mut order = self.parts.clone();
        order.sort_unstable();
        for (start, end) in order {
            let Some(bytes) = image.bytes_at(start, end - start) else {
                self.sound = false;
                continue;
            };
            let mut decoder = Decoder::with_ip(64, bytes, start, DecoderOptions::NONE);
            while decoder.can_decode() {
                let insn = decoder.decode();
                if insn.is_invalid() {
                    self.sound = false;
                    break;
                }
                self.insns.push(insn);
            }
        }
        self.sound &= self.insns.windows(2).all(|pair| pair[0].next_ip() <= pair[1].ip());
        self.sound &= self.insns.iter().filter_map(direct_target).all(|t| !self.contains(t) || self.index(t).is_some());
    }

    /// Whether an address lies in the function or in a cold part of it.
    pub fn contains(&self, vaddr: u64) -> bool {
        self.parts.iter().any(|&(start, end)| vaddr >= start && vaddr < end)
    }

    /// The instruction that begins at an address.
    pub fn index(&self, vaddr: u64) -> Option<usize> {
        self.insns.binary_search_by_key(&vaddr, Instruction::ip).ok()
    }

    /// The instruction in front of this one, if control can come from it straight on.
    pub fn before(&self, index: usize) -> Option<usize> {
        let before = index.checked_sub(1)?;
        (self.insns[before].next_ip() == self.insns[index].ip() && falls_through(&self.insns[before])).then_some(before)
    }

    /// Which instructions control can reach from the entry. Calls are taken to return.
    ///
    /// Bytes that are not reached may be data.
    pub fn reached(&self, marks: &Marks) -> Vec<bool> {
        let mut reached = vec![false; self.insns.len()];
        let entry = self.parts.first().and_then(|&(start, _)| self.index(start));
        let mut work: Vec<usize> = entry.into_iter().collect();
        for (index, insn) in self.insns.iter().enumerate() {
            let ip = insn.ip();
            let other = [Mark::Start, Mark::Called, Mark::Taken, Mark::Table, Mark::Pad];
            // The start of a cold part is a symbol, but only reached if something jumps there.
            let part = self.parts[1..].iter().any(|p| p.0 == ip);
            if other.iter().any(|&m| marks.get(m, ip) && !(part && m == Mark::Start)) {
                work.push(index);
            }
        }
        while let Some(mut index) = work.pop() {
            while !reached[index] {
                reached[index] = true;
                let insn = &self.insns[index];
                let calls = matches!(insn.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
                if !calls && let Some(target) = direct_target(insn).and_then(|t| self.index(t)) {
                    work.push(target);
                }
                if !falls_through(insn) || self.insns.get(index + 1).is_none_or(|n| n.ip() != insn.next_ip()) {
                    break;
                }
                index += 1;
            }
        }
        reached
    }
}
