//! RISC-V: the registers that entry code saves.
//!
//! An EBREAK traps with `sepc` at itself, and what it may stand for changes registers only, so that entry code needs no gap
//! below the interrupted stack. But ADDI may be to the stack pointer, which must be restored from here, then, and last. It
//! tells breakpoints from other exceptions by `scause` (3).

use textpoke_core::isa::{Isa, Riscv64};
use textpoke_core::trap::{Effect, Regs};

use crate::trap::Frame;

/// What entry code saves, in memory order: 272 bytes, a multiple of 16 as `sp` wants it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Saved {
    /// x0, which is zero, to x31; x2 is the stack pointer.
    pub x: [u64; 32],
    /// The program counter: `sepc`.
    pub pc: u64,
    /// `sstatus`.
    pub status: u64,
}

impl Frame for Saved {
    type Isa = Riscv64;

    fn trapped_at(&self) -> Option<u64> {
        Some(self.pc.wrapping_sub(Riscv64::TRAP_PC_ADVANCE))
    }

    fn regs(&self) -> Regs {
        Regs { flags: 0, x: self.x }
    }

    unsafe fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Goto { pc } => self.pc = pc,
            Effect::Set { reg, value, pc } => {
                self.x[usize::from(reg)] = value;
                self.pc = pc;
            }
            // Calls and returns of this instruction set use registers and come as the two above.
            Effect::Call { ret, pc } => {
                self.x[1] = ret;
                self.pc = pc;
            }
            Effect::Return { .. } => self.pc = self.x[1],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_change_what_they_say_and_nothing_else() {
        let mut saved = Saved { pc: 0x1000, status: 0x120, ..Saved::default() };
        assert_eq!(saved.trapped_at(), Some(0x1000));
        // SAFETY: not about the stack.
        unsafe { saved.apply(Effect::Set { reg: 5, value: 0x1004, pc: 0x2000 }) };
        assert_eq!((saved.pc, saved.status, saved.x[5]), (0x2000, 0x120, 0x1004));
        assert_eq!(saved.x.iter().filter(|&&x| x != 0).count(), 1);
        // SAFETY: as above.
        unsafe { saved.apply(Effect::Goto { pc: 0x3000 }) };
        assert_eq!((saved.pc, saved.regs().x[5]), (0x3000, 0x1004));
        assert_eq!(size_of::<Saved>(), 272);
    }
}
