//! x86-64: the registers that an entry stub saves, and the stub for the breakpoint vector.
//!
//! A CALL is acted out by pushing a return address to the stack of the code that trapped, at `rsp - 8`. When the CPU takes an
//! exception without switching stacks (SDM vol. 3, 6.14.2), it aligns RSP and pushes the frame right there. So the stub
//! copies the frame further down first and leaves a gap. An IST stack for the breakpoint vector would do as well, but not
//! when an NMI interrupts the handler and runs into a trap itself: the second frame would overwrite the first.

use textpoke_core::isa::{Isa, X86_64};
use textpoke_core::trap::{Effect, Regs};

use crate::trap::Frame;

/// What [`trap_entry!`](crate::trap_entry) saves, in memory order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the names of the registers")]
pub struct Saved {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl Saved {
    /// The register that instructions call `n`, 0 (RAX) to 15 (R15).
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
}

impl Frame for Saved {
    type Isa = X86_64;

    fn trapped_at(&self) -> Option<u64> {
        let at = self.rip.wrapping_sub(X86_64::TRAP_PC_ADVANCE);
        let byte = |at: u64| {
            // SAFETY: the CPU has just executed it. (What is one further back may be on another page, hence the order.)
            unsafe { (at as *const u8).read_volatile() }
        };
        // INT 3 in its form of two bytes (CD 03) ends in no trap byte, but nobody has taken one away.
        (byte(at) != 3 || byte(at.wrapping_sub(1)) != 0xcd).then_some(at)
    }

    fn regs(&self) -> Regs {
        Regs { flags: self.rflags, ..Regs::default() }
    }

    unsafe fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Goto { pc } => self.rip = pc,
            Effect::Call { ret, pc } => {
                self.rsp = self.rsp.wrapping_sub(8);
                self.rip = pc;
                // SAFETY: the caller's duty: the frame is not there.
                unsafe { (self.rsp as *mut u64).write_volatile(ret) };
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

/// Defines the entry stub of the breakpoint vector, for kernel code that is interrupted on its own stack:
/// `trap_entry!(breakpoint_entry, breakpoint)` where `breakpoint` is an `extern "sysv64" fn(&mut Saved)`. The address of
/// `breakpoint_entry` goes into an interrupt gate (interrupts off) without IST.
///
/// It leaves a gap of 40 bytes below the stack of the code that trapped, and saves no vector registers: a kernel's text, and
/// the handler, are compiled without them. Code that is patched with CALLs must be compiled without a red zone. A kernel
/// whose breakpoints also come from user mode has an entry of its own, which looks at the saved CS first.
#[macro_export]
macro_rules! trap_entry {
    ($name:ident, $handler:path) => {
        const _: extern "sysv64" fn(&mut $crate::x86_64::Saved) = $handler;
        // SAFETY: it restores what it saved, as far as the handler did not change that.
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            ::core::arch::naked_asm!(
                // The frame of five words once more, below itself.
                "push [rsp + 32]",
                "push [rsp + 32]",
                "push [rsp + 32]",
                "push [rsp + 32]",
                "push [rsp + 32]",
                "push rax", "push rcx", "push rdx", "push rbx", "push rbp", "push rsi", "push rdi", "push r8",
                "push r9", "push r10", "push r11", "push r12", "push r13", "push r14", "push r15",
                "mov rdi, rsp",
                "mov rbx, rsp",
                "and rsp, -16",
                "cld",
                "call {handler}",
                "mov rsp, rbx",
                "pop r15", "pop r14", "pop r13", "pop r12", "pop r11", "pop r10", "pop r9", "pop r8",
                "pop rdi", "pop rsi", "pop rbp", "pop rbx", "pop rdx", "pop rcx", "pop rax",
                "iretq",
                handler = sym $handler,
            )
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_returns_move_the_stack() {
        let mut stack = [0u64; 4];
        let top = (&raw mut stack[3]) as u64;
        let mut saved = Saved { rsp: top, ..Saved::default() };
        // SAFETY: the stack is `stack`.
        unsafe { saved.apply(Effect::Call { ret: 0x1005, pc: 0x2000 }) };
        assert_eq!((saved.rip, saved.rsp, stack[2]), (0x2000, top - 8, 0x1005));
        // SAFETY: as above.
        unsafe { saved.apply(Effect::Return { extra: 16 }) };
        assert_eq!((saved.rip, saved.rsp), (0x1005, top + 16));
        // SAFETY: touches registers only.
        unsafe { saved.apply(Effect::Set { reg: 9, value: 7, pc: 3 }) };
        assert_eq!((saved.r9, saved.rip), (7, 3));
    }

    #[test]
    fn a_trap_of_two_bytes_is_none_of_ours() {
        let text = [0xccu8, 0xcd, 0x03, 0x90];
        let at = |i: usize| (&raw const text[i]) as u64;
        let trapped = |behind: u64| Saved { rip: behind, ..Saved::default() }.trapped_at();
        assert_eq!(trapped(at(1)), Some(at(0)));
        assert_eq!(trapped(at(3)), None);
        assert_eq!(trapped(at(3) + 1), Some(at(3)), "a trap that has gone is still at its address");
    }

    #[test]
    fn the_layout_is_that_of_the_stub() {
        assert_eq!(size_of::<Saved>(), 20 * 8);
        assert_eq!((core::mem::offset_of!(Saved, rax), core::mem::offset_of!(Saved, rip)), (14 * 8, 15 * 8));
    }
}
