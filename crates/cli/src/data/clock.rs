//! From ticks of the CPU's counter to nanoseconds since the start of the trace.

/// Converts ticks to nanoseconds; monotone, so order survives the conversion.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: u64,
    ns_per_tick: f64,
}

impl Clock {
    /// `start` in ticks, `hz` in ticks per second (finite and greater than 0).
    #[must_use]
    pub fn new(start: u64, hz: f64) -> Self {
        Self { start, ns_per_tick: 1e9 / hz }
    }

    /// Nanoseconds from the start of the trace to `tsc`; 0 for earlier ticks (a record may be a
    /// few ticks older than the moment that the tracer calls the start).
    #[must_use]
    pub fn ns(&self, tsc: u64) -> u64 {
        // An hour is about 10^13 ticks, far below the 2^53 that an f64 holds exactly.
        (tsc.saturating_sub(self.start) as f64 * self.ns_per_tick) as u64
    }
}
