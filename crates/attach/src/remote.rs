//! System calls executed by a stopped thread of the target, through a `syscall` instruction that it has already.

use std::io;
use std::os::unix::fs::FileExt;

use crate::error::Error;
use crate::keeper::{Keeper, restart};
use crate::proc;
use crate::ptrace::{self, Event, Regs};

/// `syscall`, as every vdso contains it (its clock functions fall back to the system call).
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// A stopped thread that is borrowed for system calls. [`Remote::give_back`] makes it go on as if nothing had been.
pub struct Remote {
    tid: i32,
    insn: u64,
    saved: Regs,
    mask: u64,
    /// Signals that arrived meanwhile although all are blocked (SIGSTOP), to be sent again.
    postponed: Vec<i32>,
}

/// Where a `syscall` instruction stands in the process.
pub fn syscall_insn(keeper: &Keeper) -> Result<u64, Error> {
    let maps = proc::maps(keeper.pid()).map_err(|_| Error::Gone(keeper.pid()))?;
    let vdso = maps.iter().find(|m| m.path == "[vdso]").ok_or(Error::Unsupported("the process has no vdso"))?;
    let mut text = vec![0; (vdso.end - vdso.start) as usize];
    keeper.memory().read_exact_at(&mut text, vdso.start).map_err(|e| Error::Io("reading the target's vdso", e))?;
    let at = text.windows(2).position(|w| w == SYSCALL);
    at.map(|i| vdso.start + i as u64).ok_or(Error::Unsupported("its vdso has no system call instruction"))
}

impl Remote {
    /// Borrows a thread that is in a ptrace stop.
    pub fn borrow(tid: i32, insn: u64) -> Result<Self, Error> {
        let lost = |e: io::Error| Error::Io("borrowing a thread of the target", e);
        let saved = ptrace::regs(tid).map_err(lost)?;
        let mask = ptrace::signal_mask(tid).map_err(lost)?;
        ptrace::set_signal_mask(tid, u64::MAX).map_err(lost)?;
        Ok(Self { tid, insn, saved, mask, postponed: Vec::new() })
    }

    /// Who was borrowed.
    pub fn tid(&self) -> i32 {
        self.tid
    }

    /// Performs one system call; the answer is the kernel's, negative for an error. `on_child` hears of a clone.
    pub fn call_raw(
        &mut self,
        keeper: &mut Keeper,
        number: i64,
        args: [u64; 6],
        mut on_child: impl FnMut(i32),
    ) -> Result<i64, Error> {
        let lost = |e: io::Error| Error::Io("a system call in the target", e);
        let mut regs = self.saved;
        regs.rip = self.insn;
        regs.rax = number as u64;
        [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = args;
        // Not inside a system call, so that the kernel has nothing to restart.
        regs.orig_rax = u64::MAX;
        ptrace::set_regs(self.tid, &regs).map_err(lost)?;
        let mut entered = false;
        ptrace::cont_to_syscall(self.tid).map_err(lost)?;
        loop {
            match keeper.next_event(self.tid)? {
                Event::Syscall if entered => break,
                Event::Syscall => entered = true,
                Event::Child(_) => on_child(ptrace::event_message(self.tid).map_err(lost)? as i32),
                Event::Ended => return Err(Error::Gone(keeper.pid())),
                Event::Signal(signal) | Event::GroupStop(signal) => self.postponed.push(signal),
                Event::Stop | Event::Exec => {}
            }
            ptrace::cont_to_syscall(self.tid).map_err(lost)?;
        }
        Ok(ptrace::regs(self.tid).map_err(lost)?.rax as i64)
    }

    /// Performs one system call and turns its error into ours; `what` names it.
    pub fn call(&mut self, keeper: &mut Keeper, what: &'static str, number: i64, args: [u64; 6]) -> Result<u64, Error> {
        match self.call_raw(keeper, number, args, |_| {})? {
            errno @ -4095..0 => Err(Error::Remote(what, -errno as i32)),
            value => Ok(value as u64),
        }
    }

    /// Clones and returns the child, which is a tracee in its first stop.
    pub fn clone_child(&mut self, keeper: &mut Keeper, flags: i32) -> Result<i32, Error> {
        let mut child = 0;
        let args = [flags as u64, 0, 0, 0, 0, 0];
        let answer = self.call_raw(keeper, libc::SYS_clone, args, |tid| child = tid)?;
        if answer < 0 {
            return Err(Error::Remote("clone", -answer as i32));
        }
        if child == 0 {
            child = answer as i32;
        }
        keeper.wait_birth(child)?;
        Ok(child)
    }

    /// Puts registers and signal mask back and lets the thread run. A system call that our stop interrupted is started
    /// again, as the kernel does when no handler ran.
    pub fn give_back(mut self) -> Result<(), Error> {
        let lost = |e: io::Error| Error::Io("giving a thread back to the target", e);
        const RESTARTSYS: i64 = -512;
        const RESTARTNOINTR: i64 = -513;
        const RESTARTNOHAND: i64 = -514;
        const RESTART_RESTARTBLOCK: i64 = -516;
        const EINTR: i64 = -(libc::EINTR as i64);
        let call = self.saved.orig_rax;
        if call as i64 >= 0 {
            match self.saved.rax as i64 {
                RESTARTSYS | RESTARTNOINTR | RESTARTNOHAND => restart(&mut self.saved, call),
                RESTART_RESTARTBLOCK => restart(&mut self.saved, libc::SYS_restart_syscall as u64),
                EINTR if call as i64 != libc::SYS_close => restart(&mut self.saved, call),
                _ => {}
            }
            self.saved.orig_rax = u64::MAX;
        }
        ptrace::set_regs(self.tid, &self.saved).map_err(lost)?;
        ptrace::set_signal_mask(self.tid, self.mask).map_err(lost)?;
        ptrace::cont(self.tid, 0).map_err(lost)?;
        for signal in self.postponed.drain(..).filter(|&s| s != libc::SIGTRAP) {
            // SAFETY: plain system call without memory arguments; the worst answer is that the thread is gone.
            unsafe {
                libc::syscall(
                    libc::SYS_tgkill,
                    i64::from(proc::status(self.tid).map_or(self.tid, |s| s.tgid)),
                    i64::from(self.tid),
                    i64::from(signal),
                )
            };
        }
        Ok(())
    }

    /// Makes the thread begin at `entry` with this stack and argument, released from us.
    pub fn start_at(self, keeper: &mut Keeper, entry: u64, stack: u64, argument: u64) -> Result<(), Error> {
        let lost = |e: io::Error| Error::Io("starting the sidecar", e);
        let mut regs = self.saved;
        regs.rip = entry;
        regs.rsp = stack;
        regs.rdi = argument;
        regs.rbp = 0;
        regs.orig_rax = u64::MAX;
        ptrace::set_regs(self.tid, &regs).map_err(lost)?;
        ptrace::detach(self.tid, 0).map_err(lost)?;
        keeper.forget(self.tid);
        Ok(())
    }

    /// Ends the borrowed process.
    pub fn exit(mut self, keeper: &mut Keeper) -> Result<(), Error> {
        match self.call_raw(keeper, libc::SYS_exit_group, [0; 6], |_| {}) {
            Ok(_) | Err(Error::Gone(_)) => {
                keeper.forget(self.tid);
                Ok(())
            }
            Err(e) => Err(e),
        }
    }
}
