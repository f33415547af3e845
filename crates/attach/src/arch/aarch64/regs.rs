//! The registers of a stopped thread.
//!
//! A stop that interrupts a system call finds the kernel's work done: it has put the call's first argument back and the
//! program counter in front of the instruction, so that the thread makes the call again (`do_signal`). Only where the call
//! answers EINTR it has not, and has forgotten the first argument; see [`Regs::after_eintr`].

use std::io;

use textpoke_core::trap;

use crate::proc::Sleeper;
use crate::ptrace;

const NT_PRSTATUS: usize = 1;
const NT_ARM_TLS: usize = 0x401;
const NT_ARM_SVE: usize = 0x405;
const NT_ARM_SSVE: usize = 0x40b;
const NT_ARM_GCS: usize = 0x410;

/// What a system call answers inside the kernel when a stop interrupted it (include/linux/errno.h).
const RESTARTSYS: i64 = -512;
const RESTARTNOINTR: i64 = -513;
const RESTARTNOHAND: i64 = -514;
const RESTART_RESTARTBLOCK: i64 = -516;
const EINTR: i64 = -(libc::EINTR as i64);

/// PSTATE.BTYPE: which kind of indirect branch was just executed.
const BTYPE: u64 = 3 << 10;

/// The general registers of a thread: Linux' `struct user_pt_regs`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Regs {
    pub(super) x: [u64; 31],
    pub(super) sp: u64,
    pub(super) pc: u64,
    pub(super) pstate: u64,
}

const BYTES: usize = size_of::<Regs>();

/// Reads those of a stopped thread.
pub fn read(tid: i32) -> io::Result<Regs> {
    let mut bytes = [0; BYTES];
    if ptrace::regset(tid, NT_PRSTATUS, &mut bytes)? != BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let word = |i: usize| u64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().unwrap_or_default());
    Ok(Regs { x: std::array::from_fn(word), sp: word(31), pc: word(32), pstate: word(33) })
}

/// Changes those of a stopped thread.
pub fn write(tid: i32, regs: &Regs) -> io::Result<()> {
    let words = regs.x.iter().chain([&regs.sp, &regs.pc, &regs.pstate]);
    let bytes: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
    set_regset(tid, NT_PRSTATUS, &bytes)
}

fn set_regset(tid: i32, which: usize, bytes: &[u8]) -> io::Result<()> {
    let place = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    ptrace::call(libc::PTRACE_SETREGSET, tid, which, &raw const place as usize)
}

impl Regs {
    /// The program counter.
    pub fn pc(&self) -> u64 {
        self.pc
    }

    /// Goes on at `pc`, which need not be a landing pad: the thread may have been stopped right behind an indirect branch.
    pub fn set_pc(&mut self, pc: u64) {
        self.pc = pc;
        self.pstate &= !BTYPE;
    }

    /// The stack pointer.
    pub fn sp(&self) -> u64 {
        self.sp
    }

    /// Changes the stack pointer.
    pub fn set_sp(&mut self, sp: u64) {
        self.sp = sp;
    }

    /// By what the thread finds its own data.
    pub fn thread_pointer(&self, tid: i32) -> u64 {
        let mut bytes = [0; 8];
        // Newer kernels have a second register behind it, which the length leaves out.
        ptrace::regset(tid, NT_ARM_TLS, &mut bytes).map_or(0, |_| u64::from_le_bytes(bytes))
    }

    /// The thread is not inside a system call: the kernel has forgotten it already.
    pub fn outside_calls(&mut self) {}

    /// A system call, to be made by the instruction that the program counter is at.
    pub fn set_call(&mut self, number: i64, args: [u64; 6]) {
        self.x[8] = number as u64;
        self.x[..6].copy_from_slice(&args);
    }

    /// What a system call answered.
    pub fn answer(&self) -> i64 {
        self.x[0] as i64
    }

    /// Whether a system call was made in vain, because a stop came in between.
    pub fn was_interrupted(&self) -> bool {
        matches!(self.answer(), RESTARTSYS | RESTARTNOINTR | RESTARTNOHAND | RESTART_RESTARTBLOCK | EINTR)
    }

    /// The beginning of a function of ours, with its first arguments.
    pub fn begin(&mut self, entry: u64, args: [u64; 3]) {
        self.set_pc(entry);
        self.x[..3].copy_from_slice(&args);
    }

    /// There is no frame above the function that begins.
    pub fn no_caller(&mut self) {
        (self.x[29], self.x[30]) = (0, 0);
    }

    /// What a piece of code of ours leaves behind: X9.
    pub fn result(&self) -> u64 {
        self.x[9]
    }

    /// The kernel sees to interrupted calls itself before it stops a thread.
    pub fn restarted(&self) -> Option<Self> {
        None
    }

