//! `check --litmus`: published tests in herd's format, one in full or a folder as a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use textpoke_model::herd::survey::{Expected, Row, file};
use textpoke_model::herd::witness::{Line, Witness};
use textpoke_model::herd::{Decision, Outcome, Refusal, Survey, Verdict, survey};

use super::cells::{chars, hang, pad};
use crate::error::{Error, Result};
use crate::text::Paint;

const DISAGREES: u8 = 1;
const REFUSED: u8 = 2;

/// What to print about a file or a folder, and the exit code.
///
/// # Errors
/// It cannot be read, or is one test that is outside of the surface; both are [`Error::Usage`].
pub fn run(path: &Path, as_json: bool, width: usize, paint: Paint) -> Result<(String, u8)> {
    let unreadable = |error: std::io::Error| Error::Usage(Error::io(path.display(), &error).to_string());
    if path.is_dir() {
        let survey = survey(path).map_err(unreadable)?;
        if survey.rows.is_empty() {
            return Err(Error::Usage(format!("{} has no files that end in .litmus", path.display())));
        }
        let text = if as_json { pretty(&folder_json(&survey)) } else { folder(path, &survey, width, paint) };
        return Ok((text, code(&survey)));
    }
    let row = match std::fs::metadata(path) {
        Ok(_) => file(path).map_err(unreadable)?,
        Err(error) => return Err(unreadable(error)),
    };
    match &row.outcome {
        Outcome::Refused(refusal) | Outcome::RefusedAsExpected(refusal) if !as_json => {
            Err(Error::Usage(format!("{}: {refusal}", path.display())))
        }
        Outcome::Refused(_) | Outcome::RefusedAsExpected(_) => Ok((pretty(&row_json(&row)), REFUSED)),
        Outcome::Agrees(d) | Outcome::Decided(d) | Outcome::Disagrees(d, _) => {
            let text = if as_json { pretty(&row_json(&row)) } else { one(&row, d, width, paint) };
            Ok((text, if matches!(row.outcome, Outcome::Disagrees(..)) { DISAGREES } else { 0 }))
        }
    }
}

/// A disagreement outweighs a test that could not be decided.
fn code(survey: &Survey) -> u8 {
    if survey.count(|outcome| matches!(outcome, Outcome::Disagrees(..))) > 0 {
        DISAGREES
    } else if survey.count(|outcome| matches!(outcome, Outcome::Refused(_))) > 0 {
        REFUSED
    } else {
        0
    }
}

/// One test: verdicts, states, flags, and an execution.
fn one(row: &Row, decision: &Decision, width: usize, paint: Paint) -> String {
    let mut out = format!("{}\n", paint.bold(&decision.name));
    let question = if decision.question.is_empty() { "all states" } else { &decision.question };
    out.push_str(&hang("  asks", 9, question, width));
    for (model, verdict) in &decision.verdicts {
        let expected = row.expected.as_ref().and_then(|e| wanted(e, model));
        let beside = match expected {
            Some(wanted) if wanted == verdict.to_string() => paint.dim("as expected"),
            Some(wanted) => paint.red(&format!("expected {wanted}")),
            None => String::new(),
        };
        let line = format!("  {}  {}  {beside}", pad(model, 12), coloured(*verdict, paint));
        let _ = writeln!(out, "{}", line.trim_end());
    }
    if let Outcome::Disagrees(_, how) = &row.outcome {
        out.push_str(&hang("  not as expected: ", 4, how, width));
    }
    for flag in &decision.flags {
        let _ = writeln!(out, "  {} {flag}", paint.yellow("flag"));
    }
    let several = decision.verdicts.len() > 1;
    let _ = writeln!(out, "\n{}", paint.bold("Final states"));
    for state in &decision.states {
        let mark = if state.holds { "*" } else { " " };
        let models = if several { format!("  ({})", state.models.join(", ")) } else { String::new() };
        out.push_str(&hang(&format!("  {mark}"), 4, &format!("{}{models}", state.text), width));
    }
    if let Some(witness) = &decision.witness {
        out.push_str(&execution(witness, several, width, paint));
    }
    out
}

fn coloured(verdict: Verdict, paint: Paint) -> String {
    let text = pad(&verdict.to_string(), 9);
    match verdict {
        Verdict::Allowed => paint.yellow(&text),
        Verdict::Forbidden | Verdict::Required => paint.green(&text),
    }
}

/// The verdict that is expected of a model.
fn wanted<'a>(expected: &'a Expected, model: &str) -> Option<&'a str> {
    let mut verdicts = expected.verdicts.iter();
    verdicts.find(|(name, _)| name.is_empty() || name == model).map(|(_, verdict)| verdict.as_str())
}

fn execution(witness: &Witness, several: bool, width: usize, paint: Paint) -> String {
    let mut out = format!("\n{}", paint.bold("An execution that shows it"));
    if several {
        let _ = write!(out, " ({})", witness.models.join(", "));
    }
    out.push('\n');
    let first = |line: &Line| match &line.label {
        Some(label) => format!("{label}: {}", line.instr),
        None => line.instr.clone(),
    };
    let column = witness.lines.iter().map(|line| chars(&first(line))).max().unwrap_or(0);
    for line in &witness.lines {
        let head = format!("  {}  {}", pad(&line.column, 4), pad(&first(line), column));
        let text = hang(&head, chars(&head) + 2, &line.what, width);
        let _ = writeln!(out, "{}", text.trim_end());
    }
    for order in &witness.order {
        out.push_str(&hang("  order of stores, ", 4, order, width));
    }
    out
}

