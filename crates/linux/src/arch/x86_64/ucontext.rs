//! The machine context of an interrupted thread in its signal frame (x86-64 `struct ucontext`), and how a
//! [`Effect`] is applied to it.

use textpoke_core::trap::{Effect, Regs};

/// General registers in the order of the signal frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "each field is the register of its name")]
pub struct Registers {
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rsp: u64,
    pub rip: u64,
    pub rflags: u64,
    /// Selectors: CS in the low 16 bits, SS in the high 16.
    pub segments: u64,
    pub error: u64,
    pub trap: u64,
    pub old_mask: u64,
    pub cr2: u64,
}

/// The signal frame's context.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UContext {
    flags: u64,
    link: u64,
    /// Alternate stack at the time.
    stack: [u64; 3],
    /// The interrupted registers; what is written here is what the thread goes on with.
    pub regs: Registers,
    /// Address of the saved floating point state.
    pub fpstate: u64,
    reserved: [u64; 8],
    /// The signal mask that the thread goes on with.
    pub sigmask: u64,
}

impl Registers {
    /// General register `n` as instructions number it: 0 is RAX, 4 RSP, 15 R15. Numbers above 15 wrap.
    pub fn numbered(&mut self, n: u8) -> &mut u64 {
        match n & 15 {
            0 => &mut self.rax,
            1 => &mut self.rcx,
            2 => &mut self.rdx,
            3 => &mut self.rbx,
            4 => &mut self.rsp,
            5 => &mut self.rbp,
            6 => &mut self.rsi,
            7 => &mut self.rdi,
            8 => &mut self.r8,
            9 => &mut self.r9,
            10 => &mut self.r10,
            11 => &mut self.r11,
            12 => &mut self.r12,
            13 => &mut self.r13,
            14 => &mut self.r14,
            _ => &mut self.r15,
        }
    }

    /// The program counter.
    pub fn pc(&self) -> u64 {
        self.rip
    }

    /// The program counter, to be changed.
    pub fn pc_mut(&mut self) -> &mut u64 {
        &mut self.rip
    }

    /// The stack pointer.
    pub fn sp(&self) -> u64 {
        self.rsp
    }

    /// What [`textpoke_core::trap::resolve`] reads.
    pub fn for_resolve(&self) -> Regs {
        Regs { flags: self.rflags, ..Regs::default() }
    }

    /// Makes the change.
    ///
    /// A CALL pushes to the interrupted stack at `rsp - 8`: the signal frame lies at least 128 bytes below it, or on
    /// another stack. In a leaf function that slot can be in use (the red zone), which is why a CALL is only ever
    /// planted where nothing is below the stack pointer.
    ///
    /// # Safety
    /// For [`Effect::Call`] and [`Effect::Return`] the interrupted thread must have been about to execute a CALL or RET,
    /// so that its stack may be written or read there.
    pub unsafe fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Goto { pc } => self.rip = pc,
            Effect::Call { ret, pc } => {
                let top = self.rsp.wrapping_sub(8);
                // SAFETY: the caller's duty; volatile, because the stack is another piece of code's memory.
                unsafe { (top as *mut u64).write_volatile(ret) };
                self.rsp = top;
                self.rip = pc;
            }
            Effect::Return { extra } => {
                // SAFETY: the caller's duty.
                self.rip = unsafe { (self.rsp as *const u64).read_volatile() };
                self.rsp = self.rsp.wrapping_add(8 + u64::from(extra));
            }
            Effect::Set { reg, value, pc } => {
                *self.numbered(reg) = value;
                self.rip = pc;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(core::mem::offset_of!(UContext, regs), 40);
        assert_eq!(core::mem::offset_of!(UContext, regs.rip), 168);
        assert_eq!(core::mem::offset_of!(UContext, sigmask), 296);
    }

    #[test]
    fn call_and_return_move_the_stack() {
        let mut stack = [0u64; 4];
        let top = (&raw mut stack[3]) as u64;
        let mut regs = Registers { rsp: top, ..Default::default() };
        // SAFETY: the stack is `stack`.
        unsafe { regs.apply(Effect::Call { ret: 0x1005, pc: 0x2000 }) };
        assert_eq!((regs.rip, regs.rsp, stack[2]), (0x2000, top - 8, 0x1005));
        // SAFETY: as above.
        unsafe { regs.apply(Effect::Return { extra: 16 }) };
        assert_eq!((regs.rip, regs.rsp), (0x1005, top + 16));
    }

    #[test]
    fn every_register_has_its_number() {
        let mut regs = Registers::default();
        for n in 0..16 {
            // SAFETY: touches registers only.
            unsafe { regs.apply(Effect::Set { reg: n, value: u64::from(n) + 100, pc: 7 }) };
        }
        assert_eq!((regs.rax, regs.rsp, regs.rdi, regs.r8, regs.r15, regs.rip), (100, 104, 107, 108, 115, 7));
    }
}
