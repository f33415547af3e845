//! `check --all`: every row in a line, the rows of a check together.

use std::fmt::Write as _;

use textpoke_model::table::{Entry, Table};
use textpoke_model::{CHECKS, Check, Verdict};

use super::cells::{chars, hang, pad, wrap};
use super::program;
use crate::text::{self, Paint};

/// Everything in a line but what the row is about, gaps included.
const FIXED: usize = 65;
/// The verdict's column.
const VERDICT: usize = 17;

/// What the rows of a protocol that runs live say when nothing else is to be said.
const SWEEP: &str = "built in";

/// Why `check NAME` shows longer ones.
const WAY: &str = "the shortest way there has 8 transitions, where each contiguous write counts as one, as in the \
                   literature; `textpoke check NAME` shows it byte by byte";

/// The table; `elapsed` is how long it took to make, in seconds.
#[must_use]
pub fn render(table: &Table, elapsed: f64, width: usize, paint: Paint) -> String {
    let mut out = String::new();
    let about = width.saturating_sub(FIXED).clamp(16, 64);
    let mut legend: Vec<&'static str> = Vec::new();
    let mut numbers: Vec<(&'static str, &'static str)> = Vec::new();
    let mut open = false;
    let head = format!(
        "  {:<5}  {:<4}  {}  {:<VERDICT$}  {:>10}  {:>7}  {}",
        "RULES",
        "CPUS",
        pad("", about),
        "VERDICT",
        "STATES",
        "TIME",
        "RESTS ON"
    );
    let _ = writeln!(out, "{}", paint.bold(&head));
    let (protocols, variants) = checks(table);
    let parts = [("Variants, most of them wrong", variants, false), ("As they run live", protocols, true)];
    for (title, names, live) in parts {
        let _ = writeln!(out, "\n{}", paint.bold(title));
        for name in names {
            let title = Check::find(name).map_or("", |check| check.title);
            out.push_str(&program::heading(name, title, width, paint));
            for entry in table.entries.iter().filter(|entry| entry.report.name == name) {
                row(&mut out, entry, live, about, &mut legend, paint);
                match entry.report.verdict {
                    Verdict::Unsafe { violation, .. } => {
                        numbers.extend(violation.number().zip(Some(violation.sentence())))
                    }
                    Verdict::Safe { live: false } => open = true,
                    _ => {}
                }
            }
        }
    }
    out.push('\n');
    numbers.sort_by_key(|(number, _)| (chars(number), *number));
    numbers.dedup();
    for (number, sentence) in numbers {
        out.push_str(&hang(&format!("  {number}"), 7, sentence, width));
    }
    out.push_str(&hang("  2×1", 7, "2 CPUs, one of which patches, and 1 site", width));
    out.push_str(&hang("  in 8", 7, WAY, width));
    for (i, text) in legend.iter().enumerate() {
        out.push_str(&hang(&format!("  {}", letter(i)), 7, text, width));
    }
    if open {
        out.push_str(&hang("  safe*", 9, "too many states to ask whether the patcher can always finish", width));
    }
    out.push('\n');
    out + &summary(table, elapsed, paint)
}

/// The names of the checks: those of protocols as they run live, and the others.
fn checks(table: &Table) -> (Vec<&'static str>, Vec<&'static str>) {
    let has = |name: &str| table.entries.iter().any(|e| e.report.name == name);
    let all = CHECKS.iter().map(|check| check.name).filter(|name| has(name));
    all.partition(|name| table.entries.iter().any(|e| e.report.name == *name && e.row == SWEEP))
}

fn row(out: &mut String, entry: &Entry, live: bool, about: usize, legend: &mut Vec<&'static str>, paint: Paint) {
    let r = &entry.report;
    let mut rests = Vec::new();
    for &assumption in &r.assumptions {
        let at = legend.iter().position(|known| *known == assumption).unwrap_or_else(|| {
            legend.push(assumption);
            legend.len() - 1
        });
        rests.push(letter(at));
    }
    rests.sort_unstable();
    let rests: String = rests.into_iter().collect();
    let verdict = short(&r.verdict);
    let padding = " ".repeat(VERDICT.saturating_sub(chars(&verdict)));
    let coloured = match &r.verdict {
        Verdict::Safe { .. } => paint.green(&verdict),
        Verdict::Unsafe { .. } => paint.red(&verdict),
        _ => paint.yellow(&verdict),
    };
    let lines = wrap(&what(entry, live), about);
    let _ = writeln!(
        out,
        "  {:<5}  {:<4}  {}  {coloured}{padding}  {:>10}  {:>7}  {rests}",
        r.profile.name(),
        format!("{}×{}", r.cpus, r.sites),
        pad(&lines[0], about),
        text::count(r.states as u64),
        format!("{:.2} s", r.seconds),
    );
    for line in &lines[1..] {
        let _ = writeln!(out, "{:15}{line}", "");
    }
    if !entry.agrees {
        let _ = writeln!(out, "{:15}{}", "", paint.red(&format!("EXPECTED {}", entry.expected)));
    }
}

/// What tells a row from the others of its check: its name, and of a protocol that runs live what else may happen.
fn what(entry: &Entry, live: bool) -> String {
    let row = entry.row;
    let extra = |with: &'static str| match with {
        "the program has traps of its own" => Some("own traps"),
        "stores in any order" => Some("any order"),
        "any step may fail" => row.starts_with("killed").then_some("any step fails"),
        "any two steps may fail" => row.starts_with("killed").then_some("two steps fail"),
        "the handler leaves with the batch" => None,
        with if with.starts_with("the patcher may be killed") => None,
        other => Some(other),
    };
    let mut parts = if row == SWEEP { vec![] } else { vec![row] };
    if live {
        parts.extend(entry.report.with.iter().filter_map(|with| extra(with)));
    }
    parts.join(", ")
}

fn short(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Safe { live: true } => "safe".into(),
        Verdict::Safe { live: false } => "safe*".into(),
        Verdict::Unsafe { violation, length } => {
            let name = match violation.number() {
                Some(number) => number.into(),
                None => format!("{violation:?}"),
            };
            format!("unsafe: {name} in {length}")
        }
        Verdict::Vacuous { .. } => "vacuous".into(),
        Verdict::OutOfMemory => "unknown: out of memory".into(),
        Verdict::TooBig => "unknown: too big".into(),
    }
}

fn summary(table: &Table, elapsed: f64, paint: Paint) -> String {
    let rows = table.entries.len();
    let safe = table.entries.iter().filter(|e| matches!(e.report.verdict, Verdict::Safe { .. })).count();
    let wrong = table.entries.iter().filter(|e| !e.agrees).count();
    let verdict = match wrong {
        0 => paint.green("all exactly as expected"),
        n => paint.red(&format!("{n} NOT AS EXPECTED")),
    };
    format!(
        "{rows} rows: {verdict} ({safe} safe, {} unsafe). {} states in {elapsed:.1} s.\n",
        rows - safe,
        text::count(table.states as u64)
    )
}

fn letter(i: usize) -> char {
    char::from(b'a' + i as u8)
}
