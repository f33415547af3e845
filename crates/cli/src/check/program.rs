//! `check --list` and `check --print`: what there is, and what its steps are.

use std::fmt::Write as _;

use serde_json::{Value, json};
use textpoke_core::{Direction, Phase, Step};
use textpoke_model::report::programs;
use textpoke_model::{CHECKS, Check, Options, Profile, step_names};

use super::cells::{chars, hang, pad};
use crate::text::Paint;

/// The steps of one batch.
pub struct Program {
    /// What it does to the sites.
    pub direction: &'static str,
    /// The steps forth.
    pub forth: Vec<Step>,
    /// The steps that undo it after a failure.
    pub back: Vec<Step>,
}

/// The batches of a check.
#[must_use]
pub fn of(check: &Check) -> Vec<Program> {
    let scenario = Options::new(Profile::Intel).scenario(check);
    let program = |batch| {
        let (forth, _, dir) = programs(batch);
        let mut back = match check.built_in {
            Some(kind) => kind.way_back(dir).to_vec(),
            None => programs(batch).1,
        };
        // A run does not look first on the way back: any mixture may stand there.
        back.retain(|step| *step != Step::Verify { after: false });
        Program { direction: if dir == Direction::Install { "install" } else { "remove" }, forth, back }
    };
    scenario.batches.iter().map(program).collect()
}

/// The names of the steps that `--without` may leave out, each once.
#[must_use]
pub fn names(check: &Check) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in of(check).iter().flat_map(|program| step_names(&program.forth)) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// The steps of a check, each with what it is for.
#[must_use]
pub fn print(check: &Check, width: usize, paint: Paint) -> String {
    let mut out = heading(check.name, check.title, width, paint);
    let mut seen: Vec<(String, Vec<Step>)> = Vec::new();
    let mut part = |out: &mut String, title: String, steps: Vec<Step>| {
        let _ = write!(out, "\n{}", paint.bold(&title));
        if let Some((same, _)) = seen.iter().find(|(_, known)| *known == steps) {
            let _ = writeln!(out, "{}", paint.dim(&format!("  the steps of {same}")));
            return;
        }
        out.push('\n');
        let names = step_names(&steps);
        let column = names.iter().map(|name| chars(name)).max().unwrap_or(0) + 8;
        for (i, (name, step)) in names.iter().zip(&steps).enumerate() {
            let line = hang("", column, purpose(*step), width);
            let head = pad(&format!("  {:>2}  {name}", i + 1), column);
            out.push_str(&head);
            out.push_str(line.trim_start());
        }
        seen.push((title, steps));
    };
    let programs = of(check);
    for program in &programs {
        part(&mut out, program.direction.into(), program.forth.clone());
    }
    for program in programs {
        part(&mut out, format!("{}, way back if a step fails", program.direction), program.back);
    }
    out
}

/// The same as JSON.
#[must_use]
pub fn json(check: &Check) -> Value {
    let batches: Vec<Value> = of(check)
        .iter()
        .map(|p| json!({"direction": p.direction, "steps": step_names(&p.forth), "back": step_names(&p.back)}))
        .collect();
    json!({"name": check.name, "title": check.title, "live": check.built_in.is_some(), "batches": batches})
}

/// Every check with its title.
#[must_use]
pub fn list(width: usize, paint: Paint) -> String {
    let column = CHECKS.iter().map(|check| check.name.len()).max().unwrap_or(0) + 4;
    let mut out = String::new();
    for live in [true, false] {
        let title = if live { "As they run live" } else { "Variants, most of them wrong, and other assumptions" };
        let _ = writeln!(out, "{}{}", if live { "" } else { "\n" }, paint.bold(title));
        for check in CHECKS.iter().filter(|check| check.built_in.is_some() == live) {
            let text = hang("", column, check.title, width);
            let name = pad(&format!("  {}", check.name), column);
            let _ = write!(out, "{}{}", paint.cyan(&name), text.trim_start());
        }
    }
    out
}

/// [`list`] as JSON.
#[must_use]
pub fn list_json() -> Value {
    CHECKS.iter().map(|c| json!({"name": c.name, "title": c.title, "live": c.built_in.is_some()})).collect()
}

/// A name and what it is.
#[must_use]
pub fn heading(name: &str, title: &str, width: usize, paint: Paint) -> String {
    let text = hang("", chars(name) + 2, title, width);
    format!("{}  {}", paint.bold(name), text.trim_start())
}

/// What a step is for, in a few words; `docs/contract.md` has all of them.
fn purpose(step: Step) -> &'static str {
    match step {
        Step::Open => "the text becomes writable",
        Step::Verify { after: false } => "what must stand there does",
        Step::Verify { after: true } => "what must stand there now does",
        Step::Publish => "from now on every CPU knows what the traps mean",
        Step::Store { phase, .. } => match phase {
            Phase::Trap => "INT3 on the head, and on every inner boundary that is to vanish",
            Phase::TrapHead => "INT3 on the head alone",
            Phase::Tail => "everything behind the head gets its final bytes",
            Phase::Head => "the final head replaces its trap",
            Phase::Whole => "all bytes at once",
            Phase::Hop => "two bytes: a short jump over everything behind it",
            Phase::HopTail => "everything behind the short jump gets its final bytes",
            Phase::HopHead => "two bytes: the final head replaces the short jump",
        },
        Step::Maintain => "caches; nothing to do on x86-64",
        Step::SyncCores => "every CPU passes a serialising instruction",
        Step::Park => "nobody else runs program code",
        Step::Unpark => "they go on, after a serialising instruction each",
        Step::AwaitNoneInside => "no thread stands between the old instructions",
        Step::Retire => "no handler runs and no trap is pending; the table goes",
        Step::Undo(_) => "what follows is the way back",
        Step::Close => "the text is as it was protected before",
        Step::Done(_) => "the end",
    }
}
