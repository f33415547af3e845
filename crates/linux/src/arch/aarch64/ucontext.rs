//! The machine context of an interrupted thread in its signal frame (AArch64 `struct ucontext`), and how an [`Effect`] is
//! applied to it.

use textpoke_core::trap::{Effect, Regs};

/// PSTATE.BTYPE: which kind of indirect branch was just executed. A guarded page checks the next instruction against it.
const BTYPE: u64 = 3 << 10;

/// The signal frame's `struct sigcontext` up to the records for floating point and more, which stay as they are.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Registers {
    /// Address of a fault, for signals that have one.
    pub fault: u64,
    /// X0 to X30.
    pub x: [u64; 31],
    /// Stack pointer.
    pub sp: u64,
    /// Program counter.
    pub pc: u64,
    /// Condition flags and more.
    pub pstate: u64,
}

/// The signal frame's context.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UContext {
    flags: u64,
    link: u64,
    /// Alternate stack at the time.
    stack: [u64; 3],
    /// The signal mask that the thread goes on with.
    pub sigmask: u64,
    /// Room for a larger mask.
    reserved: [u64; 15],
    /// The interrupted registers; what is written here is what the thread goes on with.
    pub regs: Registers,
}

impl Registers {
    /// The program counter.
    pub fn pc(&self) -> u64 {
        self.pc
    }

    /// The program counter, to be changed. Whoever changes it without [`Registers::apply`] answers for BTYPE.
    pub fn pc_mut(&mut self) -> &mut u64 {
        &mut self.pc
    }

    /// The stack pointer.
    pub fn sp(&self) -> u64 {
        self.sp
    }

    /// What [`textpoke_core::trap::resolve`] reads.
    pub fn for_resolve(&self) -> Regs {
        let mut regs = Regs { flags: self.pstate, ..Regs::default() };
        regs.x[..31].copy_from_slice(&self.x);
        regs
    }

    /// Makes the change, and clears BTYPE, as executing an instruction does: the trap may have been reached by an indirect
    /// branch, and what comes next need not be a landing pad (Linux does the same when it skips an instruction,
    /// `arm64_skip_faulting_instruction`).
    ///
    /// # Safety
    /// The interrupted thread must have been about to execute an instruction that has this effect.
    pub unsafe fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Goto { pc } => self.pc = pc,
            Effect::Set { reg, value, pc } => {
                if let Some(x) = self.x.get_mut(usize::from(reg)) {
                    *x = value;
                }
                self.pc = pc;
            }
            Effect::Call { .. } | Effect::Return { .. } => {
                debug_assert!(false, "no instruction of A64 moves the stack and branches");
            }
        }
        self.pstate &= !BTYPE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(core::mem::offset_of!(UContext, sigmask), 40);
        assert_eq!(core::mem::offset_of!(UContext, regs), 176);
        assert_eq!(core::mem::offset_of!(UContext, regs.pc), 440);
    }

    #[test]
    fn effects_reach_their_registers_and_clear_btype() {
        let mut regs = Registers { pstate: 0x6000_0c00, ..Registers::default() };
        for n in 0..31 {
            // SAFETY: touches registers only.
            unsafe { regs.apply(Effect::Set { reg: n, value: u64::from(n) + 100, pc: 7 }) };
        }
        assert_eq!((regs.x[0], regs.x[30], regs.pc, regs.pstate), (100, 130, 7, 0x6000_0000));
        let seen = regs.for_resolve();
        assert_eq!((seen.flags, seen.x[9], seen.x[30], seen.x[31]), (0x6000_0000, 109, 130, 0));
        // SAFETY: as above.
        unsafe { regs.apply(Effect::Goto { pc: 0x40 }) };
        assert_eq!((regs.pc, regs.x[7]), (0x40, 107));
    }
}
