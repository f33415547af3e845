//! Threads that are created, compute something and end, many times a second.

use super::{Shared, expect_equal};
use crate::pace::Pace;
use crate::probe;
use std::io::{PipeWriter, Write};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(20);
/// Every so many threads, the sleeper is woken: about twice a second, so that it mostly sleeps.
const WAKE_EVERY: u64 = 25;

/// Runs until the stop flag; closing `wake` at its end lets the sleeper end too.
pub(crate) fn run(shared: &Shared, mut wake: PipeWriter) -> Result<(), String> {
    shared.threads_ready.fetch_add(1, Ordering::Relaxed);
    let mut pace = Pace::every(INTERVAL);
    let mut number = 0;
    while pace.wait(&shared.stop) {
        let seed: u64 = number;
        let answer = thread::Builder::new()
            .name("short-lived".into())
            .spawn(move || probe::compute(seed))
            .map_err(|error| format!("cannot create a thread: {error}"))?
            .join()
            .map_err(|_| String::from("a short-lived thread panicked"))?
            .map_err(|error| format!("a short-lived thread's database: {error}"))?;
        let right = probe::compute(seed).map_err(|error| error.to_string())?;
        expect_equal("a short-lived thread", answer, right)?;
        number += 1;
        shared.threads.store(number, Ordering::Relaxed);
        if number % WAKE_EVERY == 0 {
            wake.write_all(b"w").map_err(|error| format!("cannot wake the sleeper: {error}"))?;
        }
    }
    Ok(())
}
