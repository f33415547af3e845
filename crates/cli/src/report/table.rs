//! `report` for people.

use std::fmt::Write as _;

use super::stats::Stats;
use crate::data::meta::ExitKind;
use crate::data::trace::Trace;
use crate::names;
use crate::text::{self, Paint};

/// A line of the report: a function that was called, with its percentiles.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Index into the meta's functions.
    pub function: usize,
    /// Half of the calls took no longer, nanoseconds.
    pub p50_ns: u64,
    /// 99 of 100 calls took no longer, nanoseconds.
    pub p99_ns: u64,
}

/// What the lines are sorted by, largest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SortKey {
    /// Time from entry to exit
    Total,
    /// Time without the traced functions it called
    #[value(name = "self")]
    Own,
    /// Number of calls
    Calls,
    /// 99th percentile of the time of a call
    P99,
}

/// The called functions, sorted; at most `limit` of them (0: all).
#[must_use]
pub fn rows(trace: &Trace, stats: &Stats, key: SortKey, limit: usize) -> Vec<Row> {
    let called = stats.functions.iter().enumerate().filter(|(_, s)| s.calls > 0);
    let mut rows: Vec<Row> = called
        .map(|(function, s)| Row {
            function,
            p50_ns: s.durations.percentile(0.5),
            p99_ns: s.durations.percentile(0.99),
        })
        .collect();
    let by = |row: &Row| {
        let s = &stats.functions[row.function];
        match key {
            SortKey::Total => (s.total_ns, s.self_ns),
            SortKey::Own => (s.self_ns, s.total_ns),
            SortKey::Calls => (s.calls, s.total_ns),
            SortKey::P99 => (row.p99_ns, s.total_ns),
        }
    };
    // The name last, so that the order does not depend on the order of the symbol table.
    let name = |row: &Row| &trace.meta.functions[row.function].name;
    rows.sort_by(|a, b| by(b).cmp(&by(a)).then_with(|| name(a).cmp(name(b))));
    if limit > 0 {
        rows.truncate(limit);
    }
    rows
}

/// One line that says what was traced: program, length, size.
#[must_use]
pub fn heading(trace: &Trace, calls: u64, paint: Paint) -> String {
    let meta = &trace.meta;
    let threads = meta.threads.len();
    format!(
        "{} {}",
        paint.bold(program(trace)),
        paint.dim(&format!(
            "pid {} · {} · {} thread{} · {} calls",
            meta.pid,
            text::duration(trace.duration_ns()),
            threads,
            if threads == 1 { "" } else { "s" },
            text::count(calls),
        ))
    )
}

/// Name of the traced program for headings.
#[must_use]
pub fn program(trace: &Trace) -> &str {
    let first = trace.meta.command.first().map_or(trace.meta.exe.as_str(), String::as_str);
    match names::base_name(first) {
        "" => "?",
        name => name,
    }
}

/// The line about lost records, if any were lost.
#[must_use]
pub fn lost_line(trace: &Trace, paint: Paint) -> Option<String> {
    let lost = trace.meta.lost;
    let all = lost + trace.total_records();
    (lost > 0).then(|| {
        let text = format!(
            "LOST {} records ({}): counts are lower bounds; record fewer functions (-F, -N) or \
             give a larger --buffer",
            text::count(lost),
            text::percent(lost, all)
        );
        paint.red(&text)
    })
}

/// The whole report.
#[must_use]
pub fn render(trace: &Trace, stats: &Stats, rows: &[Row], width: usize, paint: Paint) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail; the results below are empty.
    let _ = writeln!(out, "{}", heading(trace, stats.calls(), paint));
    if let Some(line) = lost_line(trace, paint) {
        let _ = writeln!(out, "{line}");
    }
    out.push('\n');
    if rows.is_empty() {
        let _ = writeln!(out, "No calls. Was the program idle, or does a filter hide everything?");
    } else {
        functions(&mut out, trace, stats, rows, width, paint);
    }
    out.push('\n');
    threads(&mut out, trace, stats, paint);
    let refused = trace.meta.refused.len();
    if refused > 0 {
        let text = format!(
            "{} function{} not traced; `textpoke info {}` says why",
            text::count(refused as u64),
            if refused == 1 { " was" } else { "s were" },
            trace.dir().display()
        );
        let _ = writeln!(out, "\n{}", paint.dim(&text));
    }
    out
}

