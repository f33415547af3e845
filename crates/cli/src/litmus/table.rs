//! The table of `litmus`: the cells of a variant together, each in a line.

use std::fmt::Write as _;

use serde_json::{Value, json};
use textpoke_litmus::{Cell, Counts, Outcome, Table, VARIANTS, Variant};
use textpoke_model::Verdict;
use textpoke_model::property::Violation;

use crate::check::cells::{hang, pad};
use crate::check::program::heading;
use crate::text::Paint;

/// The columns of counts: title, width, value.
type Column = (&'static str, usize, fn(&Counts) -> u64);

const COLUMNS: [Column; 8] = [
    ("CALLS", 7, |c| c.executions),
    ("FLIPS", 7, |c| c.flips),
    ("SEGV", 6, |c| c.segv + c.other),
    ("ILL", 6, |c| c.ill),
    ("STRAY", 6, |c| c.stray),
    ("WRONG", 6, |c| c.wrong + c.hung + c.died),
    ("LOST", 6, |c| c.lost),
    ("STALE", 6, |c| c.stale),
];

const LEGEND: [(&str, &str); 9] = [
    ("CALLS", "executions of the site, by a thread that does nothing else"),
    ("FLIPS", "changes from one form to the other meanwhile"),
    ("SEGV", "memory faults, SIGBUS and SIGFPE included"),
    ("ILL", "illegal instructions"),
    ("STRAY", "control that went to memory where only traps are: a torn branch"),
    ("WRONG", "calls that returned what neither form returns, never returned, or ended the child"),
    ("LOST", "traps in the site that nobody knew: the process would have been killed"),
    ("STALE", "old code after the batch had returned; a failure where the verdict excludes that, too"),
    ("CHECKER", "the checker's verdict on the same steps at a site that is cut like this one"),
];

/// The table for people.
#[must_use]
pub fn render(table: &Table, width: usize, paint: Paint) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}, Linux {}, by {}'s book", table.cpu, table.kernel, book(table));
    for note in &table.notes {
        out.push_str(&hang("", 2, note, width));
    }
    let mut head = pad("  SITE AT", 18);
    for (title, width, _) in COLUMNS {
        let _ = write!(head, " {title:>width$}");
    }
    let _ = write!(head, "  {:<10} OUTCOME", "CHECKER");
    let _ = writeln!(out, "\n{}", paint.bold(&head));
    let mut last = "";
    for cell in &table.cells {
        if cell.variant != last {
            last = cell.variant;
            let title = Variant::find(last).map_or("", |v| v.title);
            let _ = write!(out, "{}", heading(last, title, width, paint));
        }
        row(&mut out, cell, width, paint);
    }
    out.push('\n');
    for (name, text) in LEGEND {
        out.push_str(&hang(&format!("  {name}"), 11, text, width));
    }
    for violation in violations(table) {
        out.push_str(&hang(&format!("  {}", violation.number().unwrap_or_default()), 11, violation.sentence(), width));
    }
    let _ = writeln!(out, "\nThe checker's verdicts rest on:");
    for assumption in table.assumptions() {
        out.push_str(&hang("  -", 4, assumption, width));
    }
    out.push('\n');
    out + &summary(table, width, paint)
}

/// What the checker's verdicts name, each once.
fn violations(table: &Table) -> Vec<Violation> {
    let mut all: Vec<Violation> = Vec::new();
    for cell in &table.cells {
        match cell.checker.verdict {
            Verdict::Unsafe { violation, .. } if !all.contains(&violation) => all.push(violation),
            _ => {}
        }
    }
    all.sort_by_key(|violation| violation.number());
    all
}

fn book(table: &Table) -> &'static str {
    match table.profile.name() {
        "amd" => "AMD",
        "intel" => "Intel",
        other => other,
    }
}

