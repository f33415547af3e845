//! The machine context of an interrupted thread in its signal frame (RISC-V `struct ucontext`), and how an [`Effect`] is
//! applied to it.

use textpoke_core::trap::{Effect, Regs};

/// The signal frame's `struct user_regs_struct`: the program counter, then x1 to x31. What follows it, floating point and
/// more, stays as it is.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Registers {
    /// Program counter.
    pub pc: u64,
    /// x1 to x31.
    pub x: [u64; 31],
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

    /// The program counter, to be changed.
    pub fn pc_mut(&mut self) -> &mut u64 {
        &mut self.pc
    }

    /// The stack pointer, x2.
    pub fn sp(&self) -> u64 {
        self.x[1]
    }

    /// What [`textpoke_core::trap::resolve`] reads.
    pub fn for_resolve(&self) -> Regs {
        let mut regs = Regs::default();
        regs.x[1..].copy_from_slice(&self.x);
        regs
    }

    /// Makes the change.
    ///
    /// # Safety
    /// The interrupted thread must have been about to execute an instruction that has this effect.
    pub unsafe fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Goto { pc } => self.pc = pc,
            Effect::Set { reg, value, pc } => {
                if let Some(x) = usize::from(reg).checked_sub(1).and_then(|i| self.x.get_mut(i)) {
                    *x = value;
                }
                self.pc = pc;
            }
            Effect::Call { .. } | Effect::Return { .. } => {
                debug_assert!(false, "no instruction of RISC-V moves the stack and branches");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(core::mem::offset_of!(UContext, sigmask), 40);
        assert_eq!(core::mem::offset_of!(UContext, regs), 176);
        assert_eq!(size_of::<Registers>(), 256);
    }

    #[test]
    fn effects_reach_their_registers() {
        let mut regs = Registers::default();
        for n in 0..32 {
            // SAFETY: touches registers only.
            unsafe { regs.apply(Effect::Set { reg: n, value: u64::from(n) + 100, pc: 7 }) };
        }
        assert_eq!((regs.x[0], regs.sp(), regs.x[30], regs.pc()), (101, 102, 131, 7));
        let seen = regs.for_resolve();
        assert_eq!((seen.x[0], seen.x[1], seen.x[31]), (0, 101, 131));
    }
}
