//! Which instructions can be displaced, and the run at the entry of a function.

use core::ops::Range;

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

use crate::elf::Image;
use crate::flow::falls_through;
use crate::reason::{Obstacle, Reason};
use crate::site::{JUMP, Site};
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
    pub fn padding(&self, vaddr: u64) -> u64 {
        let Some(range) = self.text.range(vaddr) else { return 0 };
        let Some(bytes) = self.image.bytes_at(vaddr, range.end - vaddr) else { return 0 };
        let mut decoder = Decoder::with_ip(64, bytes, vaddr, DecoderOptions::NONE);
        let mut at = vaddr;
        while at < range.end && !self.marks.entered(at) {
            if at - vaddr > MAX_PADDING {
                return 0;
            }
            let insn = decoder.decode();
            let nop = insn.mnemonic() == Mnemonic::Nop || insn.code() == Code::Int3;
            let clean = (at + 1..insn.next_ip()).all(|b| !self.marks.entered(b));
            let code = (at..insn.next_ip()).all(|b| !self.marks.get(Mark::Data, b));
            if insn.is_invalid() || !nop || !clean || !code {
                return 0;
            }
            at = insn.next_ip();
        }
        at - vaddr
    }

    /// Makes a site of checked instructions and the padding that they need to have five bytes.
    pub fn site(&self, insns: &[Instruction]) -> Result<Site, Reason> {
        let start = insns[0].ip();
        let end = insns[insns.len() - 1].next_ip().max(start + JUMP);
        self.free(start, end)?;
        let bytes = self.image.bytes_at(start, end - start).ok_or(Reason::OutsideText)?;
        for insn in insns.iter().filter(|i| i.op0_kind() == OpKind::NearBranch64) {
            let from = (insn.ip() - start) as usize;
            if odd_branch(&bytes[from..from + insn.len()]) {
                return Err(Reason::NotRelocatable(Obstacle::OddBranch));
            }
        }
        Ok(Site::new(insns, bytes))
    }
}

/// The run at the entry of a function: from the first instruction behind `endbr64` on, as few
/// instructions as have five bytes.
pub(crate) fn entry(ground: &Ground<'_, '_>, insns: &[Instruction], end: u64) -> Result<Site, Reason> {
    let skip = usize::from(insns.first().is_some_and(|i| i.mnemonic() == Mnemonic::Endbr64));
    let insns = insns.get(skip..).filter(|i| !i.is_empty()).ok_or(Reason::TooShort)?;
    let start = insns[0].ip();
    if insns[0].code() == Code::Int3 {
        return Err(Reason::TrapInstruction);
    }
    for (index, insn) in insns.iter().enumerate() {
        // The next instruction belongs to a cold part somewhere else.
        if index > 0 && insns[index - 1].next_ip() != insn.ip() {
            break;
        }
        movable(insn)?;
        let len = insn.next_ip() - start;
        let call = matches!(insn.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
        if len >= JUMP {
            return ground.site(&insns[..=index]);
        }
        if call {
            return Err(Reason::CallNotLast);
        }
        if !falls_through(insn) {
            // What follows is either padding or another block; a block that nothing marks may be data.
            return if len + ground.padding(insn.next_ip()) >= JUMP {
                ground.site(&insns[..=index])
            } else if insn.next_ip() < end {
                Err(Reason::BranchInto)
            } else {
                Err(Reason::TooShort)
            };
        }
    }
    Err(Reason::TooShort)
}

/// A branch with an operand-size prefix that no REX.W overrides: 16 bits of target on AMD, 32 on Intel.
fn odd_branch(bytes: &[u8]) -> bool {
    let prefix = |b: &&u8| matches!(**b, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3 | 0x40..=0x4f);
    let prefixes = bytes.iter().take_while(prefix);
    let wide = prefixes.clone().any(|b| (0x48..=0x4f).contains(b));
    prefixes.clone().any(|&b| b == 0x66) && !wide
}

/// Whether an instruction does the same from another address, given what `relocate` can do.
pub(crate) fn movable(insn: &Instruction) -> Result<(), Reason> {
    let cannot = |what| Err(Reason::NotRelocatable(what));
    match insn.mnemonic() {
        Mnemonic::INVALID => return Err(Reason::Undecodable),
        Mnemonic::Int3 => return Err(Reason::TrapInstruction),
        Mnemonic::Syscall | Mnemonic::Sysenter | Mnemonic::Int | Mnemonic::Into | Mnemonic::Int1 => {
            return Err(Reason::SyscallInside);
        }
        Mnemonic::Endbr64 | Mnemonic::Endbr32 => return cannot(Obstacle::LandingMark),
        Mnemonic::Hlt => return cannot(Obstacle::Fault),
        _ => {}
    }
    if insn.memory_base() == Register::EIP {
        return cannot(Obstacle::EipRelative);
    }
    if matches!(insn.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32) {
        return cannot(Obstacle::OddBranch);
    }
    match insn.flow_control() {
        FlowControl::Next => Ok(()),
        FlowControl::UnconditionalBranch if insn.is_jmp_short_or_near() => Ok(()),
        FlowControl::ConditionalBranch
            if insn.is_jcc_short_or_near() || insn.is_jcx_short() || insn.is_loop() || insn.is_loopcc() =>
        {
            Ok(())
        }
        FlowControl::IndirectBranch if insn.code() == Code::Jmp_rm64 => Ok(()),
        FlowControl::Call if insn.code() == Code::Call_rel32_64 => Ok(()),
        FlowControl::IndirectCall if insn.code() == Code::Call_rm64 => {
            let stack = insn.op0_kind() == OpKind::Register && insn.op0_register() == Register::RSP
                || insn.op0_kind() == OpKind::Memory && (insn.memory_base().full_register() == Register::RSP);
            if stack { cannot(Obstacle::CallThroughStack) } else { Ok(()) }
        }
        FlowControl::Return if matches!(insn.code(), Code::Retnq | Code::Retnq_imm16) => Ok(()),
        FlowControl::XbeginXabortXend if insn.mnemonic() != Mnemonic::Xbegin => Ok(()),
        FlowControl::XbeginXabortXend => cannot(Obstacle::Transaction),
        FlowControl::Exception => cannot(Obstacle::Fault),
        FlowControl::Interrupt => Err(Reason::SyscallInside),
        _ => cannot(Obstacle::FarTransfer),
    }
}
