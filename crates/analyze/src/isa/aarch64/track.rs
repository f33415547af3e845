//! What registers hold while code is read from front to back: addresses that ADR, ADRP and ADD make.

use super::decode::{Relative, Word};
use crate::isa::{Insn, Reference};

/// Known values of X0 to X30.
#[derive(Clone, Debug, Default)]
pub(crate) struct Track {
    values: [Option<u64>; 31],
}

impl Track {
    /// What a register holds, if it is known.
    pub fn get(&self, register: u8) -> Option<u64> {
        self.values.get(usize::from(register)).copied().flatten()
    }

    fn set(&mut self, register: u8, value: Option<u64>) {
        if let Some(slot) = self.values.get_mut(usize::from(register)) {
            *slot = value;
        }
    }

    /// Goes over one instruction and tells what it refers to. In code for a fixed address MOVZ and MOVK may make one, too.
    pub fn step(&mut self, insn: &Insn<Word>, fixed: bool, found: &mut impl FnMut(Reference)) {
        let word = insn.raw;
        let base = self.get(word.rn());
        let before = self.get(word.rd());
        let writes = word.writes();
        (0..31).filter(|r| writes >> r & 1 != 0).for_each(|r| self.set(r, None));
        match word.relative(insn.ip) {
            Some(Relative::Adr { rd, to }) => {
                self.set(rd, Some(to));
                found(Reference::Address(to));
            }
            Some(Relative::Adrp { rd, page }) => self.set(rd, Some(page)),
            Some(Relative::Literal { load, at, .. }) => found(Reference::Bytes(at, load.size())),
            None => self.derived(word, base, before, fixed, found),
        }
    }

    fn derived(
        &mut self,
        word: Word,
        base: Option<u64>,
        before: Option<u64>,
        fixed: bool,
        found: &mut impl FnMut(Reference),
    ) {
        // ADD with an immediate, perhaps shifted by 12.
        if word.is(0xff80_0000, 0x9100_0000) {
            let shift = 12 * word.field(22, 1);
            let value = base.map(|b| b.wrapping_add(u64::from(word.field(10, 12)) << shift));
            self.set(word.rd(), value);
            found_address(value, found);
        } else if word.is(0x3b00_0000, 0x3900_0000) {
            // A load or store at an offset that is scaled by its size; of vectors, the size has one more bit.
            let vector = word.field(26, 1) == 1;
            let scale = word.field(30, 2) | if vector { word.field(23, 1) << 2 } else { 0 };
            if let Some(base) = base {
                found(Reference::Bytes(base.wrapping_add(u64::from(word.field(10, 12)) << scale), 1 << scale));
            }
        } else if word.is(0xffe0_ffe0, 0xaa00_03e0) {
            let from = self.get(word.rm());
            self.set(word.rd(), from);
        } else if fixed && word.is(0xff80_0000, 0xd280_0000) {
            self.set(word.rd(), Some(u64::from(word.field(5, 16)) << (16 * word.field(21, 2))));
        } else if fixed && word.is(0xff80_0000, 0xf280_0000) {
            let shift = 16 * word.field(21, 2);
            let value = before.map(|b| b & !(0xffff << shift) | u64::from(word.field(5, 16)) << shift);
            self.set(word.rd(), value);
            found_address(value, found);
        }
    }
}

fn found_address(value: Option<u64>, found: &mut impl FnMut(Reference)) {
    if let Some(value) = value {
        found(Reference::Address(value));
    }
}