/// How the tests of one folder came out.
#[derive(Default)]
struct Sums {
    tests: usize,
    agree: usize,
    disagree: usize,
    decided: usize,
    refused_as_expected: usize,
    refused: usize,
}

fn sums(survey: &Survey) -> BTreeMap<PathBuf, Sums> {
    let mut all: BTreeMap<PathBuf, Sums> = BTreeMap::new();
    for row in &survey.rows {
        let sums = all.entry(row.file.parent().map(Path::to_path_buf).unwrap_or_default()).or_default();
        sums.tests += 1;
        *match row.outcome {
            Outcome::Agrees(_) => &mut sums.agree,
            Outcome::Disagrees(..) => &mut sums.disagree,
            Outcome::Decided(_) => &mut sums.decided,
            Outcome::RefusedAsExpected(_) => &mut sums.refused_as_expected,
            Outcome::Refused(_) => &mut sums.refused,
        } += 1;
    }
    all
}

fn folder(root: &Path, survey: &Survey, width: usize, paint: Paint) -> String {
    let sums = sums(survey);
    let name = |path: &Path| {
        let short = path.strip_prefix(root).unwrap_or(path).display().to_string();
        if short.is_empty() { ".".to_string() } else { short }
    };
    let column = sums.keys().map(|path| chars(&name(path))).max().unwrap_or(0).max(6);
    let head =
        format!("{}  TESTS  AGREE  DISAGREE  REFUSED AS EXPECTED  REFUSED  NO VERDICT BESIDE", pad("FOLDER", column));
    let mut out = format!("{}\n", paint.bold(&head));
    for (path, s) in &sums {
        let _ = writeln!(
            out,
            "{}  {:>5}  {:>5}  {:>8}  {:>19}  {:>7}  {:>17}",
            pad(&name(path), column),
            s.tests,
            s.agree,
            s.disagree,
            s.refused_as_expected,
            s.refused,
            s.decided
        );
    }
    let mut list = |title: &str, pick: &dyn Fn(&Outcome) -> Option<String>| {
        let found = survey.rows.iter().filter_map(|row| pick(&row.outcome).map(|what| (&row.file, what)));
        let found: Vec<_> = found.collect();
        if !found.is_empty() {
            let _ = writeln!(out, "\n{}", paint.bold(title));
        }
        for (file, what) in found {
            out.push_str(&hang(&format!("  {}: ", name(file)), 4, &what, width));
        }
    };
    list("Not as expected", &|outcome| match outcome {
        Outcome::Disagrees(_, how) => Some(how.clone()),
        _ => None,
    });
    list("Refused", &|outcome| match outcome {
        Outcome::Refused(refusal) => Some(refusal.to_string()),
        _ => None,
    });
    list("Refused, as expected", &|outcome| match outcome {
        Outcome::RefusedAsExpected(refusal) => Some(refusal.to_string()),
        _ => None,
    });
    let agree = survey.count(|o| matches!(o, Outcome::Agrees(_) | Outcome::RefusedAsExpected(_)));
    let asked = survey.rows.iter().filter(|row| row.expected.is_some()).count();
    let _ = writeln!(out, "\n{agree} of {asked} tests with an expected verdict agree");
    out
}

fn folder_json(survey: &Survey) -> Value {
    let rows: Vec<Value> = survey.rows.iter().map(row_json).collect();
    json!({"agree": code(survey) == 0, "tests": rows})
}

fn row_json(row: &Row) -> Value {
    let (outcome, why): (&str, Option<&str>) = match &row.outcome {
        Outcome::Agrees(_) => ("agrees", None),
        Outcome::Disagrees(_, how) => ("disagrees", Some(how)),
        Outcome::Decided(_) => ("decided", None),
        Outcome::RefusedAsExpected(_) => ("refused as expected", None),
        Outcome::Refused(_) => ("refused", None),
    };
    let mut value = json!({"file": row.file, "outcome": outcome, "why": why});
    if let Outcome::RefusedAsExpected(refusal) | Outcome::Refused(refusal) = &row.outcome {
        value["refusal"] = refusal_json(refusal);
    }
    if let Some(decision) = row.outcome.decision() {
        value["test"] = json!(decision.name);
        value["asks"] = json!(decision.question);
        let verdicts = decision.verdicts.iter().map(|(model, verdict)| {
            let expected = row.expected.as_ref().and_then(|e| wanted(e, model));
            json!({"model": model, "verdict": verdict.to_string(), "expected": expected})
        });
        value["verdicts"] = verdicts.collect();
        let states = decision.states.iter();
        value["states"] = states.map(|s| json!({"state": s.text, "holds": s.holds, "models": s.models})).collect();
        value["flags"] = decision.flags.iter().map(ToString::to_string).collect();
        value["witness"] = decision.witness.as_ref().map_or(Value::Null, witness_json);
    }
    value
}

fn refusal_json(refusal: &Refusal) -> Value {
    json!({"line": refusal.line, "column": refusal.column, "what": refusal.what})
}

fn witness_json(witness: &Witness) -> Value {
    let lines = witness.lines.iter();
    let lines: Vec<Value> =
        lines.map(|l| json!({"column": l.column, "label": l.label, "instruction": l.instr, "what": l.what})).collect();
    json!({"models": witness.models, "lines": lines, "order": witness.order})
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
