//! The counter that probes record.

use std::time::{Duration, Instant};

use crate::arch;

/// The counter now.
pub fn tsc() -> u64 {
    arch::ticks()
}

/// Ticks per second: what the machine says, else measured for 20 ms.
pub fn hz() -> f64 {
    if let Some(hz) = arch::hz() {
        return hz;
    }
    let (start, ticks) = (Instant::now(), tsc());
    std::thread::sleep(Duration::from_millis(20));
    hz_over(tsc().wrapping_sub(ticks), start.elapsed())
}

/// Ticks per second: what the machine says, else what a longer time showed.
pub fn hz_over(ticks: u64, time: Duration) -> f64 {
    if let Some(hz) = arch::hz() {
        return hz;
    }
    // A recording of zero length has no rate; any positive one will do for no records.
    (ticks as f64 / time.as_secs_f64().max(1e-9)).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_counts() {
        let (a, b) = (tsc(), tsc());
        assert!(b >= a || a - b < 1_000_000);
        assert!(hz() > 1e6);
    }
}
