//! What makes patching a live process hard: each file is one thread that keeps doing one such thing.

pub(crate) mod processes;
pub(crate) mod signals;
pub(crate) mod sleeper;
pub(crate) mod threads;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

/// What the threads of one run share.
#[derive(Default)]
pub(crate) struct Shared {
    /// Everybody ends soon after this is set.
    pub stop: AtomicBool,
    /// The sender of signals ends earlier: its targets must still be alive.
    pub stop_signals: AtomicBool,
    pub threads_ready: AtomicU64,
    /// Kernel thread ids of the workers, 0 before a worker has started.
    pub worker_ids: Vec<AtomicI32>,
    pub eintr: AtomicU64,
    pub forks: AtomicU64,
    pub spawns: AtomicU64,
    pub threads: AtomicU64,
    errors: Mutex<Vec<String>>,
}

impl Shared {
    pub fn new(workers: usize) -> Self {
        Self { worker_ids: (0..workers).map(|_| AtomicI32::new(0)).collect(), ..Self::default() }
    }

    /// Notes an error and ends the run: what follows a wrong result is worth nothing.
    pub fn fail(&self, message: String) {
        self.stop_signals.store(true, Ordering::Relaxed);
        self.stop.store(true, Ordering::Relaxed);
        let mut errors = self.errors.lock().unwrap_or_else(|held| held.into_inner());
        errors.push(message);
    }

    pub fn take_errors(&self) -> Vec<String> {
        let mut errors = self.errors.lock().unwrap_or_else(|held| held.into_inner());
        std::mem::take(&mut *errors)
    }
}

/// `Ok` if a computation gave what it must; its name is part of the message.
fn expect_equal<T: PartialEq + std::fmt::LowerHex>(what: &str, got: T, right: T) -> Result<(), String> {
    if got == right { Ok(()) } else { Err(format!("{what} computed {got:x}, right is {right:x}")) }
}
