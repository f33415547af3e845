//! Everybody stopped at the same time, as the protocols that park ask for.
//!
//! A thread that is stopped is in the kernel, and its way back to the program is a context synchronising point. So would a
//! sleeper's be; but a sleeper that wakes up while the text is half written runs into it, so that sleepers are stopped as
//! well, and go on sleeping afterwards as if nothing had been ([`Keeper::undisturb`]).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Keeper, Kind, PATIENCE, resume, waits_for_vfork_child};
use crate::error::Error;
use crate::ptrace::{self, Event};

impl Keeper {
    /// Stops everybody who executes the target's text until [`Keeper::unpark`]. Again while all are stopped, it does
    /// nothing.
    ///
    /// # Errors
    /// Somebody does not react; everybody is let go.
    pub fn park(&mut self) -> Result<(), Error> {
        self.parked.get_or_insert_with(BTreeMap::new);
        let done = self.stop_all();
        if done.is_err() {
            self.unpark();
        }
        done
    }

    fn stop_all(&mut self) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            let running = self.not_parked();
            let Some(&first) = running.first() else { return Ok(()) };
            for tid in running {
                if self.asked.insert(tid) {
                    self.watch_sleep(tid);
                    // Whoever has ended tells by an event.
                    let _ = ptrace::interrupt(tid);
                }
            }
            self.pump()?;
            if start.elapsed() > PATIENCE {
                return Err(Error::Unresponsive(first));
            }
            std::thread::sleep(Duration::from_micros(20));
        }
    }

    /// Who executes the text and is not stopped. A thread that is borrowed is, and does not go on by itself. A thread that waits for its vfork child cannot be stopped and cannot go
    /// on either, as long as the child is.
    fn not_parked(&self) -> Vec<i32> {
        let parked = |tid: &i32| {
            self.borrowed.contains(tid) || self.parked.as_ref().is_some_and(|parked| parked.contains_key(tid))
        };
        let mut running: Vec<i32> = self.executors().into_iter().filter(|tid| !parked(tid)).collect();
        let children = self.tracees.iter().filter(|(tid, kind)| **kind == Kind::Vfork && parked(tid)).count();
        if children > 0 {
            let waiting: Vec<i32> =
                running.iter().copied().filter(|&tid| waits_for_vfork_child(self.pid, tid)).take(children).collect();
            running.retain(|tid| !waiting.contains(tid));
        }
        running
    }

    /// Lets everybody go on.
    pub fn unpark(&mut self) {
        self.asked.clear();
        for (tid, event) in self.parked.take().unwrap_or_default() {
            match event {
                Event::GroupStop(_) => drop(ptrace::listen(tid)),
                _ => resume(tid, 0),
            }
        }
    }

    /// Whether a tracee that has stopped stays so because everybody is being parked.
    pub(super) fn keep_parked(&mut self, tid: i32, event: Event) -> bool {
        let executes = matches!(self.tracees.get(&tid), Some(Kind::Thread | Kind::Vfork));
        match &mut self.parked {
            Some(parked) if executes => {
                parked.insert(tid, event);
                true
            }
            _ => false,
        }
    }
}
