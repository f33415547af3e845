//! System calls executed by a stopped thread of the target, through a system call instruction that it has already.

use std::io;
use std::os::unix::fs::FileExt;

use textpoke_core::isa::Isa as _;

use crate::arch::regs::Lost;
use crate::arch::way_home::{Steps, WayHome};
use crate::arch::{Isa, SYSCALL};
use crate::error::Error;
use crate::keeper::Keeper;
use crate::proc::{self, Mapping, Sleeper};
use crate::ptrace::{self, Event, Regs};

/// A stopped thread that is borrowed for system calls. [`Remote::give_back`] makes it go on as if nothing had been.
pub struct Remote {
    tid: i32,
    insn: u64,
    saved: Regs,
    /// What system calls would lose.
    lost: Lost,
    /// What it slept in before it was stopped, if it did.
    before: Option<Sleeper>,
    mask: u64,
    /// How it goes on when this process is killed. A process of our own has none: it dies with us.
    way_home: Option<WayHome>,
    /// Its process is stopped by a signal.
    group_stop: bool,
}

/// Where a system call instruction stands in the process.
pub fn syscall_insn(keeper: &Keeper) -> Result<u64, Error> {
    let maps = proc::maps(keeper.pid()).map_err(|_| Error::Gone(keeper.pid()))?;
    let vdso = maps.iter().find(|m| m.path == "[vdso]").ok_or(Error::Unsupported("the process has no vdso"))?;
    let mut text = vec![0; (vdso.end - vdso.start) as usize];
    keeper.memory().read_exact_at(&mut text, vdso.start).map_err(|e| Error::Io("reading the target's vdso", e))?;
    let at = (0..text.len()).step_by(Isa::ALIGN as usize).find(|&i| text[i..].starts_with(SYSCALL));
    at.map(|i| vdso.start + i as u64).ok_or(Error::Unsupported("its vdso has no system call instruction"))
}

impl Remote {
    /// Borrows a thread of the target that is in a ptrace stop. `steps` are for the case that this process is killed
    /// meanwhile; [`Remote::is_safe`] tells whether the thread's stack has room for them.
    pub fn borrow(
        keeper: &mut Keeper,
        tid: i32,
        insn: u64,
        steps: Option<Steps>,
        maps: &[Mapping],
    ) -> Result<Self, Error> {
        let saved = ptrace::regs(tid).map_err(lost)?;
        let kept = Lost::take(tid).map_err(Error::Unsupported)?;
        let mask = ptrace::signal_mask(tid).map_err(lost)?;
        let before = keeper.sleeper(tid).copied();
        let home = restarted(keeper, tid, &saved, before.as_ref());
        // Where the thread's own call is to be made again, no other may be made: the kernel would take the one for the
        // other (`restart_syscall`).
        let steps = steps.filter(|steps| steps.call != saved.pc());
        let way_home = steps.and_then(|steps| WayHome::lay(keeper, tid, steps, maps, &home, mask));
        if let Some(way) = &way_home {
            // First the way, then the mask: whoever is let go of in between gets home with its own mask.
            ptrace::set_regs(tid, &way.go(&saved)).map_err(lost)?;
        }
        ptrace::set_signal_mask(tid, u64::MAX).map_err(lost)?;
        keeper.lend(tid);
        let insn = way_home.as_ref().map_or(insn, WayHome::insn);
        Ok(Self { tid, insn, saved, lost: kept, before, mask, way_home, group_stop: false })
    }

    /// Takes a stopped process of our own into service. It dies with this process from now on.
    pub fn employ(tid: i32, insn: u64) -> Result<Self, Error> {
        ptrace::set_options(tid, ptrace::OPTIONS_OF_OURS).map_err(lost)?;
        let saved = ptrace::regs(tid).map_err(lost)?;
        ptrace::set_signal_mask(tid, u64::MAX).map_err(lost)?;
        let kept = Lost::take(tid).map_err(Error::Unsupported)?;
        Ok(Self { tid, insn, saved, lost: kept, before: None, mask: u64::MAX, way_home: None, group_stop: false })
    }

    /// Who was borrowed.
    pub fn tid(&self) -> i32 {
        self.tid
    }

    /// Whether it would get home without us.
    pub fn is_safe(&self) -> bool {
        self.way_home.is_some()
    }

    /// Performs one system call; the answer is the kernel's, negative for an error. `on_child` hears of a clone.
    pub fn call_raw(
        &mut self,
        keeper: &mut Keeper,
        number: i64,
        args: [u64; 6],
        on_child: impl FnMut(i32),
    ) -> Result<i64, Error> {
        let mut regs = self.saved;
        if let Some(way) = &self.way_home {
            way.call_home(&mut regs);
        }
        self.call_from(keeper, regs, number, args, on_child)
    }

    fn call_from(
        &mut self,
        keeper: &mut Keeper,
        mut regs: Regs,
        number: i64,
        args: [u64; 6],
        mut on_child: impl FnMut(i32),
    ) -> Result<i64, Error> {
        loop {
            regs.set_pc(self.insn);
            regs.set_call(number, args);
            let after = self.run_to_call(keeper, regs, &mut on_child)?;
            // A stop signal came in between: as if the call had not been made.
            if !after.was_interrupted() {
                return Ok(after.answer());
            }
        }
    }

    /// Runs code of ours that ends with a harmless system call, with these arguments of a function; the answer is what
    /// [`Regs::result`] tells.
    pub fn execute(&mut self, keeper: &mut Keeper, at: u64, args: [u64; 3]) -> Result<u64, Error> {
        let mut regs = self.saved;
        regs.begin(at, args);
        Ok(self.run_to_call(keeper, regs, &mut |_| {})?.result())
    }

