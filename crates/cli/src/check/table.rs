//! `check --all`: every row in a line, by instruction set, the rows of a check together.

use std::fmt::Write as _;

use textpoke_model::property::Violation;
use textpoke_model::table::{Entry, Table};
use textpoke_model::{Check, IsaId, Verdict, checks};

use super::cells::{chars, hang, pad, wrap};
use super::program;
use crate::text::{self, Paint};

/// The verdict's column.
const VERDICT: usize = 17;

/// What the rows of a protocol that runs live say when nothing else is to be said.
const SWEEP: &str = "built in";

/// Why `check NAME` shows longer ones.
const WAY: &str = "the shortest way there has 8 transitions, where each contiguous write counts as one, as in the \
                   literature; `textpoke check NAME` shows it byte by byte";

/// The columns that depend on the width.
#[derive(Clone, Copy)]
struct Columns {
    /// What a row is about.
    about: usize,
    /// Whether there is room for the time.
    time: bool,
}

impl Columns {
    /// Everything in a line but what the row is about and the time, gaps included; and the time.
    const FIXED: [usize; 2] = [60, 9];

    fn new(width: usize) -> Self {
        let [fixed, time] = Self::FIXED;
        let has_time = width >= fixed + time + 24;
        let taken = fixed + if has_time { time } else { 0 };
        Self { about: width.saturating_sub(taken).clamp(16, 64), time: has_time }
    }
}

/// What the lines below the table explain.
#[derive(Default)]
struct Legend {
    assumptions: Vec<&'static str>,
    violations: Vec<Violation>,
    open: bool,
}

/// The table; `elapsed` is how long it took to make, in seconds.
#[must_use]
pub fn render(table: &Table, elapsed: f64, width: usize, paint: Paint) -> String {
    let mut out = String::new();
    let columns = Columns::new(width);
    let mut legend = Legend::default();
    let time = if columns.time { format!("{:>7}  ", "TIME") } else { String::new() };
    let head = format!(
        "  {:<9}  CPUS  {}  {:<VERDICT$}  {:>10}  {time}RESTS ON",
        "RULES",
        pad("", columns.about),
        "VERDICT",
        "STATES",
    );
    let _ = writeln!(out, "{}", paint.bold(&head));
    for isa in IsaId::ALL {
        let (protocols, variants) = names(table, isa);
        let parts = [("variants, most of them wrong", variants, false), ("as they run live", protocols, true)];
        for (title, names, live) in parts.into_iter().filter(|(_, names, _)| !names.is_empty()) {
            let _ = writeln!(out, "\n{}", paint.bold(&format!("{}, {title}", isa.name())));
            for name in names {
                let title = Check::find(name).map_or("", |check| check.title);
                out.push_str(&program::heading(name, title, width, paint));
                for entry in of(table, isa).filter(|entry| entry.report.name == name) {
                    row(&mut out, entry, live, columns, &mut legend, paint);
                }
            }
        }
    }
    out.push('\n');
    out + &legend.render(width) + "\n" + &summary(table, elapsed, paint)
}

impl Legend {
    /// The letters of what a verdict rests on.
    fn letters(&mut self, assumptions: &[&'static str]) -> String {
        let mut letters: Vec<char> = Vec::new();
        for &assumption in assumptions {
            let at = self.assumptions.iter().position(|known| *known == assumption).unwrap_or_else(|| {
                self.assumptions.push(assumption);
                self.assumptions.len() - 1
            });
            letters.push(letter(at));
        }
        letters.sort_unstable();
        letters.into_iter().collect()
    }

    fn add(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Unsafe { violation, .. } if !self.violations.contains(violation) => {
                self.violations.push(*violation);
            }
            Verdict::Safe { live: false } => self.open = true,
            _ => {}
        }
    }

    fn render(&mut self, width: usize) -> String {
        let mut out = String::new();
        // V10 is behind V9.
        self.violations.sort_by_key(|violation| violation.number().map(|number| (number.len(), number)));
        for violation in self.violations.iter().filter(|v| v.number().is_some()) {
            let number = violation.number().unwrap_or_default();
            out.push_str(&hang(&format!("  {number}"), 7, violation.sentence(), width));
        }
        out.push_str(&hang("  2×1", 7, "2 CPUs, one of which patches, and 1 site", width));
        out.push_str(&hang("  in 8", 7, WAY, width));
        for (i, text) in self.assumptions.iter().enumerate() {
            out.push_str(&hang(&format!("  {}", letter(i)), 7, text, width));
        }
        if self.open {
            let text = "too many states to ask whether the patcher can always finish";
            out.push_str(&hang("  safe*", 9, text, width));
        }
        out
    }
}

