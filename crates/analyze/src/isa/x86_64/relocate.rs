//! The copy of displaced instructions. A displaced call pushes its original return address.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction};

use super::movable::movable;
use crate::reason::Reason;
use crate::relocate::{Copy, Relocated};
use crate::site::{Ends, Site};

pub(super) fn relocate(site: &Site, origin: u64, dest: u64) -> Result<Relocated, Reason> {
    let mut copy = Copy::new(dest);
    let mut decoder = Decoder::with_ip(64, site.code(), origin, DecoderOptions::NONE);
    while decoder.can_decode() {
        let offset = decoder.position();
        let insn = decoder.decode();
        movable(&insn)?;
        let bytes = &site.code()[offset..decoder.position()];
        copy.begin(offset)?;
        match insn.flow_control() {
            FlowControl::UnconditionalBranch => copy.jump(insn.near_branch_target())?,
            FlowControl::ConditionalBranch => copy.branch(&insn, bytes)?,
            FlowControl::Call => {
                copy.push(insn.next_ip());
                copy.jump(insn.near_branch_target())?;
            }
            FlowControl::IndirectCall => {
                copy.push(insn.next_ip());
                let constants = decoder.get_constant_offsets(&insn);
                let opcode = opcode_offset(bytes)?;
                copy.plain(&insn, bytes, constants.displacement_offset())?;
                // The same operand, as a jump: FF /2 becomes FF /4.
                let modrm = copy.bytes.len() - bytes.len() + opcode + 1;
                copy.bytes[modrm] = copy.bytes[modrm] & 0b1100_0111 | 4 << 3;
            }
            _ => copy.plain(&insn, bytes, decoder.get_constant_offsets(&insn).displacement_offset())?,
        }
    }
    if site.ends == Ends::FallsThrough {
        copy.jump(origin.wrapping_add(site.code().len() as u64))?;
    }
    Ok(copy.done())
}

impl Copy {
    /// Distance from the end of an instruction that ends `len` bytes from here.
    fn distance(&self, target: u64, len: usize) -> Result<[u8; 4], Reason> {
        let end = self.here().wrapping_add(len as u64);
        let distance = i32::try_from(target.wrapping_sub(end).cast_signed()).map_err(|_| Reason::OutOfRange)?;
        Ok(distance.to_le_bytes())
    }

    fn jump(&mut self, target: u64) -> Result<(), Reason> {
        let distance = self.distance(target, 5)?;
        self.bytes.push(0xe9);
        self.bytes.extend(distance);
        Ok(())
    }

    /// Pushes an address without touching registers or flags: `push imm32` extends the sign, so
    /// that the upper half is stored after it unless it comes out right.
    fn push(&mut self, address: u64) {
        let low = address as u32;
        let high = (address >> 32) as u32;
        self.bytes.push(0x68);
        self.bytes.extend(low.to_le_bytes());
        if i64::from(low.cast_signed()).cast_unsigned() != address {
            self.bytes.extend([0xc7, 0x44, 0x24, 0x04]);
            self.bytes.extend(high.to_le_bytes());
        }
    }

    fn branch(&mut self, insn: &Instruction, bytes: &[u8]) -> Result<(), Reason> {
        let target = insn.near_branch_target();
        if insn.is_jcc_short_or_near() {
            let distance = self.distance(target, 6)?;
            // The condition is the low half of the opcode in both forms: 70+cc and 0F 80+cc.
            let operand = if insn.is_jcc_short() { 1 } else { 4 };
            let opcode = bytes.len().checked_sub(operand + 1).and_then(|i| bytes.get(i));
            self.bytes.extend([0x0f, 0x80 | opcode.ok_or(Reason::Undecodable)? & 0x0f]);
            self.bytes.extend(distance);
            return Ok(());
        }
        // LOOP and JRCXZ only have a short form: they hop over a jump that stands for going on.
        let (_, opcode) = bytes.split_last().ok_or(Reason::Undecodable)?;
        self.bytes.extend_from_slice(opcode);
        self.bytes.extend([0x02, 0xeb, 0x05]);
        self.jump(target)
    }

    /// A copy of the bytes, with an operand relative to the instruction pointer corrected.
    fn plain(&mut self, insn: &Instruction, bytes: &[u8], displacement: usize) -> Result<(), Reason> {
        let start = self.bytes.len();
        let relative = insn.is_ip_rel_memory_operand();
        let distance = if relative { Some(self.distance(insn.ip_rel_memory_address(), bytes.len())?) } else { None };
        self.bytes.extend_from_slice(bytes);
        if let Some(distance) = distance {
            let field = self.bytes.get_mut(start + displacement..start + displacement + 4);
            field.ok_or(Reason::Undecodable)?.copy_from_slice(&distance);
        }
        Ok(())
    }
}

/// Where the opcode of an indirect call is, behind prefixes.
fn opcode_offset(bytes: &[u8]) -> Result<usize, Reason> {
    bytes.iter().position(|&b| b == 0xff).ok_or(Reason::Undecodable)
}
