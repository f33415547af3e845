//! SIGUSR1 for the workers in turn, a few hundred times a second.
//!
//! Ordinary signals coalesce while one is pending. Here the next one is sent only after the last was
//! handled, so that the numbers must be equal in the end and a single lost signal shows.

use super::Shared;
use crate::pace::Pace;
use crate::sys;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(3);
/// A signal to a live thread arrives as soon as the thread runs; this is for a machine that is very busy.
const LONGEST_DELIVERY: Duration = Duration::from_secs(60);

/// Runs until its stop flag; every signal that it sent has been handled then.
pub(crate) fn run(shared: &Shared) -> Result<(), String> {
    let targets: Vec<i32> = shared.worker_ids.iter().map(|id| id.load(Ordering::Acquire)).collect();
    shared.threads_ready.fetch_add(1, Ordering::Relaxed);
    let before = sys::signals_handled();
    let mut pace = Pace::every(INTERVAL);
    for (sent, &target) in (before..).zip(targets.iter().cycle()) {
        if !pace.wait(&shared.stop_signals) {
            break;
        }
        sys::signal_thread(target).map_err(|error| format!("cannot send SIGUSR1: {error}"))?;
        wait_until_handled(sent + 1)?;
    }
    Ok(())
}

fn wait_until_handled(count: u64) -> Result<(), String> {
    let never = AtomicBool::new(false);
    let mut pace = Pace::every(Duration::from_micros(200));
    let start = Instant::now();
    while sys::signals_handled() < count {
        if start.elapsed() > LONGEST_DELIVERY {
            return Err(format!("SIGUSR1 number {count} was never handled"));
        }
        pace.wait(&never);
    }
    let handled = sys::signals_handled();
    if handled > count {
        return Err(format!("{handled} SIGUSR1 handled, but {count} sent"));
    }
    Ok(())
}
