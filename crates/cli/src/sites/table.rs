//! `sites` for people.

use std::fmt::Write as _;

use textpoke_analyze::{ExitKind, Function};

use super::survey::{Summary, Survey, protocol, way};
use crate::names;
use crate::text::{self, Paint};

/// The functions of a file, a line each.
#[must_use]
pub fn functions(survey: &Survey, width: usize, paint: Paint) -> String {
    let mut out = String::new();
    let title = format!("{}, {} functions", survey.isa, text::count(survey.functions.len() as u64));
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}  {}", paint.bold(&survey.path), paint.dim(&title));
    if survey.functions.is_empty() {
        return out;
    }
    let header =
        format!("{:>16}  {:>6}  {:<8}  {:<10}  {:<8}  FUNCTION", "ADDRESS", "SIZE", "WAY", "PROTOCOL", "EXITS");
    let _ = writeln!(out, "{}", paint.bold(&header));
    for f in &survey.functions {
        let addr = format!("{:#x}", f.vaddr.wrapping_add(survey.bias));
        let (entry, why) = match &f.entry {
            Ok(site) => (format!("{:<8}  {:<10}", way(site.way), protocol(site)), String::new()),
            Err(reason) => (paint.yellow(&format!("{:<20}", "refused")), reason.to_string()),
        };
        let taken = 58 + if why.is_empty() { 0 } else { why.chars().count() + 2 };
        let name = names::shorten(&names::demangle(&f.name), width.saturating_sub(taken).max(24));
        let _ = write!(out, "{addr:>16}  {:>6}  {entry}  {:<8}  {}", f.size, exits(f), paint.cyan(&name));
        if !why.is_empty() {
            let _ = write!(out, "  {}", paint.dim(&why));
        }
        out.push('\n');
    }
    out
}

/// `3`: all patched; `2 of 3`; `none`: counted only.
fn exits(f: &Function) -> String {
    let (sites, blocked) = (f.exits.len(), f.blocked_exits.len());
    match (&f.entry, f.exit) {
        (Err(_), _) => String::new(),
        (_, ExitKind::EntryOnly) => "none".into(),
        (_, ExitKind::Patched) => sites.to_string(),
        (_, ExitKind::Inferred) => format!("{sites} of {}", sites + blocked),
    }
}

/// The numbers at the end.
#[must_use]
pub fn summary(summary: &Summary, paint: Paint) -> String {
    let mut out = String::new();
    let all = summary.functions as u64;
    let mut line = |n: usize, whole: u64, what: &str| {
        let n = n as u64;
        let _ = writeln!(
            out,
            "{:>10}  {:>8}  {what}",
            text::count(n),
            paint.dim(&format!("{:>8}", text::percent(n, whole)))
        );
    };
    line(summary.functions, all, &paint.bold("functions"));
    line(summary.traceable, all, &paint.green("can be traced"));
    for (way, &n) in &summary.ways {
        line(n, all, &format!("  entry: {way}"));
    }
    for (protocol, &n) in &summary.protocols {
        line(n, all, &format!("  protocol: {protocol}"));
    }
    if summary.jumps.len() > 1 {
        for (jump, &n) in &summary.jumps {
            line(n, all, &format!("  jump: {jump}"));
        }
    }
    let words = [
        ("patched", "  exits: all patched"),
        ("inferred", "  exits: some inferred from the caller"),
        ("entry-only", "  exits: not traced, calls are counted"),
    ];
    for (key, what) in words {
        if let Some(&n) = summary.exits.get(key) {
            line(n, summary.traceable as u64, what);
        }
    }
    let refused = summary.functions - summary.traceable;
    if refused > 0 {
        line(refused, all, &paint.yellow("refused"));
        let mut reasons: Vec<_> = summary.refused.iter().collect();
        reasons.sort_by_key(|&(reason, &n)| (std::cmp::Reverse(n), reason.clone()));
        for (reason, &n) in reasons {
            line(n, all, &format!("  {reason}"));
        }
    }
    out
}
