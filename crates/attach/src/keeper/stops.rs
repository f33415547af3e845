//! Stopping single threads for a moment, such that the program does not notice.

use std::time::Instant;

use super::{Keeper, Kind, PATIENCE, bit, resume};
use crate::arch;
use crate::error::Error;
use crate::proc::{self, Sleeper};
use crate::ptrace::{self, Event, Regs};

impl Keeper {
    /// Stops one thread that is running, for as long as `visit` takes. `None` when it ended instead.
    pub fn visit<T>(
        &mut self,
        tid: i32,
        visit: impl FnOnce(&mut Self, i32, &mut Regs) -> T,
    ) -> Result<Option<T>, Error> {
        let Some(event) = self.stop_by(tid)? else { return Ok(None) };
        if event == Event::Stop {
            self.undisturb(tid);
        }
        let answer = self.look(tid, visit);
        match event {
            Event::Stop => resume(tid, 0),
            group_stop => self.handle(tid, group_stop)?,
        }
        Ok(answer)
    }

    /// Stops a thread and leaves it stopped. `false` when it ended instead.
    pub fn stop(&mut self, tid: i32) -> Result<bool, Error> {
        Ok(self.stop_by(tid)?.is_some())
    }

    /// Interrupts a thread and waits until it is stopped; by which event is the answer, `None` when it ended instead.
    fn stop_by(&mut self, tid: i32) -> Result<Option<Event>, Error> {
        let start = Instant::now();
        self.watch_sleep(tid);
        loop {
            // Any other stop cancels the interrupt (the kernel's `ptrace_stop`), so that each is followed by a new one.
            if ptrace::interrupt(tid).is_err() {
                return Ok(None);
            }
            match self.next_event(tid)? {
                event @ (Event::Stop | Event::GroupStop(_)) => return Ok(Some(event)),
                Event::Ended => {
                    self.handle(tid, Event::Ended)?;
                    self.alive()?;
                    return Ok(None);
                }
                other => self.handle(tid, other)?,
            }
            self.alive()?;
            if start.elapsed() > PATIENCE {
                return Err(Error::Unresponsive(tid));
            }
        }
    }

    /// Takes hold of a sidecar that runs on its own, and stops it.
    pub fn capture(&mut self, sidecar: i32) -> Result<(), Error> {
        ptrace::seize(sidecar, ptrace::OPTIONS_OF_OURS).map_err(|_| Error::SidecarLost)?;
        self.tracees.insert(sidecar, Kind::Sidecar);
        if self.stop(sidecar)? { Ok(()) } else { Err(Error::SidecarLost) }
    }

    fn look<T>(&mut self, tid: i32, visit: impl FnOnce(&mut Self, i32, &mut Regs) -> T) -> Option<T> {
        let mut regs = ptrace::regs(tid).ok()?;
        let before = regs.pc();
        let answer = visit(self, tid, &mut regs);
        if regs.pc() != before {
            let _ = ptrace::set_regs(tid, &regs);
        }
        Some(answer)
    }

    pub(super) fn would_be_ignored(&self, tid: i32, signal: i32) -> bool {
        let by_default = matches!(signal, libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH | libc::SIGCONT);
        proc::status(tid)
            .is_ok_and(|s| s.sig_ignored & bit(signal) != 0 || (by_default && s.sig_caught & bit(signal) == 0))
    }

    /// A stop that the program must not notice: a few system calls answer EINTR to it although no handler runs. Those are
    /// started again.
    pub fn undisturb(&self, tid: i32) {
        let again = ptrace::regs(tid).ok().and_then(|regs| regs.after_eintr(self.sleeper(tid)));
        if let Some(regs) = again
            && !self.handler_is_due(tid)
        {
            let _ = ptrace::set_regs(tid, &regs);
        }
    }

    /// Takes note of what a thread sleeps in, before it is stopped.
    pub(super) fn watch_sleep(&mut self, tid: i32) {
        if !arch::NEEDS_SLEEPERS {
            return;
        }
        match proc::sleeper(self.pid, tid) {
            Some(sleeper) => self.sleepers.insert(tid, sleeper),
            None => self.sleepers.remove(&tid),
        };
    }

    /// What a thread that is stopped was woken from, if it is certain: since it was seen to sleep it has gone to sleep
    /// once, to be stopped.
    pub fn sleeper(&self, tid: i32) -> Option<&Sleeper> {
        let sleeper = self.sleepers.get(&tid)?;
        (proc::sleeps(self.pid, tid)? == sleeper.sleeps + 1).then_some(sleeper)
    }

    /// Whether a handler will run in this thread before it goes on.
    pub fn handler_is_due(&self, tid: i32) -> bool {
        proc::status(tid).is_ok_and(|s| (s.sig_pending | s.shared_pending) & !s.sig_blocked & s.sig_caught != 0)
    }
}