fn of(table: &Table, isa: IsaId) -> impl Iterator<Item = &Entry> {
    table.entries.iter().filter(move |entry| entry.report.profile.isa() == isa)
}

/// The names of the checks on an instruction set: those of protocols as they run live, and the others.
fn names(table: &Table, isa: IsaId) -> (Vec<&'static str>, Vec<&'static str>) {
    let has = |name: &str| of(table, isa).any(|e| e.report.name == name);
    let all = checks().map(|check| check.name).filter(|name| has(name));
    all.partition(|name| of(table, isa).any(|e| e.report.name == *name && e.sweep))
}

fn row(out: &mut String, entry: &Entry, live: bool, columns: Columns, legend: &mut Legend, paint: Paint) {
    let r = &entry.report;
    legend.add(&r.verdict);
    let rests = legend.letters(&r.assumptions);
    let verdict = short(&r.verdict);
    let padding = " ".repeat(VERDICT.saturating_sub(chars(&verdict)));
    let coloured = match &r.verdict {
        Verdict::Safe { .. } => paint.green(&verdict),
        Verdict::Unsafe { .. } => paint.red(&verdict),
        _ => paint.yellow(&verdict),
    };
    let lines = wrap(&what(entry, live), columns.about);
    let time = if columns.time { format!("{:>7}  ", format!("{:.2} s", r.seconds)) } else { String::new() };
    let _ = writeln!(
        out,
        "  {:<9}  {:<4}  {}  {coloured}{padding}  {:>10}  {time}{rests}",
        r.profile.name(),
        format!("{}×{}", r.cpus, r.sites),
        pad(&lines[0], columns.about),
        text::count(r.states as u64),
    );
    for line in &lines[1..] {
        let _ = writeln!(out, "{:19}{line}", "");
    }
    if !entry.agrees {
        let _ = writeln!(out, "{:19}{}", "", paint.red(&format!("EXPECTED {}", entry.expected)));
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
                None => kebab(*violation),
            };
            format!("unsafe: {name} in {length}")
        }
        Verdict::Vacuous { .. } => "vacuous".into(),
        Verdict::OutOfMemory => "unknown: out of memory".into(),
        Verdict::TooBig => "unknown: too big".into(),
    }
}

/// The name of a violation that has no number.
fn kebab(violation: Violation) -> String {
    serde_json::to_value(violation).ok().and_then(|name| name.as_str().map(String::from)).unwrap_or_default()
}

fn summary(table: &Table, elapsed: f64, paint: Paint) -> String {
    let counts: Vec<[usize; 4]> = IsaId::ALL.into_iter().map(|isa| count(of(table, isa))).collect();
    let mut out = String::new();
    for (isa, [rows, safe, bad, open]) in IsaId::ALL.into_iter().zip(&counts).filter(|(_, count)| count[0] > 0) {
        let open = if *open > 0 { format!(", {open} without a verdict") } else { String::new() };
        let _ = writeln!(out, "  {:<9}  {rows:>4} rows: {safe:>4} safe, {bad:>4} unsafe{open}", isa.name());
    }
    let wrong = table.entries.iter().filter(|e| !e.agrees).count();
    let verdict = match wrong {
        0 => paint.green("all exactly as expected"),
        n => paint.red(&format!("{n} NOT AS EXPECTED")),
    };
    let states = text::count(table.states as u64);
    out + &format!("{} rows: {verdict}. {states} states in {elapsed:.1} s.\n", table.entries.len())
}

/// All, safe, unsafe, and those without a verdict.
fn count<'a>(entries: impl Iterator<Item = &'a Entry>) -> [usize; 4] {
    entries.fold([0; 4], |[all, safe, bad, open], entry| match entry.report.verdict {
        Verdict::Safe { .. } => [all + 1, safe + 1, bad, open],
        Verdict::Unsafe { .. } => [all + 1, safe, bad + 1, open],
        Verdict::Vacuous { .. } | Verdict::OutOfMemory | Verdict::TooBig => [all + 1, safe, bad, open + 1],
    })
}

fn letter(i: usize) -> char {
    char::from(b'a' + i as u8)
}
