//! Reconstruction: the records of one thread become calls that nest.
//!
//! The stack pointer is the witness for calls whose exit has no record. At its entry a function's
//! stack pointer points to its return address; it has returned once the thread is seen with a
//! stack pointer above that (at an entry: at or above, since a tail call or the next call from the
//! same frame reuses the place). That covers functions without exit sites, `longjmp`, exceptions
//! and panics in one rule.
//!
//! Signal handlers on an alternate stack and coroutines run elsewhere: the frames are kept in
//! *runs*, one per visited stack, and only frames of the same run are compared. Coming back to an
//! older run ends everything above it.

use super::clock::Clock;
use super::event::{Event, How, Sink};
use super::meta::{ExitKind, Meta, SiteKind};
use super::record::{Record, SP_BITS};
use crate::error::Result;

/// Stack pointers closer than this (in units of 8 bytes: 1 MiB) to a run belong to its stack.
const NEAR: i64 = (1 << 20) / 8;

/// How many runs are searched for the one that a stack pointer belongs to. More are seen only
/// with coroutines, where any choice is a guess, and the bound keeps reading linear.
const MAX_RUNS: usize = 64;

/// Frames kept at most; reached only by a program that switches stacks in a way that no rule
/// here understands. Then everything is closed, so memory stays bounded.
const MAX_FRAMES: usize = 1 << 18;

#[derive(Clone, Copy, Debug)]
struct Frame {
    function: u32,
    sp8: u64,
    /// Index of the first frame of this frame's run.
    run: u32,
    /// How many losses had happened at the entry.
    epoch: u32,
}

/// What a site id means, ready for the inner loop.
#[derive(Clone, Copy, Debug)]
struct SiteInfo {
    function: u32,
    entry: bool,
    counted_only: bool,
}

/// The tables that all threads of a trace share.
#[derive(Clone, Debug)]
pub struct Sites {
    sites: Vec<SiteInfo>,
    functions: usize,
}

impl Sites {
    /// From a meta whose site table was checked to refer to existing functions.
    #[must_use]
    pub fn new(meta: &Meta) -> Self {
        let info = |site: &super::meta::Site| SiteInfo {
            function: site.function,
            entry: site.kind == SiteKind::Entry,
            counted_only: meta.functions[site.function as usize].exit == ExitKind::EntryOnly,
        };
        Self { sites: meta.sites.iter().map(info).collect(), functions: meta.functions.len() }
    }
}

/// Turns the records of one thread into events. Feed every record, then call [`Calls::finish`].
#[derive(Debug)]
pub struct Calls<'a> {
    sites: &'a Sites,
    clock: Clock,
    stack: Vec<Frame>,
    /// Open calls per function: an exit of a function without one needs no search.
    open: Vec<u32>,
    now: u64,
    /// Time of the record before.
    before: u64,
    epoch: u32,
    unknown: u64,
}