fn row(out: &mut String, cell: &Cell, width: usize, paint: Paint) {
    let place = format!("  {:>2}, {}", cell.place.offset, cell.boundary);
    let _ = write!(out, "{}", pad(&place, 18));
    for (i, (_, width, value)) in COLUMNS.into_iter().enumerate() {
        let n = value(&cell.counts);
        let text = format!(" {:>width$}", if n == 0 { "·".into() } else { short(n) });
        let counted = i < 2;
        out.push_str(&match n {
            0 => paint.dim(&text),
            _ if counted => text,
            _ => paint.yellow(&text),
        });
    }
    let verdict = match &cell.checker.verdict {
        Verdict::Safe { .. } => "safe".into(),
        Verdict::Unsafe { violation, .. } => format!("unsafe {}", violation.number().unwrap_or_default()),
        _ => "unknown".into(),
    };
    let outcome = match &cell.outcome {
        Outcome::AsPromised => paint.green("as promised"),
        Outcome::FailedAsPredicted => "failed".into(),
        Outcome::NotSeen => paint.dim("not seen"),
        Outcome::Contradiction => paint.red("CONTRADICTS"),
        Outcome::NotExercised => paint.yellow("no evidence"),
        Outcome::Skipped(_) => paint.yellow("not run"),
    };
    let _ = writeln!(out, "  {verdict:<10} {outcome}");
    if let Outcome::Skipped(why) = &cell.outcome {
        out.push_str(&hang("", 6, why, width));
    }
}

/// Four digits or fewer, and a unit: `9999`, `12.3k`, `4.56M`.
fn short(n: u64) -> String {
    const UNITS: [(u64, char); 4] = [(1_000, 'k'), (1_000_000, 'M'), (1_000_000_000, 'G'), (1_000_000_000_000, 'T')];
    if n < 10_000 {
        return n.to_string();
    }
    // 999.95k would round to 1000.0k.
    let (scale, unit) = *UNITS.iter().find(|(scale, _)| n / scale < 999).unwrap_or(&UNITS[3]);
    let value = n as f64 / scale as f64;
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$}{unit}")
}

fn summary(table: &Table, width: usize, paint: Paint) -> String {
    let of = |outcome: &Outcome| table.cells.iter().filter(|c| c.outcome == *outcome).count();
    let not_run = table.cells.iter().filter(|c| matches!(c.outcome, Outcome::Skipped(_))).count();
    let counted = [
        (of(&Outcome::AsPromised), "as promised"),
        (of(&Outcome::FailedAsPredicted), "failed as the checker predicts"),
        (of(&Outcome::NotSeen), "may fail and did not in this time"),
        (of(&Outcome::NotExercised), "without evidence"),
        (not_run, "not run"),
    ];
    let parts: Vec<String> = counted.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let text = format!("{} cells in {:.1} s: {}.", table.cells.len(), table.seconds, parts.join(", "));
    let mut out = hang("", 0, &text, width);
    let contradictions: Vec<&Cell> = table.cells.iter().filter(|c| c.outcome == Outcome::Contradiction).collect();
    let last = match (&contradictions[..], table.complete) {
        ([], true) => paint.green("Nothing happened that the checker calls impossible."),
        ([], false) => paint.yellow("Not every protocol of ours ran in both forms: this run is no evidence for those."),
        ([first, ..], _) => paint.red(&format!(
            "CONTRADICTION in {} cell(s), first {} at {}: the checker says safe, this CPU failed.",
            contradictions.len(),
            first.variant,
            first.place.offset
        )),
    };
    out.push_str(&last);
    out.push('\n');
    out
}

