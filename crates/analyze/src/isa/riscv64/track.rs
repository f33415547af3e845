//! What registers hold while code is read from front to back: addresses that AUIPC, LUI and ADDI make.

use super::decode::{Op, Word};
use crate::isa::{Insn, Reference};

/// Known values of x0 to x31.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    values: [Option<u64>; 32],
}

impl Default for Track {
    fn default() -> Self {
        let mut values = [None; 32];
        values[0] = Some(0);
        Self { values }
    }
}

impl Track {
    /// What a register holds, if it is known.
    pub fn get(&self, register: u8) -> Option<u64> {
        self.values.get(usize::from(register)).copied().flatten()
    }

    /// Goes over one instruction and tells what it refers to. What AUIPC or LUI makes alone is no address yet. LUI makes addresses only in code for a fixed one.
    pub fn step(&mut self, insn: &Insn<Word>, fixed: bool, found: &mut impl FnMut(Reference)) {
        let op = insn.raw.op(insn.ip);
        let written = match op {
            Op::Auipc { value, .. } => Some(value),
            Op::Upper { value, .. } => Some(value).filter(|_| fixed),
            // An immediate added to nothing is a number.
            Op::AddImm { base: base @ 1.., imm, .. } => self.get(base).map(|b| b.wrapping_add_signed(imm)),
            _ => None,
        };
        match op {
            Op::AddImm { imm, .. } if imm != 0 || insn.raw.is_small() => {
                written.into_iter().for_each(|at| found(Reference::Address(at)));
            }
            Op::Load { base: base @ 1.., imm, size, .. } | Op::Store { base: base @ 1.., imm, size } => {
                let at = self.get(base).map(|b| b.wrapping_add_signed(imm));
                at.into_iter().for_each(|at| found(Reference::Bytes(at, u64::from(size))));
            }
            _ => {}
        }
        let writes = insn.raw.writes(insn.flow);
        for (r, value) in self.values.iter_mut().enumerate().skip(1).filter(|(r, _)| writes >> r & 1 != 0) {
            *value = None;
            if insn.raw.written() >> r & 1 != 0 {
                *value = written;
            }
        }
    }
}