impl<'a> Calls<'a> {
    /// An empty stack at the start of a thread.
    #[must_use]
    pub fn new(sites: &'a Sites, clock: Clock) -> Self {
        let open = vec![0; sites.functions];
        Self { sites, clock, stack: Vec::new(), open, now: 0, before: 0, epoch: 0, unknown: 0 }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn record(&mut self, record: Record, sink: &mut impl Sink) -> Result<()> {
        // A signal between reading the clock and taking the slot puts an older time after a newer
        // one; order in the ring is the truth, so time is held back.
        self.before = self.now;
        self.now = self.now.max(self.clock.ns(record.tsc));
        if record.is_lost() {
            self.epoch += 1;
            return sink.event(Event::Lost { count: record.sp8, ns: self.now });
        }
        let Some(&site) = self.sites.sites.get(record.site as usize) else {
            self.unknown += 1;
            return Ok(());
        };
        if site.entry { self.enter(site, record.sp8, sink) } else { self.exit(site.function, record.sp8, sink) }
    }

    /// Ends all open calls at `end_tsc` (or at the last record if that is later).
    ///
    /// # Errors
    /// Those of the sink.
    pub fn finish(&mut self, end_tsc: u64, sink: &mut impl Sink) -> Result<()> {
        self.now = self.now.max(self.clock.ns(end_tsc));
        self.close_to(0, How::Unfinished, sink)
    }

    /// Records whose site id is in no table: a damaged file.
    #[must_use]
    pub fn unknown_sites(&self) -> u64 {
        self.unknown
    }

    fn enter(&mut self, site: SiteInfo, sp8: u64, sink: &mut impl Sink) -> Result<()> {
        let run = self.unwind(sp8, 0, sink)?;
        let (function, ns) = (site.function, self.now);
        sink.event(Event::Enter { function, ns })?;
        if site.counted_only {
            return sink.event(Event::Exit { function, ns, how: How::Counted });
        }
        if self.stack.len() >= MAX_FRAMES {
            // The entry above is already out: it becomes a call without duration.
            sink.event(Event::Exit { function, ns, how: How::Inferred })?;
            return self.close_to(0, How::Inferred, sink);
        }
        let run = run.unwrap_or(self.stack.len() as u32);
        self.stack.push(Frame { function, sp8, run, epoch: self.epoch });
        self.open[function as usize] += 1;
        Ok(())
    }

    fn exit(&mut self, function: u32, sp8: u64, sink: &mut impl Sink) -> Result<()> {
        self.unwind(sp8, 1, sink)?;
        if self.open[function as usize] == 0 {
            return Ok(()); // Entered before the trace began, or its entry was lost.
        }
        let Some(at) = self.stack.iter().rposition(|f| f.function == function) else {
            return Ok(());
        };
        let top = self.stack.len() - 1;
        if at != top && self.stack[top].epoch != self.epoch {
            // The frames above still look alive, and records are missing since they were entered:
            // this exit belongs to a call whose entry was lost, not to that older one.
            return Ok(());
        }
        self.close_to(at + 1, How::Inferred, sink)?;
        // Across a loss the call may be another one at the same place, so the time is not exact.
        let exact = self.stack[at].epoch == self.epoch;
        self.close_to(at, if exact { How::Exact } else { How::Inferred }, sink)
    }

    /// Ends the frames that must have returned when the stack pointer is `sp8`; `slack` is 0 for
    /// an entry (an equal stack pointer means returned) and 1 for an exit (it means the frame
    /// itself). Returns the run that the stack pointer belongs to, if there is one.
    fn unwind(&mut self, sp8: u64, slack: i64, sink: &mut impl Sink) -> Result<Option<u32>> {
        let mut len = self.stack.len();
        for _ in 0..MAX_RUNS {
            let Some(top) = self.stack[..len].last() else { return Ok(None) };
            let run = top.run as usize;
            let base = self.stack[run];
            if above(sp8, top.sp8) > -NEAR && above(sp8, base.sp8) < NEAR {
                while len > run && above(sp8, self.stack[len - 1].sp8) >= slack {
                    len -= 1;
                }
                // An exit that nobody saw happened between the last event and this one. With a caller left, which does
                // what comes now, now is near; with none, the thread may have slept since, and the last event is nearer.
                let ns = if len == 0 { self.before } else { self.now };
                self.close_at(ns, len, How::Inferred, sink)?;
                return Ok(Some(run as u32));
            }
            len = run;
        }
        Ok(None)
    }

    /// Ends calls from the top until `len` are left, now.
    fn close_to(&mut self, len: usize, how: How, sink: &mut impl Sink) -> Result<()> {
        self.close_at(self.now, len, how, sink)
    }

    fn close_at(&mut self, ns: u64, len: usize, how: How, sink: &mut impl Sink) -> Result<()> {
        while self.stack.len() > len {
            let Some(frame) = self.stack.pop() else { break };
            self.open[frame.function as usize] -= 1;
            sink.event(Event::Exit { function: frame.function, ns, how })?;
        }
        Ok(())
    }
}

/// How far `a` lies above `b`, in units of 8 bytes, on the circle of 2^40 that records keep.
fn above(a: u64, b: u64) -> i64 {
    const UNUSED: u32 = 64 - SP_BITS;
    ((a.wrapping_sub(b) << UNUSED) as i64) >> UNUSED
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
