//! Filters between the reconstruction and a sink: `-D DEPTH`, `-t TIME`, `--from/--to`.
//!
//! Each keeps the events nesting and in order of time.

use super::event::{Event, How, Sink};
use crate::error::Result;

/// Which calls pass. The default lets everything through.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Filter {
    /// Calls nested deeper than this are dropped; 1 keeps only the outermost traced calls.
    pub depth: Option<u32>,
    /// Calls shorter than this many nanoseconds are dropped.
    pub min_ns: Option<u64>,
    /// Only what happens from here on, nanoseconds since the start of the trace.
    pub from_ns: Option<u64>,
    /// Only what happens up to here, nanoseconds since the start of the trace.
    pub to_ns: Option<u64>,
}

impl Filter {
    /// Puts the filter in front of a sink; one per thread.
    pub fn before<S: Sink>(&self, sink: S) -> Depth<Shortest<Window<S>>> {
        let window = Window {
            from: self.from_ns.unwrap_or(0),
            to: self.to_ns.unwrap_or(u64::MAX),
            state: if self.from_ns.is_some() { Phase::Before } else { Phase::Inside },
            open: Vec::new(),
            sink,
        };
        let shortest = Shortest { min: self.min_ns.unwrap_or(0), pending: Vec::new(), sink: window };
        Depth { max: self.depth.unwrap_or(u32::MAX), now: 0, sink: shortest }
    }
}

/// Drops calls below a depth.
#[derive(Debug)]
pub struct Depth<S> {
    max: u32,
    now: u32,
    sink: S,
}

impl<S: Sink> Sink for Depth<S> {
    fn event(&mut self, event: Event) -> Result<()> {
        let passes = match event {
            Event::Enter { .. } => {
                self.now += 1;
                self.now <= self.max
            }
            Event::Exit { .. } => {
                self.now -= 1;
                self.now < self.max
            }
            Event::Lost { .. } => true,
        };
        if passes { self.sink.event(event) } else { Ok(()) }
    }

    fn done(&self) -> bool {
        self.sink.done()
    }
}

/// Drops calls shorter than a limit. An entry waits until its call is known to be long enough.
#[derive(Debug)]
pub struct Shortest<S> {
    min: u64,
    /// Entries that wait, outermost first, as (function, ns). The calls around them are out.
    pending: Vec<(u32, u64)>,
    sink: S,
}

impl<S: Sink> Shortest<S> {
    /// Passes on the entries whose calls have lasted long enough by `now`.
    fn release(&mut self, now: u64) -> Result<()> {
        // Outer calls are older, so those that pass come first.
        let ready = self.pending.iter().take_while(|&&(_, ns)| now - ns >= self.min).count();
        for (function, ns) in self.pending.drain(..ready) {
            self.sink.event(Event::Enter { function, ns })?;
        }
        Ok(())
    }
}

impl<S: Sink> Sink for Shortest<S> {
    fn event(&mut self, event: Event) -> Result<()> {
        if self.min == 0 {
            return self.sink.event(event);
        }
        self.release(event.ns())?;
        match event {
            Event::Enter { function, ns } => {
                self.pending.push((function, ns));
                Ok(())
            }
            Event::Exit { .. } if self.pending.pop().is_some() => Ok(()),
            _ => self.sink.event(event),
        }
    }

    fn done(&self) -> bool {
        self.sink.done()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Before,
    Inside,
    After,
}

/// Cuts calls at the borders of a window of time.
#[derive(Debug)]
pub struct Window<S> {
    from: u64,
    to: u64,
    state: Phase,
    open: Vec<u32>,
    sink: S,
}

impl<S: Sink> Sink for Window<S> {
    fn event(&mut self, event: Event) -> Result<()> {
        if self.state == Phase::Before && event.ns() >= self.from {
            self.state = Phase::Inside;
            for &function in &self.open {
                self.sink.event(Event::Enter { function, ns: self.from })?;
            }
        }
        if self.state == Phase::Inside && event.ns() > self.to {
            self.state = Phase::After;
            for &function in self.open.iter().rev() {
                let how = How::Unfinished;
                self.sink.event(Event::Exit { function, ns: self.to, how })?;
            }
        }
        match event {
            Event::Enter { function, .. } => self.open.push(function),
            Event::Exit { .. } => drop(self.open.pop()),
            Event::Lost { .. } => {}
        }
        if self.state == Phase::Inside { self.sink.event(event) } else { Ok(()) }
    }

    fn done(&self) -> bool {
        self.state == Phase::After || self.sink.done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Log(Vec<Event>);
    impl Sink for Log {
        fn event(&mut self, event: Event) -> Result<()> {
            self.0.push(event);
            Ok(())
        }
    }

    fn enter(function: u32, ns: u64) -> Event {
        Event::Enter { function, ns }
    }
    fn exit(function: u32, ns: u64) -> Event {
        Event::Exit { function, ns, how: How::Exact }
    }
    fn cut(function: u32, ns: u64) -> Event {
        Event::Exit { function, ns, how: How::Unfinished }
    }

    fn through(filter: Filter, events: &[Event]) -> Vec<Event> {
        let mut log = Log::default();
        let mut chain = filter.before(&mut log);
        for &event in events {
            chain.event(event).unwrap();
        }
        log.0
    }

    /// 0: main 0..100, 1: long 10..60, 2: short 20..25, 3: short 70..72.
    fn sample() -> Vec<Event> {
        vec![enter(0, 0), enter(1, 10), enter(2, 20), exit(2, 25), exit(1, 60), enter(3, 70), exit(3, 72), exit(0, 100)]
    }

    #[test]
    fn nothing_set_changes_nothing() {
        assert_eq!(through(Filter::default(), &sample()), sample());
    }

    #[test]
    fn depth_keeps_the_outer_calls() {
        let filter = Filter { depth: Some(1), ..Filter::default() };
        assert_eq!(through(filter, &sample()), [enter(0, 0), exit(0, 100)]);
    }

    #[test]
    fn short_calls_are_dropped_and_order_of_time_stays() {
        let filter = Filter { min_ns: Some(10), ..Filter::default() };
        let kept = through(filter, &sample());
        assert_eq!(kept, [enter(0, 0), enter(1, 10), exit(1, 60), exit(0, 100)]);
    }

    #[test]
    fn a_call_of_exactly_the_limit_stays() {
        let filter = Filter { min_ns: Some(5), ..Filter::default() };
        assert!(through(filter, &sample()).contains(&enter(2, 20)));
    }

    #[test]
    fn a_window_cuts_calls_at_its_borders() {
        let filter = Filter { from_ns: Some(22), to_ns: Some(65), ..Filter::default() };
        let kept = through(filter, &sample());
        let wanted = [enter(0, 22), enter(1, 22), enter(2, 22), exit(2, 25), exit(1, 60), cut(0, 65)];
        assert_eq!(kept, wanted);
    }

    #[test]
    fn reading_may_stop_after_the_window() {
        let mut log = Log::default();
        let mut chain = Filter { to_ns: Some(15), ..Filter::default() }.before(&mut log);
        chain.event(enter(0, 10)).unwrap();
        assert!(!chain.done());
        chain.event(enter(1, 20)).unwrap();
        assert!(chain.done());
    }
}
