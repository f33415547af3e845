//! Adds up events to numbers per function and per thread.

use super::histogram::Histogram;
use crate::data::event::{Event, How, Sink};
use crate::data::filter::Filter;
use crate::data::meta::ExitKind;
use crate::data::trace::Trace;
use crate::error::Result;
use crate::progress;

/// Numbers of one function over all threads.
#[derive(Clone, Debug, Default)]
pub struct FunctionStats {
    /// Entries.
    pub calls: u64,
    /// Time between entry and exit; a recursive call within the same function is not counted again.
    pub total_ns: u64,
    /// Time in the function itself, without the traced functions that it calls.
    pub self_ns: u64,
    /// Calls whose end was inferred, or that had not ended.
    pub inexact: u64,
    /// Durations of all calls, recursive ones too.
    pub durations: Histogram,
}

/// Numbers of one thread.
#[derive(Clone, Debug, Default)]
pub struct ThreadStats {
    /// Entries.
    pub calls: u64,
    /// Time in outermost traced calls.
    pub total_ns: u64,
}

/// Numbers of a whole trace.
#[derive(Clone, Debug)]
pub struct Stats {
    /// By index of the function in the meta.
    pub functions: Vec<FunctionStats>,
    /// By index of the thread in the meta.
    pub threads: Vec<ThreadStats>,
}

impl Stats {
    /// Reads the whole trace.
    ///
    /// # Errors
    /// Reading a record file.
    pub fn collect(trace: &Trace, filter: Filter) -> Result<Self> {
        let filter = trace.filter(filter);
        let mut functions = vec![FunctionStats::default(); trace.meta.functions.len()];
        let mut threads = Vec::with_capacity(trace.meta.threads.len());
        let bar = progress::bar("reading", trace.total_records());
        for index in 0..trace.meta.threads.len() {
            let mut adder = Adder {
                counted_only: &|f| trace.meta.functions[f as usize].exit == ExitKind::EntryOnly,
                nested: vec![0; functions.len()],
                functions: &mut functions,
                thread: ThreadStats::default(),
                stack: Vec::new(),
            };
            trace.walk(index, filter, &mut adder, &mut |n| bar.inc(n))?;
            threads.push(adder.thread);
        }
        bar.finish_and_clear();
        Ok(Self { functions, threads })
    }

    /// Entries in all threads.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.threads.iter().map(|t| t.calls).sum()
    }
}

struct Open {
    since: u64,
    in_children: u64,
}

struct Adder<'a> {
    functions: &'a mut [FunctionStats],
    counted_only: &'a dyn Fn(u32) -> bool,
    /// Open calls per function, to see recursion.
    nested: Vec<u32>,
    thread: ThreadStats,
    stack: Vec<Open>,
}

impl Sink for Adder<'_> {
    fn event(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Enter { function, ns } => {
                self.functions[function as usize].calls += 1;
                self.thread.calls += 1;
                self.nested[function as usize] += 1;
                self.stack.push(Open { since: ns, in_children: 0 });
            }
            Event::Exit { function, ns, how } => {
                let Some(open) = self.stack.pop() else { return Ok(()) };
                let took = ns - open.since;
                let stats = &mut self.functions[function as usize];
                let nested = &mut self.nested[function as usize];
                *nested -= 1;
                if *nested == 0 {
                    stats.total_ns += took;
                }
                stats.self_ns += took - open.in_children.min(took);
                if !(self.counted_only)(function) {
                    stats.durations.add(took);
                }
                stats.inexact += u64::from(matches!(how, How::Inferred | How::Unfinished));
                match self.stack.last_mut() {
                    Some(caller) => caller.in_children += took,
                    None => self.thread.total_ns += took,
                }
            }
            Event::Lost { .. } => {}
        }
        Ok(())
    }
}
