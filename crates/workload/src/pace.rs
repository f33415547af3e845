//! Keeping a thread to a rate without letting it lag behind a request to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A thread that sleeps looks at the stop flag at least this often.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);
/// Somebody who fell behind further than this starts afresh instead of catching up in a burst.
const LARGEST_BACKLOG: Duration = Duration::from_millis(500);

pub(crate) struct Pace {
    /// Zero: no limit.
    interval: Duration,
    due: Instant,
}

impl Pace {
    /// `rate` per second, 0: unlimited.
    pub fn per_second(rate: u32) -> Self {
        let interval = match rate {
            0 => Duration::ZERO,
            rate => Duration::from_secs(1) / rate,
        };
        Self::every(interval)
    }

    pub fn every(interval: Duration) -> Self {
        Self { interval, due: Instant::now() }
    }

    /// Sleeps until the next turn. False: `stop` was set, there is no next turn.
    pub fn wait(&mut self, stop: &AtomicBool) -> bool {
        loop {
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            if self.interval.is_zero() {
                return true;
            }
            let now = Instant::now();
            if now >= self.due {
                if now - self.due > LARGEST_BACKLOG {
                    self.due = now;
                }
                self.due += self.interval;
                return true;
            }
            thread::sleep((self.due - now).min(LONGEST_SLEEP));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_flag_ends_the_waiting() {
        let stop = AtomicBool::new(true);
        assert!(!Pace::per_second(0).wait(&stop));
        assert!(!Pace::every(Duration::from_secs(3600)).wait(&stop));
    }

    #[test]
    fn turns_are_never_early() {
        let stop = AtomicBool::new(false);
        let start = Instant::now();
        let mut pace = Pace::every(Duration::from_millis(5));
        for _ in 0..4 {
            assert!(pace.wait(&stop));
        }
        // The first turn is due at once, the fourth three intervals later. Late is allowed.
        assert!(start.elapsed() >= Duration::from_millis(15));
    }
}
