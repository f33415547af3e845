//! The copy of the displaced instructions.
//!
//! A copy jumps further than a branch or a JAL reaches through the register of the site's own jump, which holds nothing;
//! a site without one has only what JAL reaches. AUIPC becomes AUIPC and ADDI of the same register, with the value that
//! it would have made in place. A call's return address goes into its link register before the jump.

use textpoke_core::isa::Reg;
use textpoke_core::isa::riscv64::{ZERO, addi, auipc, far, jal};

use super::decode::{Instructions, Op, Word};
use super::movable::movable;
use crate::isa::{Flow, Insn};
use crate::reason::Reason;
use crate::relocate::{Copy, Relocated};
use crate::site::{Ends, Jump, Site};

struct Maker {
    copy: Copy,
    /// The register that holds nothing.
    by: Option<Reg>,
}

pub(super) fn relocate(site: &Site, origin: u64, dest: u64) -> Result<Relocated, Reason> {
    let by = match site.jump {
        Jump::One => None,
        Jump::Pair { by } => Reg::new(by),
    };
    let mut maker = Maker { copy: Copy::new(dest), by };
    for insn in Instructions::new(site.code(), origin) {
        movable(&insn)?;
        maker.copy.begin((insn.ip - origin) as usize)?;
        maker.one(&insn)?;
    }
    if site.ends == Ends::FallsThrough {
        maker.jump(origin.wrapping_add(site.code().len() as u64))?;
    }
    Ok(maker.copy.done())
}

fn reg(number: u8) -> Result<Reg, Reason> {
    Reg::new(number).ok_or(Reason::Undecodable)
}

impl Maker {
    fn one(&mut self, insn: &Insn<Word>) -> Result<(), Reason> {
        match (insn.flow, insn.raw.op(insn.ip)) {
            (Flow::Call(to), Op::Jal { link, .. } | Op::Jalr { link, .. }) => {
                self.address(reg(link)?, insn.next_ip())?;
                self.jump(to)
            }
            (Flow::CallIndirect, Op::Jalr { link, base, imm }) => {
                self.address(reg(link)?, insn.next_ip())?;
                // JALR with x0 for the link, whichever form it had.
                self.copy.put((0x67 | u32::from(base) << 15 | (imm as u32) << 20).to_le_bytes());
                Ok(())
            }
            (Flow::Jump(to), Op::Jal { .. }) => self.jump(to),
            (_, Op::Branch { funct, a, b, to }) => self.branch(funct, a, b, to),
            (_, Op::Auipc { rd, value }) => self.address(reg(rd)?, value),
            _ => {
                let bytes = insn.raw.0.to_le_bytes();
                self.copy.put(&bytes[..usize::from(insn.len)]);
                Ok(())
            }
        }
    }

    fn jump(&mut self, to: u64) -> Result<(), Reason> {
        let here = self.copy.here();
        if let Ok(near) = jal(ZERO, here, to) {
            self.copy.put(near);
            return Ok(());
        }
        let by = self.by.ok_or(Reason::OutOfRange)?;
        let [upper, jump] = far(ZERO, by, here, to).map_err(|_| Reason::OutOfRange)?;
        self.copy.put(upper);
        self.copy.put(jump);
        Ok(())
    }

    /// The opposite branch over a jump.
    fn branch(&mut self, funct: u8, a: u8, b: u8, to: u64) -> Result<(), Reason> {
        let mark = self.copy.bytes.len();
        self.copy.put([0; 4]);
        self.jump(to)?;
        let over = (self.copy.bytes.len() - mark) as u32;
        // Bits 4 to 1 of the distance go to bit 8; it is 8 or 12. The lowest bit of the function turns it round.
        let opposite = u32::from(funct ^ 1) << 12;
        let word = 0x63 | over << 7 | opposite | u32::from(a) << 15 | u32::from(b) << 20;
        self.copy.bytes[mark..mark + 4].copy_from_slice(&word.to_le_bytes());
        Ok(())
    }

    /// Makes an address in a register.
    fn address(&mut self, reg: Reg, to: u64) -> Result<(), Reason> {
        let distance = to.wrapping_sub(self.copy.here()).cast_signed();
        let rounded = distance.checked_add(0x800).map(|d| d & !0xfff).and_then(|d| i32::try_from(d).ok());
        let upper = rounded.ok_or(Reason::OutOfRange)?;
        let encoded = auipc(reg, upper).and_then(|u| Ok([u, addi(reg, reg, (distance - i64::from(upper)) as i16)?]));
        self.copy.put(encoded.map_err(|_| Reason::OutOfRange)?.concat());
        Ok(())
    }
}
