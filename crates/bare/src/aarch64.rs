//! AArch64: the registers that entry code saves.
//!
//! A BRK traps with the program counter at itself, and what it may stand for changes registers only, so that entry code needs
//! no gap below the interrupted stack. It tells BRKs from other exceptions by ESR_EL1 (class 0x3c).

use textpoke_core::isa::{Aarch64, Isa};
use textpoke_core::trap::{Effect, Regs};

use crate::trap::Frame;

/// PSTATE.BTYPE: by what kind of branch the instruction was reached.
const BTYPE: u64 = 3 << 10;

/// What entry code saves, in memory order: 272 bytes, a multiple of 16 as SP wants it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Saved {
    /// X0 to X30.
    pub x: [u64; 31],
    /// The stack pointer. Entry code that restores it by adding need not look.
    pub sp: u64,
    /// The program counter: ELR_EL1.
    pub pc: u64,
    /// PSTATE: SPSR_EL1.
    pub pstate: u64,
}

impl Saved {
    /// Goes on at `pc` as behind an instruction that is no branch through a register: PSTATE.BTYPE is zero there. The BRK was
    /// reached with the one of the instruction that it stands for, and kept it. On a guarded page that would ask for a BTI.
    fn go_on(&mut self, pc: u64) {
        self.pc = pc;
        self.pstate &= !BTYPE;
    }
}

impl Frame for Saved {
    type Isa = Aarch64;

    fn trapped_at(&self) -> Option<u64> {
        Some(self.pc.wrapping_sub(Aarch64::TRAP_PC_ADVANCE))
    }

    fn regs(&self) -> Regs {
        let mut regs = Regs { flags: self.pstate, ..Regs::default() };
        regs.x[..31].copy_from_slice(&self.x);
        regs
    }

    unsafe fn apply(&mut self, effect: Effect) {
        match effect {
            // The trap is gone: what stands there now is executed the way it was reached.
            Effect::Goto { pc } if pc == self.pc => {}
            Effect::Goto { pc } => self.go_on(pc),
            Effect::Set { reg, value, pc } => {
                self.x[usize::from(reg)] = value;
                self.go_on(pc);
            }
            // Calls and returns of this instruction set use X30 and come as the two above.
            Effect::Call { ret, pc } => {
                self.x[30] = ret;
                self.go_on(pc);
            }
            Effect::Return { .. } => self.go_on(self.x[30]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trapped() -> Saved {
        let mut saved = Saved { pc: 0x1000, pstate: 0x8000_0805, ..Saved::default() };
        saved.x.iter_mut().enumerate().for_each(|(i, x)| *x = i as u64);
        saved
    }

    #[test]
    fn acting_as_an_instruction_forgets_how_it_was_reached() {
        for effect in [Effect::Goto { pc: 0x2000 }, Effect::Set { reg: 30, value: 0x1004, pc: 0x2000 }] {
            let mut saved = trapped();
            // SAFETY: neither is about the stack.
            unsafe { saved.apply(effect) };
            assert_eq!((saved.pc, saved.pstate), (0x2000, 0x8000_0005));
            assert_eq!(saved.x[30], if let Effect::Set { value, .. } = effect { value } else { 30 });
            assert!(saved.x[..30].iter().enumerate().all(|(i, &x)| x == i as u64));
        }
    }

    #[test]
    fn a_trap_that_is_gone_leaves_everything_as_it_was() {
        let mut saved = trapped();
        assert_eq!(saved.trapped_at(), Some(0x1000));
        // SAFETY: not about the stack.
        unsafe { saved.apply(Effect::Goto { pc: 0x1000 }) };
        assert_eq!((saved.pc, saved.pstate), (0x1000, 0x8000_0805));
    }

    #[test]
    fn the_registers_are_those_that_instructions_number() {
        let regs = trapped().regs();
        assert_eq!(regs.flags, 0x8000_0805);
        assert!((0..31).all(|i| regs.x[i] == i as u64) && regs.x[31] == 0);
        assert_eq!(size_of::<Saved>(), 272);
    }
}