    /// Lets the thread run from these registers through the first system call that it comes to.
    fn run_to_call(
        &mut self,
        keeper: &mut Keeper,
        mut regs: Regs,
        on_child: &mut dyn FnMut(i32),
    ) -> Result<Regs, Error> {
        // Not inside a system call, so that the kernel has nothing to restart.
        regs.outside_calls();
        ptrace::set_regs(self.tid, &regs).map_err(lost)?;
        let mut entered = false;
        let mut signal = 0;
        loop {
            ptrace::cont_to_syscall(self.tid, signal).map_err(lost)?;
            signal = 0;
            match keeper.next_event(self.tid)? {
                Event::Syscall if entered => break,
                Event::Syscall => entered = true,
                Event::Child(_) => on_child(ptrace::event_message(self.tid).map_err(lost)? as i32),
                Event::Ended => return Err(Error::Gone(keeper.pid())),
                // The program unmapped what the code works on.
                Event::Signal(libc::SIGSEGV | libc::SIGBUS) if !entered => {
                    return Err(Error::Damaged("memory of the process vanished meanwhile; try again".to_owned()));
                }
                // All signals are blocked that can be. SIGSTOP takes effect at once, so that a SIGCONT that follows
                // ends it, and meanwhile this thread works on.
                Event::Signal(arrived) => signal = arrived,
                Event::GroupStop(_) => self.group_stop = true,
                Event::Stop => self.group_stop = false,
                // The thread's number is another's by now, and its registers are those of a new program.
                Event::Exec => {
                    keeper.handle(self.tid, Event::Exec)?;
                    return Err(Error::Execed(keeper.pid()));
                }
            }
        }
        ptrace::regs(self.tid).map_err(lost)
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
        let answer = match self.way_home {
            Some(way) => {
                let flags = flags | libc::CLONE_PARENT_SETTID;
                let args = [flags as u64, way.child, way.child_number(), 0, 0, 0];
                let mut regs = self.saved;
                way.call_wait(&mut regs);
                self.call_from(keeper, regs, libc::SYS_clone, args, |tid| child = tid)?
            }
            None => self.call_raw(keeper, libc::SYS_clone, [flags as u64, 0, 0, 0, 0, 0], |tid| child = tid)?,
        };
        if answer < 0 {
            return Err(Error::Remote("clone", -answer as i32));
        }
        if child == 0 {
            child = answer as i32;
        }
        keeper.wait_birth(child)?;
        Ok(child)
    }

    /// Puts registers and signal mask back and lets the thread run, as if it had only been interrupted.
    pub fn give_back(mut self, keeper: &mut Keeper) -> Result<(), Error> {
        keeper.take_back(self.tid);
        // Only at a stop like the one at the beginning does the kernel see to an interrupted system call: whether it
        // starts again, or a handler runs first and it answers EINTR.
        if keeper.has_execed() {
            return Err(Error::Execed(keeper.pid()));
        }
        let mut signal = 0;
        loop {
            // Again after every other stop: the kernel takes any stop for the one that was asked for.
            ptrace::interrupt(self.tid).map_err(lost)?;
            ptrace::cont(self.tid, signal).map_err(lost)?;
            signal = 0;
            match keeper.next_event(self.tid)? {
                Event::Stop => {
                    self.group_stop = false;
                    break;
                }
                Event::GroupStop(_) => {
                    self.group_stop = true;
                    break;
                }
                Event::Ended => return Err(Error::Gone(keeper.pid())),
                Event::Signal(arrived) => signal = arrived,
                Event::Exec => {
                    keeper.handle(self.tid, Event::Exec)?;
                    return Err(Error::Execed(keeper.pid()));
                }
                Event::Child(_) | Event::Syscall => {}
            }
        }
        let before = self.before.as_ref();
        let regs = match self.saved.after_eintr(before) {
            Some(_) => restarted(keeper, self.tid, &self.saved, before),
            None => self.saved,
        };
        self.lost.put_back(self.tid).map_err(lost)?;
        ptrace::set_signal_mask(self.tid, self.mask).map_err(lost)?;
        ptrace::set_regs(self.tid, &regs).map_err(lost)?;
        if let Some(way) = &self.way_home {
            way.wipe(keeper);
        }
        if self.group_stop { ptrace::listen(self.tid) } else { ptrace::cont(self.tid, 0) }.map_err(lost)
    }

    /// Makes the thread begin at `entry` with this stack and argument, released from us.
    pub fn start_at(self, keeper: &mut Keeper, entry: u64, stack: u64, argument: u64) -> Result<(), Error> {
        let mut regs = self.saved;
        regs.begin(entry, [argument, 0, 0]);
        regs.set_sp(stack);
        regs.no_caller();
        regs.outside_calls();
        ptrace::set_regs(self.tid, &regs).map_err(lost)?;
        ptrace::detach(self.tid, 0).map_err(lost)?;
        keeper.forget(self.tid);
        Ok(())
    }

    /// Ends the process, which is ours.
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

/// The registers with which a thread goes on that was stopped with these: a system call that was interrupted is started
/// again, as the kernel does when no handler runs.
fn restarted(keeper: &Keeper, tid: i32, saved: &Regs, before: Option<&Sleeper>) -> Regs {
    let after_eintr = || saved.after_eintr(before).filter(|_| !keeper.handler_is_due(tid));
    let mut regs = saved.restarted().or_else(after_eintr).unwrap_or(*saved);
    regs.outside_calls();
    regs
}

fn lost(e: io::Error) -> Error {
    Error::Io("a system call in the target", e)
}
