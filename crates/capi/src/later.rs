//! Decrementing later, for any number of keys with one thread.

use std::ffi::c_int;
use std::sync::atomic::{AtomicPtr, Ordering::AcqRel, Ordering::Acquire};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use textpoke::__keys::abi::Key;
use textpoke::keys::{KeyError, StaticKey};

use crate::change::branch_at;
use crate::error::{Failure, report};

type Branch = &'static StaticKey<false>;

struct Queue {
    /// A fork child has no thread, and the mutex may have been locked in the parent: it gets a queue of its own.
    process: u32,
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Default)]
struct Work {
    due: Vec<(Instant, Branch)>,
    /// What failed when it was due.
    failed: Vec<Branch>,
    /// What is being decremented by the thread.
    busy: Option<Branch>,
    served: bool,
}

/// The queue of this process.
fn queue() -> &'static Queue {
    static QUEUE: AtomicPtr<Queue> = AtomicPtr::new(core::ptr::null_mut());
    loop {
        let known = QUEUE.load(Acquire);
        // SAFETY: null, or leaked below.
        if let Some(queue) = unsafe { known.as_ref() }.filter(|queue| queue.process == std::process::id()) {
            return queue;
        }
        let fresh = Box::new(Queue { process: std::process::id(), work: Mutex::default(), changed: Condvar::new() });
        let fresh = Box::into_raw(fresh);
        // AcqRel: who finds it finds it whole (with the Acquire above).
        if QUEUE.compare_exchange(known, fresh, AcqRel, Acquire).is_err() {
            // SAFETY: nobody else has seen it.
            drop(unsafe { Box::from_raw(fresh) });
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decrements what is due, one after the other, until nothing is.
    fn serve(&self) {
        let mut work = self.lock();
        while let Some(at) = work.next() {
            let (due, key) = work.due[at];
            let left = due.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                work = self.changed.wait_timeout(work, left).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            work.due.swap_remove(at);
            work.busy = Some(key);
            drop(work);
            let result = key.dec();
            work = self.lock();
            work.busy = None;
            match result {
                // They may succeed now, too.
                Ok(()) => work.retry(),
                Err(KeyError::Misuse(_)) => {}
                Err(_) => work.failed.push(key),
            }
            self.changed.notify_all();
        }
        work.served = false;
    }
}

impl Work {
    /// Position of what is due next.
    fn next(&self) -> Option<usize> {
        (0..self.due.len()).min_by_key(|&i| self.due[i].0)
    }

    fn retry(&mut self) {
        let now = Instant::now();
        self.due.extend(self.failed.drain(..).map(|key| (now, key)));
    }

    /// Takes one decrement of this key out.
    fn take(&mut self, key: Branch) -> bool {
        let same = |other: Branch| core::ptr::eq(other, key);
        if let Some(at) = self.due.iter().position(|&(_, other)| same(other)) {
            self.due.swap_remove(at);
            return true;
        }
        let at = self.failed.iter().position(|&other| same(other));
        at.map(|at| self.failed.swap_remove(at)).is_some()
    }
}

/// Decrements a key so many milliseconds later.
///
/// # Safety
/// `key` leads to a key that stays where it is until that is done, or [`textpoke_key_flush`] has done it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn textpoke_key_dec_later(key: *const Key, milliseconds: u32) -> c_int {
    // SAFETY: the caller's duty.
    let key = match unsafe { branch_at(key) } {
        Ok(key) => key,
        Err(failure) => return report(Err(failure)),
    };
    // The thread is code of the object that this is in.
    textpoke::linux::loaded::stay();
    let queue = queue();
    let mut work = queue.lock();
    work.due.push((Instant::now() + Duration::from_millis(milliseconds.into()), key));
    if !work.served {
        // Without a thread it waits for the next call, or to be flushed.
        let thread = std::thread::Builder::new().name("textpoke-later".into()).spawn(|| queue.serve());
        work.served = thread.is_ok();
    }
    queue.changed.notify_all();
    0
}

/// Does now what has been put off for a key.
///
/// # Safety
/// `key` leads to a key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn textpoke_key_flush(key: *const Key) -> c_int {
    // SAFETY: the caller's duty.
    report(unsafe { branch_at(key) }.and_then(flush))
}

fn flush(key: Branch) -> Result<(), Failure> {
    let queue = queue();
    let mut work = queue.lock();
    loop {
        if work.take(key) {
            drop(work);
            let result = key.dec();
            work = queue.lock();
            match result {
                Ok(()) => {}
                Err(error) => {
                    if !matches!(error, KeyError::Misuse(_)) {
                        work.failed.push(key);
                    }
                    return Err(error.into());
                }
            }
        } else if work.busy.is_some_and(|busy| core::ptr::eq(busy, key)) {
            work = queue.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
        } else {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use textpoke::static_key;

    static_key! {
        static SOON: bool = false;
        static LATE: bool = false;
    }

    #[test]
    fn later_and_at_once() {
        // SAFETY: statics.
        unsafe {
            for _ in 0..3 {
                SOON.inc().unwrap();
                LATE.inc().unwrap();
                assert_eq!(textpoke_key_dec_later(SOON.raw(), 0), 0);
                assert_eq!(textpoke_key_dec_later(LATE.raw(), u32::MAX), 0);
            }
            while SOON.count() != 0 {
                std::thread::yield_now();
            }
            assert_eq!(LATE.count(), 3);
            assert_eq!((textpoke_key_flush(LATE.raw()), LATE.count(), LATE.is_enabled()), (0, 0, false));
            assert_eq!(textpoke_key_flush(LATE.raw()), 0, "nothing is waiting");
            assert_eq!(textpoke_key_dec_later(core::ptr::null(), 0), Code::Argument as c_int);
            assert_eq!(textpoke_key_dec_later(LATE.raw(), u32::MAX), 0);
            assert_eq!(textpoke_key_flush(LATE.raw()), Code::NotCounted as c_int);
            assert_eq!(textpoke_key_flush(LATE.raw()), 0, "it was told once");
        }
    }
}
