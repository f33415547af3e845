//! The copy of displaced instructions that runs instead of them, somewhere else.
//!
//! The copy does exactly what the original does: no register, flag or stack slot differs, and a
//! displaced call pushes its original return address, so that unwinders never see the copy.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction};

use crate::displace::movable;
use crate::reason::Reason;
use crate::site::{Ends, Site};

/// Most bytes that a copy can have, with its jump back.
pub const MAX_COPY: usize = 64;

/// A copy of the displaced instructions for one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocated {
    /// Machine code, at most [`MAX_COPY`] bytes, to be placed at the address it was made for.
    pub bytes: Vec<u8>,
    /// Offset in `bytes` of the copy of the instruction that began at this offset in the site;
    /// `0xff` where none began. A thread that was at `vaddr + i` goes on at copy `+ at[i]`.
    pub at: [u8; 5],
}

impl Site {
    /// Makes the copy of the displaced instructions.
    ///
    /// `bias` is what was added to the addresses of the file when it was loaded, `dest` the run-time
    /// address of the copy. The copy ends with a jump behind the displaced instructions, unless the
    /// last one never goes on there.
    ///
    /// # Errors
    /// [`Reason::OutOfRange`] when `dest` is further than 2 GiB from something that the instructions
    /// refer to; other reasons only if `bias` makes no sense.
    pub fn relocate(&self, bias: u64, dest: u64) -> Result<Relocated, Reason> {
        let origin = self.vaddr.wrapping_add(bias);
        let mut copy = Copy { bytes: Vec::with_capacity(32), dest };
        let mut at = [0xff; 5];
        let mut decoder = Decoder::with_ip(64, self.code(), origin, DecoderOptions::NONE);
        while decoder.can_decode() {
            let offset = decoder.position();
            let insn = decoder.decode();
            movable(&insn)?;
            let bytes = &self.code()[offset..decoder.position()];
            // A site has no instruction that begins behind its fifth byte.
            *at.get_mut(offset).ok_or(Reason::Undecodable)? = copy.bytes.len() as u8;
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
        if self.ends == Ends::FallsThrough {
            copy.jump(origin.wrapping_add(self.code().len() as u64))?;
        }
        Ok(Relocated { bytes: copy.bytes, at })
    }
}

struct Copy {
    bytes: Vec<u8>,
    dest: u64,
}

impl Copy {
    /// Distance from the end of an instruction that ends `len` bytes from here.
    fn distance(&self, target: u64, len: usize) -> Result<[u8; 4], Reason> {
        let end = self.dest.wrapping_add((self.bytes.len() + len) as u64);
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
