//! Decrementing later.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{KeyError, StaticKey};

/// Decrements a key some time after it was asked to, so that users who come and go at a high rate do not change code each
/// time.
///
/// ```
/// use std::time::Duration;
/// use textpoke::keys::Deferred;
///
/// textpoke::static_key! { static TRACED: bool = false; }
/// static RELEASE: Deferred<false> = Deferred::new(&TRACED, Duration::from_secs(1));
///
/// TRACED.inc()?;
/// RELEASE.dec();
/// assert!(TRACED.is_enabled(), "for a second more");
/// RELEASE.flush()?;
/// assert!(!TRACED.is_enabled());
/// # Ok::<(), textpoke::keys::KeyError>(())
/// ```
#[derive(Debug)]
pub struct Deferred<const DEFAULT: bool> {
    key: &'static StaticKey<DEFAULT>,
    delay: Duration,
    waiting: Mutex<Waiting>,
    flushed: Condvar,
}

#[derive(Debug)]
struct Waiting {
    /// When each of the decrements is due, ascending.
    due: Vec<Instant>,
    /// The process in which a thread sees to them; a fork child has none.
    served_by: Option<u32>,
}

impl<const DEFAULT: bool> Deferred<DEFAULT> {
    /// Decrements `key` by `delay` later. The value is meant for a static, which may be used at once.
    pub const fn new(key: &'static StaticKey<DEFAULT>, delay: Duration) -> Self {
        let waiting = Mutex::new(Waiting { due: Vec::new(), served_by: None });
        Self { key, delay, waiting, flushed: Condvar::new() }
    }

    /// Decrements the key when the delay has passed, in a thread of its own that lives until nothing is due. Where no
    /// thread can be had it waits for the next call or [`Deferred::flush`].
    ///
    /// A decrement that fails (see [`StaticKey::dec`]) is tried again with the next.
    pub fn dec(&'static self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.due.push(Instant::now() + self.delay);
        if waiting.served_by != Some(std::process::id()) {
            let thread = std::thread::Builder::new().name("textpoke-deferred".into()).spawn(|| self.serve());
            waiting.served_by = thread.is_ok().then(std::process::id);
        }
    }

    /// Decrements at once what is waiting.
    ///
    /// # Errors
    /// As [`StaticKey::dec`]; what was not decremented is waiting still.
    pub fn flush(&self) -> Result<(), KeyError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while !waiting.due.is_empty() {
            self.key.dec()?;
            waiting.due.pop();
        }
        self.flushed.notify_all();
        Ok(())
    }

    fn serve(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(&next) = waiting.due.first() {
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() {
                if self.key.dec().is_err() {
                    break;
                }
                waiting.due.remove(0);
            } else {
                waiting = self.flushed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        waiting.served_by = None;
    }
}
