//! All rows at once: `check --all`.

use std::fmt;

use serde::Serialize;

use crate::expected::{Row, rows};
use crate::report::{Options, Report, check};
use crate::scenario::Profile;

/// One row and how it came out.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// The row of the digest, or what of our own it is.
    pub row: &'static str,
    /// Whether it is one of those in which a protocol that runs live meets everything that may go wrong.
    pub sweep: bool,
    /// The report.
    pub report: Report,
    /// The verdict that was written down beforehand.
    pub expected: String,
    /// Whether it is the one.
    pub agrees: bool,
}

/// The table.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// The rows.
    pub entries: Vec<Entry>,
    /// Whether every row agrees.
    pub as_expected: bool,
    /// States of all rows together.
    pub states: usize,
    /// Seconds of all explorations together; several run side by side.
    pub seconds: f64,
}

/// Checks every row, several side by side. `progress` is told how many are done and how many there are.
pub fn check_all(deep: bool, progress: &mut dyn FnMut(usize, usize)) -> Table {
    check_rows(&rows(deep), progress)
}

/// The same for these rows.
pub fn check_rows(rows: &[Row], progress: &mut dyn FnMut(usize, usize)) -> Table {
    let entries = crate::parallel::map(rows, progress, Row::check);
    Table {
        as_expected: entries.iter().all(|e| e.agrees),
        states: entries.iter().map(|e| e.report.states).sum(),
        seconds: entries.iter().map(|e| e.report.seconds).sum(),
        entries,
    }
}

impl Row {
    /// The options of this row.
    pub fn options(&self) -> Options {
        Options {
            shape: self.shape,
            handler: self.handler,
            failures: self.failures,
            killed: self.killed,
            onward: self.onward,
            any_order: self.any_order,
            own_traps: self.own_traps,
            whole_writes: self.whole_writes,
            nmis: self.nmis,
            ..Options::new(Profile::Intel)
        }
    }

    /// Checks the row.
    pub fn check(&self) -> Entry {
        let report = match check(self.check, &self.options(), &mut |_, _| {}) {
            Ok(report) => report,
            // A test sees to it that every row names a check.
            Err(unknown) => panic!("{unknown}"),
        };
        let agrees = self.expect.agrees(&report.verdict);
        let expected = self.expect.to_string();
        Entry { row: self.digest, sweep: self.sweep, report, expected, agrees }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<24} {:<6} {:>5}  {:<52} {:>10} {:>7}  {:<50} with",
            "check", "rules", "CPUs", "verdict", "states", "s", "row"
        )?;
        for e in &self.entries {
            let r = &e.report;
            let size = format!("{}x{}", r.cpus, r.sites);
            let verdict = r.verdict.to_string();
            let line = format!(
                "{:<24} {:<6} {:>5}  {:<52} {:>10} {:>7.2}  {:<50} {}",
                r.name,
                r.profile.name(),
                size,
                verdict,
                r.states,
                r.seconds,
                e.row,
                r.with.join(", ")
            );
            writeln!(f, "{}", line.trim_end())?;
            if !e.agrees {
                writeln!(f, "    EXPECTED {}", e.expected)?;
            }
        }
        let different = self.entries.iter().filter(|e| !e.agrees).count();
        let rows = self.entries.len();
        match different {
            0 => write!(f, "{rows} rows, all as expected; {} states", self.states),
            n => write!(f, "{rows} rows, {n} NOT as expected; {} states", self.states),
        }
    }
}
