//! System calls executed by a stopped thread of the target, through a `syscall` instruction that it has already.

use std::io;
use std::os::unix::fs::FileExt;

use crate::error::Error;
use crate::keeper::{Keeper, restart};
use crate::proc;
use crate::ptrace::{self, Event, Regs};
use crate::sigframe::{self, Gadgets};

/// A stopped thread that is borrowed for system calls. [`Remote::give_back`] makes it go on as if nothing had been; if
/// the tracer is killed first, the thread finds back by itself (see [`sigframe`]).
pub struct Remote {
    tid: i32,
    gadgets: Gadgets,
    /// Registers during system calls, but for those that a call sets: the stack pointer leads back.
    working: Regs,
    /// Registers to go on with.
    own: Regs,
    mask: u64,
    /// Stack pointer that leads a child to its end.
    child_sp: u64,
    /// Signals that arrived meanwhile although all are blocked (SIGSTOP), to be sent again.
    postponed: Vec<i32>,
}

impl Remote {
    /// Borrows a thread of the target that is in a ptrace stop.
    pub fn borrow(keeper: &Keeper, tid: i32, gadgets: Gadgets) -> Result<Self, Error> {
        let lost = |e: io::Error| Error::Io("borrowing a thread of the target", e);
        let own = restarted(ptrace::regs(tid).map_err(lost)?);
        let mask = ptrace::signal_mask(tid).map_err(lost)?;
        let (sp, child_sp) = sigframe::push(keeper, tid, &gadgets, &own, mask)?;
        let mut remote = Self { tid, gadgets, working: own, own, mask, child_sp, postponed: Vec::new() };
        remote.lead_back_by(sp)?;
        ptrace::set_signal_mask(tid, u64::MAX).map_err(lost)?;
        Ok(remote)
    }

    /// Takes hold of a stopped process that is ours. If the tracer is killed, it ends. `scratch` is memory for that,
    /// [`sigframe::FRAME`] bytes.
    pub fn own(keeper: &Keeper, tid: i32, gadgets: Gadgets, scratch: u64) -> Result<Self, Error> {
        let lost = |e: io::Error| Error::Io("taking hold of the sidecar", e);
        let own = ptrace::regs(tid).map_err(lost)?;
        let mut remote =
            Self { tid, gadgets, working: own, own, mask: u64::MAX, child_sp: scratch, postponed: Vec::new() };
        remote.end_by(keeper, scratch)?;
        ptrace::set_signal_mask(tid, u64::MAX).map_err(lost)?;
        Ok(remote)
    }

    /// From now on the process ends by way of a frame at `scratch` if the tracer is killed.
    pub fn end_by(&mut self, keeper: &Keeper, scratch: u64) -> Result<(), Error> {
        let frame = sigframe::end_frame(&self.gadgets, &self.own, scratch);
        keeper.memory().write_all_at(&frame, scratch).map_err(|e| Error::Io("writing the target's memory", e))?;
        self.child_sp = scratch;
        self.lead_back_by(scratch)
    }

    /// Sets the registers such that the thread, if it runs, goes to the frame at `sp`.
    fn lead_back_by(&mut self, sp: u64) -> Result<(), Error> {
        self.working.rsp = sp;
        // The `ret` behind the system call.
        self.working.rip = self.gadgets.syscall + 2;
        self.working.orig_rax = u64::MAX;
        ptrace::set_regs(self.tid, &self.working).map_err(|e| Error::Io("borrowing a thread of the target", e))
    }

    /// The instruction sequences that it uses.
    pub fn gadgets(&self) -> Gadgets {
        self.gadgets
    }

    /// Stack pointer that leads a child to its end.
    pub fn child_sp(&self) -> u64 {
        self.child_sp
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
        let mut regs = self.working;
        regs.rip = self.gadgets.syscall;
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
        let args = [flags as u64, self.child_sp, 0, 0, 0, 0];
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
        ptrace::set_signal_mask(self.tid, self.mask).map_err(lost)?;
        ptrace::set_regs(self.tid, &self.own).map_err(lost)?;
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
        let mut regs = self.own;
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

/// Registers with which an interrupted system call starts again, as the kernel arranges it when no handler runs
/// (`arch_do_signal_or_restart`), and for those few that only answer EINTR.
fn restarted(mut regs: Regs) -> Regs {
    const RESTARTSYS: i64 = -512;
    const RESTARTNOINTR: i64 = -513;
    const RESTARTNOHAND: i64 = -514;
    const RESTART_RESTARTBLOCK: i64 = -516;
    const EINTR: i64 = -(libc::EINTR as i64);
    let call = regs.orig_rax;
    if call as i64 >= 0 {
        match regs.rax as i64 {
            RESTARTSYS | RESTARTNOINTR | RESTARTNOHAND => restart(&mut regs, call),
            RESTART_RESTARTBLOCK => restart(&mut regs, libc::SYS_restart_syscall as u64),
            EINTR if call as i64 != libc::SYS_close => restart(&mut regs, call),
            _ => {}
        }
        regs.orig_rax = u64::MAX;
    }
    regs
}
