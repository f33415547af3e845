//! What reading a trace produces: entries and exits that always nest.

use crate::error::Result;

/// How the end of a call is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// An exit record of this very call.
    Exact,
    /// The call had ended when its caller did something else: the time is the latest possible one, or, when no traced
    /// caller is left, the last at which the thread was seen inside (the earliest possible one).
    Inferred,
    /// The trace (or the thread) ended first.
    Unfinished,
    /// The function is counted only: entry and exit at the same time.
    Counted,
}

/// One step of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// `function` (index into the meta's functions) is entered.
    Enter {
        /// Index of the function.
        function: u32,
        /// Nanoseconds since the start of the trace.
        ns: u64,
    },
    /// The most recently entered call that has not ended, ends.
    Exit {
        /// Index of the function; equals that of the matching entry.
        function: u32,
        /// Nanoseconds since the start of the trace.
        ns: u64,
        /// How this is known.
        how: How,
    },
    /// Records are missing here.
    Lost {
        /// How many.
        count: u64,
        /// Nanoseconds since the start of the trace.
        ns: u64,
    },
}

impl Event {
    /// Nanoseconds since the start of the trace; never decreases within a thread.
    #[must_use]
    pub fn ns(&self) -> u64 {
        match *self {
            Self::Enter { ns, .. } | Self::Exit { ns, .. } | Self::Lost { ns, .. } => ns,
        }
    }
}

/// Takes the events of one thread in order.
pub trait Sink {
    /// Takes one event.
    ///
    /// # Errors
    /// Whatever the sink writes to may fail; reading stops then.
    fn event(&mut self, event: Event) -> Result<()>;

    /// True when nothing later can matter any more; reading may stop early.
    fn done(&self) -> bool {
        false
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn event(&mut self, event: Event) -> Result<()> {
        (**self).event(event)
    }

    fn done(&self) -> bool {
        (**self).done()
    }
}