    /// Of a thread at its stop whose system call answers EINTR: with these it begins the call again. The call and its first
    /// argument are those that it was seen to sleep in; everything else of them must be in its registers still. `close`
    /// has done its work when it is interrupted.
    pub fn after_eintr(&self, before: Option<&Sleeper>) -> Option<Self> {
        let before = before.filter(|_| self.answer() == EINTR)?;
        let same = before.call as u64 == self.x[8]
            && before.args[1..] == self.x[1..6]
            && (before.sp, before.pc) == (self.sp, self.pc)
            && before.call != libc::SYS_close;
        same.then(|| {
            let mut regs = *self;
            regs.x[0] = before.args[0];
            regs.pc = self.pc.wrapping_sub(4);
            regs
        })
    }

    /// What emulated instructions may read.
    pub fn view(&self) -> trap::Regs {
        let mut regs = trap::Regs { flags: self.pstate, ..Default::default() };
        regs.x[..31].copy_from_slice(&self.x);
        regs
    }

    /// The thread goes on behind an emulated instruction, or at its copy; neither need be a landing pad.
    pub fn settle(&mut self) {
        self.pstate &= !BTYPE;
    }

    /// A general register by its number in instruction encodings, 0 to 30.
    pub fn general(&mut self, number: u8) -> &mut u64 {
        &mut self.x[usize::from(number).min(30)]
    }
}

/// State that a system call would lose and that must be put back when a borrowed thread goes on: the scalable vector
/// registers beyond 128 bits, while the thread has something there.
#[derive(Clone, Debug, Default)]
pub struct Lost(Option<Vec<u8>>);

impl Lost {
    /// Of a stopped thread. An error says why it could not be put back.
    pub fn take(tid: i32) -> Result<Self, &'static str> {
        /// Flag of `struct user_sve_header`: vector registers in full follow.
        const IN_FULL: u8 = 1;
        /// More than 32 registers of 256 bytes, predicates and header.
        const ROOM: usize = 16 << 10;
        let mut bytes = vec![0; ROOM];
        let in_full = |which, bytes: &mut Vec<u8>| {
            // What the CPU does not have, the thread does not use.
            let len = ptrace::regset(tid, which, bytes).unwrap_or(0);
            bytes.truncate(len);
            bytes.get(12).is_some_and(|flags| flags & IN_FULL != 0)
        };
        let mut guard = [0; 8];
        if ptrace::regset(tid, NT_ARM_GCS, &mut guard).is_ok() && guard[0] & 1 != 0 {
            return Err("the program runs with a guarded control stack (GCS); start it without");
        }
        if in_full(NT_ARM_SSVE, &mut vec![0; ROOM]) {
            return Err("a thread is in streaming mode, which a system call would end; try again");
        }
        Ok(Self(in_full(NT_ARM_SVE, &mut bytes).then_some(bytes)))
    }

    /// Whether there is none.
    pub fn is_nothing(&self) -> bool {
        self.0.is_none()
    }

    /// Puts it back.
    pub fn put_back(&self, tid: i32) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |bytes| set_regset(tid, NT_ARM_SVE, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asleep() -> (Regs, Sleeper) {
        let mut regs = Regs { sp: 0x7000, pc: 0x4004, pstate: 0, ..Regs::default() };
        regs.set_call(libc::SYS_epoll_pwait, [EINTR as u64, 0x100, 8, u64::MAX, 0, 8]);
        let args = [5, 0x100, 8, u64::MAX, 0, 8];
        (regs, Sleeper { call: libc::SYS_epoll_pwait, args, sp: 0x7000, pc: 0x4004, sleeps: 1 })
    }

    #[test]
    fn a_call_that_was_seen_begins_again() {
        let (regs, sleeper) = asleep();
        let again = regs.after_eintr(Some(&sleeper)).unwrap();
        assert_eq!((again.x[0], again.pc, again.x[8]), (5, 0x4000, libc::SYS_epoll_pwait as u64));
        assert!(regs.after_eintr(None).is_none());
    }

    #[test]
    fn another_call_does_not() {
        let (regs, sleeper) = asleep();
        for other in [
            Sleeper { call: libc::SYS_close, ..sleeper },
            Sleeper { args: [5, 0x108, 8, u64::MAX, 0, 8], ..sleeper },
            Sleeper { sp: 0x7010, ..sleeper },
            Sleeper { pc: 0x4008, ..sleeper },
        ] {
            assert!(regs.after_eintr(Some(&other)).is_none(), "{other:?}");
        }
        let answered = Regs { x: [1; 31], ..regs };
        assert!(answered.after_eintr(Some(&sleeper)).is_none());
    }

    #[test]
    fn a_detour_needs_no_landing_pad() {
        let mut regs = Regs { pstate: 0x6000_0c00, ..Regs::default() };
        regs.set_pc(0x40);
        assert_eq!((regs.pc, regs.pstate), (0x40, 0x6000_0000));
    }
}
