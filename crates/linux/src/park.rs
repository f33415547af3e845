//! Parking: nobody else executes program instructions while text changes.
//!
//! Each thread gets a signal whose handler sleeps until it is released. It may interrupt the thread anywhere, also between
//! the instructions of a site. All other signals are blocked in it, so that no handler of the program's runs on top. Threads
//! that come meanwhile were made by one that was not parked yet: the list is read until it holds nobody new and everybody on
//! it is there.
//!
//! A thread that sleeps in the kernel is woken for it, and the system call that it was in goes on or ends with EINTR, as
//! after any signal. A thread that blocks the signal, or cannot be interrupted in the kernel (a vfork parent), does not come;
//! then everybody is released and nothing has changed.
//!
//! While somebody is parked the patcher must not allocate or take any lock: a parked thread may hold it.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

use std::vec::Vec;

use textpoke_core::Cause;

use crate::pager::{self, Pager, Request, Task};
use crate::sys::{self, Timespec};
use crate::threads::Tasks;
use crate::{sync, threads};

/// How long to wait for all threads to come, in nanoseconds.
const PATIENCE: u64 = 2_000_000_000;

/// How long a thread may block the signal before that counts as for good. Nanoseconds.
const BLOCKED: u64 = 200_000_000;

/// How long a parked thread sleeps before it looks again, should a wake-up be lost. Nanoseconds.
const GLANCE: u64 = 50_000_000;

/// The number of the request whose threads are to wait, 0 for none.
static HELD: AtomicU32 = AtomicU32::new(0);

/// Everybody else, parked. Everything in it was allocated before, and is freed after somebody else runs again.
#[derive(Debug)]
pub(crate) struct Parked {
    pager: Pager,
    request: Option<Request>,
    tasks: Tasks,
    buf: Vec<u8>,
}

/// Parks everybody else; `blocker` is told who cannot be.
pub(crate) fn park(blocker: &mut Option<i32>) -> Result<Parked, Cause> {
    let pager = Pager::new()?;
    let tasks = Tasks::open()?;
    *blocker = threads::blocker(pager.signal(), BLOCKED)?;
    if blocker.is_some() {
        pager.release();
        return Err(Cause::Unsupported);
    }
    // Room for those who come meanwhile. From the first request on nothing is allocated.
    let room = 64 + 2 * tasks.list_roughly()?.len();
    let buf = std::vec![0u8; 32768];
    let request = pager.begin(Task::Wait, room);
    HELD.store(request.number() as u32, SeqCst);
    let mut parked = Parked { pager, request: Some(request), tasks, buf };
    // If it fails, dropping releases those who came.
    parked.gather()?;
    Ok(parked)
}

impl Parked {
    fn gather(&mut self) -> Result<(), Cause> {
        let Self { request: Some(request), tasks, buf, .. } = self else { return Err(Cause::Unsupported) };
        let end = sys::now() + PATIENCE;
        let me = sys::gettid();
        loop {
            // Everybody who was asked is there, and a list that is read after that has nobody new: nobody is left who
            // could make one.
            let settled = request.all_answered();
            let mut new = false;
            let mut refused = None;
            let all = tasks.each(buf, |tid| {
                if tid != me && !request.has_asked(tid) && tasks.is_worker(tid) == Some(false) {
                    new = true;
                    refused = request.ask(tid).err().or(refused);
                }
            })?;
            if let Some(errno) = refused {
                return Err(errno.into());
            }
            if settled && all && !new {
                return Ok(());
            }
            if sys::now() >= end {
                return Err(Cause::TimedOut);
            }
            sys::nap(20_000);
        }
    }

    /// Has every CPU synchronise, then lets everybody go on. Nobody goes on if that fails.
    pub fn unpark(&mut self) -> Result<(), Cause> {
        sync::cores()?;
        self.release();
        Ok(())
    }

    /// Lets everybody go on. Each synchronises its own CPU on its way.
    fn release(&mut self) {
        HELD.store(0, SeqCst);
        let _ = sys::futex_wake(&HELD, u32::MAX >> 1);
        if let Some(mut request) = self.request.take() {
            self.pager.end(&mut request, PATIENCE);
            self.pager.release();
        }
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.release();
    }
}

/// What a thread does that is asked to wait.
pub(crate) fn wait(number: u64, slot: usize) {
    pager::answer(number, slot, 0);
    while HELD.load(SeqCst) == number as u32 {
        let _ = sys::futex_wait(&HELD, number as u32, Some(Timespec::from_nanos(GLANCE)));
    }
    // The kernel has seen to it already; where it could not (the batch is broken), this is what is left.
    textpoke_cpu::serialize();
}