fn functions(out: &mut String, trace: &Trace, stats: &Stats, rows: &[Row], width: usize, paint: Paint) {
    let all_self: u64 = stats.functions.iter().map(|s| s.self_ns).sum();
    let cells: Vec<[String; 7]> = rows.iter().map(|row| cells(stats, row, all_self)).collect();
    let titles = ["TOTAL", "SELF", "SELF %", "CALLS", "AVG", "P50", "P99"];
    let widths: [usize; 7] = std::array::from_fn(|column| {
        let longest = cells.iter().map(|c| c[column].chars().count()).max().unwrap_or(0);
        longest.max(titles[column].len())
    });
    let fixed: usize = widths.iter().map(|w| w + 2).sum::<usize>() + 2;
    let room = width.saturating_sub(fixed).max(24);

    let mut line = String::new();
    for (title, w) in titles.iter().zip(widths) {
        let _ = write!(line, "{title:>w$}  ");
    }
    let _ = writeln!(out, "{}  {}", paint.bold(&line), paint.bold("FUNCTION"));

    let file_of = |row: &Row| short_file(&trace.meta.functions[row.function].file);
    let several_files = rows.iter().any(|r| file_of(r) != file_of(&rows[0]));
    let file_room = rows.iter().map(|r| file_of(r).chars().count() + 2).max().unwrap_or(0);
    // The name matters more: files are left out rather than squeezing it.
    let show_file = several_files && room >= file_room + 24;
    let longest = if show_file { room - file_room } else { room };
    let names: Vec<String> = rows
        .iter()
        .map(|r| names::shorten(&names::demangle(&trace.meta.functions[r.function].name), longest))
        .collect();
    let name_width = names.iter().map(|n| n.chars().count()).max().unwrap_or(0);
    let (mut inferred, mut counted) = (false, false);
    for ((row, cells), name) in rows.iter().zip(&cells).zip(&names) {
        let function = &trace.meta.functions[row.function];
        for (column, (cell, w)) in cells.iter().zip(widths).enumerate() {
            let padded = format!("{cell:>w$}");
            let padded = match column {
                0 => paint.bold(&padded),
                2 | 4..=6 => paint.dim(&padded),
                _ => padded,
            };
            let _ = write!(out, "{padded}  ");
        }
        let mark = match function.exit {
            ExitKind::Patched => " ",
            ExitKind::Inferred => {
                inferred = true;
                "~"
            }
            ExitKind::EntryOnly => {
                counted = true;
                "·"
            }
        };
        let _ = write!(out, "{} {}", paint.yellow(mark), paint.cyan(name));
        if show_file {
            let gap = name_width - name.chars().count() + 2;
            let _ = write!(out, "{:gap$}{}", "", paint.dim(file_of(row)));
        }
        out.push('\n');
    }
    let called = stats.functions.iter().filter(|s| s.calls > 0).count();
    if called > rows.len() {
        let text = format!("… and {} more (-n 0 shows all)", text::count((called - rows.len()) as u64));
        let _ = writeln!(out, "{}", paint.dim(&text));
    }
    let mut legend = Vec::new();
    if inferred {
        legend.push("~ some exits inferred from the next event of the thread: times are estimates");
    }
    if counted {
        legend.push("· calls counted, not timed");
    }
    if !legend.is_empty() {
        let _ = writeln!(out, "{}", paint.dim(&legend.join("   ")));
    }
}

/// `/usr/lib/libsqlite3.so.0.8.6` → `libsqlite3.so`.
fn short_file(path: &str) -> &str {
    let name = names::base_name(path);
    name.find(".so.").map_or(name, |at| &name[..at + 3])
}

fn cells(stats: &Stats, row: &Row, all_self: u64) -> [String; 7] {
    let s = &stats.functions[row.function];
    let timed = |ns| if s.durations.is_empty() { "-".to_string() } else { text::duration(ns) };
    [
        timed(s.total_ns),
        timed(s.self_ns),
        if s.durations.is_empty() { "-".into() } else { text::percent(s.self_ns, all_self) },
        text::count(s.calls),
        timed(s.durations.mean()),
        timed(row.p50_ns),
        timed(row.p99_ns),
    ]
}

fn threads(out: &mut String, trace: &Trace, stats: &Stats, paint: Paint) {
    let threads = &trace.meta.threads;
    let name_width = threads.iter().map(|t| t.name.chars().count()).max().unwrap_or(0).max(6);
    let any_lost = trace.meta.lost > 0;
    let lost_title = if any_lost { "        LOST" } else { "" };
    let header = format!("{:>9}  {:<name_width$}  {:>14}  {:>10}{lost_title}", "TID", "THREAD", "CALLS", "IN CALLS");
    let _ = writeln!(out, "{}", paint.bold(&header));
    let mut order: Vec<usize> = (0..threads.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(stats.threads[i].total_ns), threads[i].tid));
    const SHOWN: usize = 16;
    for &i in order.iter().take(SHOWN) {
        let (thread, s) = (&threads[i], &stats.threads[i]);
        let lost = match thread.lost {
            _ if !any_lost => String::new(),
            0 => format!("{:>12}", 0),
            n => paint.red(&format!("{:>12}", text::count(n))),
        };
        let _ = writeln!(
            out,
            "{:>9}  {:<name_width$}  {:>14}  {:>10}{lost}",
            thread.tid,
            thread.name,
            text::count(s.calls),
            text::duration(s.total_ns),
        );
    }
    if order.len() > SHOWN {
        let text = format!("… and {} more threads (all are in --json)", order.len() - SHOWN);
        let _ = writeln!(out, "{}", paint.dim(&text));
    }
}
