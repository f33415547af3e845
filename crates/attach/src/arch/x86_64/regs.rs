//! The registers of a stopped thread.

use std::io;
use std::mem;

use textpoke_core::trap;

use crate::proc::Sleeper;
use crate::ptrace;

/// What a system call answers inside the kernel when a stop interrupted it (include/linux/errno.h).
const RESTARTSYS: i64 = -512;
const RESTARTNOINTR: i64 = -513;
const RESTARTNOHAND: i64 = -514;
const RESTART_RESTARTBLOCK: i64 = -516;
const EINTR: i64 = -(libc::EINTR as i64);

/// The general registers of a thread.
#[derive(Clone, Copy)]
pub struct Regs(pub(super) libc::user_regs_struct);

/// Reads those of a stopped thread.
pub fn read(tid: i32) -> io::Result<Regs> {
    // SAFETY: all-zero is a valid value of this struct of integers.
    let mut regs: libc::user_regs_struct = unsafe { mem::zeroed() };
    ptrace::call(libc::PTRACE_GETREGS, tid, 0, &raw mut regs as usize)?;
    Ok(Regs(regs))
}

/// Changes those of a stopped thread.
pub fn write(tid: i32, regs: &Regs) -> io::Result<()> {
    ptrace::call(libc::PTRACE_SETREGS, tid, 0, std::ptr::from_ref(&regs.0) as usize)
}

impl Regs {
    /// The program counter.
    pub fn pc(&self) -> u64 {
        self.0.rip
    }

    /// Goes on at `pc`.
    pub fn set_pc(&mut self, pc: u64) {
        self.0.rip = pc;
    }

    /// The stack pointer.
    pub fn sp(&self) -> u64 {
        self.0.rsp
    }

    /// Changes the stack pointer.
    pub fn set_sp(&mut self, sp: u64) {
        self.0.rsp = sp;
    }

    /// By what the thread finds its own data.
    pub fn thread_pointer(&self, _tid: i32) -> u64 {
        self.0.fs_base
    }

    /// The thread is not inside a system call, so that the kernel has nothing to restart.
    pub fn outside_calls(&mut self) {
        self.0.orig_rax = u64::MAX;
    }

    /// A system call, to be made by the instruction that the program counter is at.
    pub fn set_call(&mut self, number: i64, args: [u64; 6]) {
        self.0.rax = number as u64;
        let regs = &mut self.0;
        [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = args;
    }

    /// What a system call answered.
    pub fn answer(&self) -> i64 {
        self.0.rax as i64
    }

    /// Whether a system call was made in vain, because a stop came in between.
    pub fn was_interrupted(&self) -> bool {
        matches!(self.answer(), RESTARTSYS | RESTARTNOINTR | RESTARTNOHAND | RESTART_RESTARTBLOCK | EINTR)
    }

    /// The beginning of a function of ours, with its first arguments.
    pub fn begin(&mut self, entry: u64, args: [u64; 3]) {
        let regs = &mut self.0;
        regs.rip = entry;
        [regs.rdi, regs.rsi, regs.rdx] = args;
    }

    /// There is no frame above the function that begins.
    pub fn no_caller(&mut self) {
        self.0.rbp = 0;
    }

    /// What a piece of code of ours leaves behind: R8.
    pub fn result(&self) -> u64 {
        self.0.r8
    }

    /// Of a thread at its stop: with these it begins its interrupted system call again, as the kernel would see to now if
    /// no handler runs.
    pub fn restarted(&self) -> Option<Self> {
        let call = self.0.orig_rax;
        match self.answer() {
            _ if (call as i64) < 0 => None,
            RESTARTSYS | RESTARTNOINTR | RESTARTNOHAND => Some(self.again(call)),
            RESTART_RESTARTBLOCK => Some(self.again(libc::SYS_restart_syscall as u64)),
            _ => None,
        }
    }

    /// Of a thread at its stop whose system call answers EINTR: with these it begins the call again. `close` has done its
    /// work when it is interrupted.
    pub fn after_eintr(&self, _before: Option<&Sleeper>) -> Option<Self> {
        let call = self.0.orig_rax as i64;
        (self.answer() == EINTR && call >= 0 && call != libc::SYS_close).then(|| self.again(call as u64))
    }

    /// Executes the system call instruction again, with this number in RAX.
    fn again(&self, number: u64) -> Self {
        let mut regs = *self;
        regs.0.rax = number;
        regs.0.rip = regs.0.rip.wrapping_sub(2);
        regs
    }

    /// What emulated instructions may read.
    pub fn view(&self) -> trap::Regs {
        trap::Regs { flags: self.0.eflags, ..Default::default() }
    }

    /// The thread goes on behind an emulated instruction.
    pub fn settle(&mut self) {
        // The thread is not inside a system call: no restart logic may touch what we set.
        self.outside_calls();
    }

    /// A general register by its number in instruction encodings.
    pub fn general(&mut self, number: u8) -> &mut u64 {
        let regs = &mut self.0;
        match number & 15 {
            0 => &mut regs.rax,
            1 => &mut regs.rcx,
            2 => &mut regs.rdx,
            3 => &mut regs.rbx,
            4 => &mut regs.rsp,
            5 => &mut regs.rbp,
            6 => &mut regs.rsi,
            7 => &mut regs.rdi,
            8 => &mut regs.r8,
            9 => &mut regs.r9,
            10 => &mut regs.r10,
            11 => &mut regs.r11,
            12 => &mut regs.r12,
            13 => &mut regs.r13,
            14 => &mut regs.r14,
            _ => &mut regs.r15,
        }
    }
}

/// State that a system call would lose and that must be put back when a borrowed thread goes on: none, for the kernel
/// keeps the vector registers.
#[derive(Clone, Copy)]
pub struct Lost;

impl Lost {
    /// Of a stopped thread. An error says why it could not be put back.
    pub fn take(_tid: i32) -> Result<Self, &'static str> {
        Ok(Self)
    }

    /// Puts it back.
    pub fn put_back(&self, _tid: i32) -> io::Result<()> {
        Ok(())
    }
}
