//! Threads that are created, compute something and end, many times a second.

use super::{Shared, expect_equal};
use crate::pace::Pace;
use crate::probe;
use std::io::{PipeWriter, Write};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(40);
/// Every so many threads, the sleeper is woken: about twice a second, so that it mostly sleeps.
const WAKE_EVERY: u64 = 12;
/// Different computations; few, so that the right answers are worked out once and cost a trace nothing.
const SEEDS: u64 = 8;

/// Runs until the stop flag; closing `wake` at its end lets the sleeper end too.
pub(crate) fn run(shared: &Shared, mut wake: PipeWriter) -> Result<(), String> {
    let right = (0..SEEDS)
        .map(probe::compute)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("the thread-maker's database: {error}"))?;
    shared.threads_ready.fetch_add(1, Ordering::Relaxed);
    let mut pace = Pace::every(INTERVAL);
    for (seed, &right) in (0..).zip(&right).cycle() {
        if !pace.wait(&shared.stop) {
            break;
        }
        let answer = thread::Builder::new()
            .name("short-lived".into())
            .spawn(move || probe::compute(seed))
            .map_err(|error| format!("cannot create a thread: {error}"))?
            .join()
            .map_err(|_| String::from("a short-lived thread panicked"))?
            .map_err(|error| format!("a short-lived thread's database: {error}"))?;
        expect_equal("a short-lived thread", answer, right)?;
        let number = shared.threads.fetch_add(1, Ordering::Relaxed) + 1;
        if number.is_multiple_of(WAKE_EVERY) {
            wake.write_all(b"w").map_err(|error| format!("cannot wake the sleeper: {error}"))?;
        }
    }
    Ok(())
}
