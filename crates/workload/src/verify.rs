//! Recomputing what a run claims, single-threaded and in a process that nobody patched.

use crate::bank;
use crate::report::Report;
use crate::shop::Shop;
use crate::worker;
use std::io::Read;
use std::path::Path;

/// Proves a report right, or says what is wrong with it. [`verify_with_progress`] tells how far it is.
///
/// # Errors
/// The first thing that is wrong: an error of the run itself, a call that was interrupted, a checksum that differs.
pub fn verify(report: &Report) -> Result<(), String> {
    verify_with_progress(report, |_, _| {})
}

/// As [`verify()`]; `progress` is called with the transactions done and the transactions in all, about
/// every hundred. All transactions of all workers run again on one thread.
///
/// # Errors
/// As [`verify()`].
pub fn verify_with_progress(report: &Report, mut progress: impl FnMut(u64, u64)) -> Result<(), String> {
    if let Some(error) = report.errors.first() {
        let count = report.errors.len();
        return Err(format!("the run reported {count} error(s), first: {error}"));
    }
    if report.eintr != 0 {
        return Err(format!("a sleeping thread was interrupted {} time(s)", report.eintr));
    }
    let total = report.transactions();
    let mut done = 0;
    for (index, claimed) in (0..).zip(&report.workers) {
        let broken = |error| format!("cannot recompute worker {index}: {error}");
        let mut shop = Shop::open(index).map_err(broken)?;
        for _ in 0..claimed.transactions {
            shop.transact().map_err(broken)?;
            done += 1;
            if done % 100 == 0 {
                progress(done, total);
            }
        }
        let right = shop.checksum().hex();
        if claimed.checksum != right {
            return Err(format!(
                "worker {index} computed {} in {} transactions, right is {right}",
                claimed.checksum, claimed.transactions
            ));
        }
    }
    progress(total, total);
    let transfers: Vec<u64> = report.workers.iter().map(|claimed| worker::transfers(claimed.transactions)).collect();
    let right = bank::expected_checksum(&transfers).hex();
    if report.shared_checksum != right {
        return Err(format!("the shared database ended as {}, right is {right}", report.shared_checksum));
    }
    Ok(())
}

pub(crate) fn verify_file(file: &Path) -> Result<(), String> {
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|mut open| open.read_to_string(&mut text))
    };
    read.map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    // A whole output of a run is welcome too: the report is its last line.
    let line = text.lines().rfind(|line| !line.trim().is_empty());
    let line = line.ok_or_else(|| format!("{} is empty: no report", file.display()))?;
    let report = Report::from_json(line)?;
    verify(&report)?;
    println!("right: {} transactions of {} workers", report.transactions(), report.workers.len());
    Ok(())
}