/// A part of the list: its title, and what belongs there.
type Part = (&'static str, fn(&Variant) -> bool);

/// What can be run.
#[must_use]
pub fn list(width: usize, paint: Paint) -> String {
    let column = VARIANTS.iter().map(|v| v.name.len()).max().unwrap_or(0) + 4;
    let mut out = String::new();
    let parts: [Part; 3] = [
        ("Protocols as they run live", Variant::is_ours),
        ("Variants, most of them wrong", |v| !v.is_ours() && !v.is_control()),
        ("Always run first", Variant::is_control),
    ];
    for (i, (title, belongs)) in parts.into_iter().enumerate() {
        let _ = writeln!(out, "{}{}", if i == 0 { "" } else { "\n" }, paint.bold(title));
        for variant in VARIANTS.iter().filter(|v| belongs(v)) {
            let text = hang("", column, variant.title, width);
            let name = pad(&format!("  {}", variant.name), column);
            let _ = write!(out, "{}{}", paint.cyan(&name), text.trim_start());
        }
    }
    out
}

/// [`list`] as JSON.
#[must_use]
pub fn list_json() -> Value {
    VARIANTS.iter().map(|v| json!({"name": v.name, "title": v.title, "check": v.check, "live": v.is_ours()})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use textpoke_litmus::judge::opinion;
    use textpoke_litmus::{Place, Profile};

    fn table(variant: &str, counts: Counts) -> Table {
        let (variant, place) = (Variant::find(variant).unwrap(), Place::INTERESTING[4]);
        let checker = opinion(variant, place, Profile::Amd).unwrap();
        let cell = Cell {
            variant: variant.name,
            ours: variant.is_ours(),
            place,
            boundary: place.boundary().name(),
            outcome: checker.on(&counts),
            checker,
            counts,
        };
        let mut table = Table {
            cpu: "a CPU".into(),
            vendor: "AuthenticAMD".into(),
            kernel: "6.1".into(),
            profile: Profile::Amd,
            notes: vec!["a note".into()],
            cells: vec![cell],
            seconds: 1.0,
            contradicted: false,
            complete: false,
        };
        table.conclude();
        table
    }

    #[test]
    fn a_contradiction_cannot_be_overlooked() {
        let counts = Counts { executions: 10, flips: 4, old: 5, new: 4, segv: 1, ..Counts::default() };
        let bad = table("breakpoint", counts);
        assert!(bad.contradicted && crate::cmd::litmus::code(&bad) == 1);
        let text = render(&bad, 100, Paint::none());
        assert!(text.contains("CONTRADICTS"), "{text}");
        let last = text.lines().last().unwrap();
        assert_eq!(last, "CONTRADICTION in 1 cell(s), first breakpoint at 62: the checker says safe, this CPU failed.");
        let expected = table("straddling-store", counts);
        assert!(!expected.contradicted && crate::cmd::litmus::code(&expected) == 0);
    }

    #[test]
    fn what_did_not_run_is_no_success() {
        let idle = table("breakpoint", Counts { executions: 10, old: 10, ..Counts::default() });
        assert_eq!((idle.cells[0].outcome.clone(), crate::cmd::litmus::code(&idle)), (Outcome::NotExercised, 3));
        let mut skipped = table("breakpoint", Counts::default());
        skipped.cells[0].outcome = Outcome::Skipped("because of this".into());
        skipped.conclude();
        assert_eq!(crate::cmd::litmus::code(&skipped), 3);
        let text = render(&skipped, 100, Paint::none());
        assert!(text.contains("not run\n      because of this"), "{text}");
        assert!(text.contains("no evidence for those"), "{text}");
    }

    #[test]
    fn numbers_keep_their_columns() {
        for (n, text) in [
            (0, "0"),
            (9_999, "9999"),
            (10_000, "10.0k"),
            (998_999, "999k"),
            (999_950, "1.00M"),
            (12_345_678, "12.3M"),
            (4_560_000_000, "4.56G"),
            (u64::MAX, "18446744T"),
        ] {
            assert_eq!(short(n), text);
        }
        let many = Counts { executions: 999_499_999_999, flips: 123_456_789, old: 1, new: 1, ..Counts::default() };
        let text = render(&table("word", many), 100, Paint::none());
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
}
