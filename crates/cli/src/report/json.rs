//! `report --json`.

use serde::Serialize;

use super::stats::Stats;
use super::table::Row;
use crate::data::trace::Trace;
use crate::names;

/// The document; field names are part of the program's interface.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    functions: Vec<Function<'a>>,
    lost: u64,
    threads: Vec<Thread<'a>>,
    refused: usize,
    duration_ns: u64,
}

#[derive(Debug, Serialize)]
struct Function<'a> {
    name: String,
    file: &'a str,
    calls: u64,
    total_ns: u64,
    self_ns: u64,
    p50_ns: u64,
    p99_ns: u64,
    exit: &'static str,
}

#[derive(Debug, Serialize)]
struct Thread<'a> {
    tid: u32,
    name: &'a str,
    calls: u64,
    total_ns: u64,
    records: u64,
    lost: u64,
}

impl<'a> Report<'a> {
    /// Gathers the document from chosen and sorted rows.
    #[must_use]
    pub fn new(trace: &'a Trace, stats: &'a Stats, rows: &[Row]) -> Self {
        let functions = rows.iter().map(|row| {
            let (function, s) = (&trace.meta.functions[row.function], &stats.functions[row.function]);
            Function {
                name: names::demangle(&function.name),
                file: &function.file,
                calls: s.calls,
                total_ns: s.total_ns,
                self_ns: s.self_ns,
                p50_ns: row.p50_ns,
                p99_ns: row.p99_ns,
                exit: function.exit.word(),
            }
        });
        let threads = trace.meta.threads.iter().zip(&stats.threads).map(|(thread, s)| Thread {
            tid: thread.tid,
            name: &thread.name,
            calls: s.calls,
            total_ns: s.total_ns,
            records: thread.records,
            lost: thread.lost,
        });
        Self {
            functions: functions.collect(),
            lost: trace.meta.lost,
            threads: threads.collect(),
            refused: trace.meta.refused.len(),
            duration_ns: trace.duration_ns(),
        }
    }
}
