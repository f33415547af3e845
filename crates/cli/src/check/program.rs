//! `check --print`: what the steps of a check are, and what each is for.

use std::fmt::Write as _;

use serde_json::{Value, json};
use textpoke_core::{Direction, Phase, Step};
use textpoke_model::scenario::{Scenario, Steps};
use textpoke_model::{Check, step_names};

use super::cells::{chars, hang, pad};
use super::choice;
use crate::text::Paint;

/// The steps of one batch.
pub struct Program {
    /// What it is, if not all batches are the same, and what it does to the sites.
    pub title: String,
    /// The steps forth.
    pub forth: Vec<Step>,
    /// The steps that undo it after a failure.
    pub back: Vec<Step>,
    /// Those that do if it failed before nobody was inside, if they are others.
    pub retreat: Vec<Step>,
}

/// The batches of a scenario.
#[must_use]
pub fn of(scenario: &Scenario) -> Vec<Program> {
    let kind = |steps: &Steps| match steps {
        Steps::BuiltIn(kind) => Some(kind.name()),
        Steps::Custom { .. } => None,
    };
    let kinds: Vec<_> = scenario.batches.iter().map(|batch| kind(&batch.steps)).collect();
    let mixed = kinds.windows(2).any(|w| w[0] != w[1]);
    let mut all: Vec<Program> = Vec::new();
    for (batch, kind) in scenario.batches.iter().zip(kinds) {
        let mut title = if batch.dir == Direction::Install { "install" } else { "remove" }.to_string();
        if let Some(kind) = kind.filter(|_| mixed) {
            title = format!("{kind}, {title}");
        }
        let same = all.iter().filter(|p| p.title == title || p.title.starts_with(&format!("{title} again"))).count();
        match same {
            0 => {}
            1 => title += " again",
            n => title += &format!(" again ({})", n + 1),
        }
        let [forth, mut back, retreat] = batch.programs().map(<[Step]>::to_vec);
        // A run does not look first on the way back: any mixture may stand there.
        back.retain(|step| *step != Step::Verify { after: false });
        all.push(Program { title, forth, back, retreat });
    }
    all
}

/// The names of the steps that `--without` may leave out, each once.
#[must_use]
pub fn names(scenario: &Scenario) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in of(scenario).iter().flat_map(|program| step_names(&program.forth)) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// The steps of a check, each with what it is for.
#[must_use]
pub fn print(check: &Check, scenario: &Scenario, width: usize, paint: Paint) -> String {
    let mut out = heading(check.name, check.title, width, paint);
    let kind = if check.built_in.is_some() { "runs live" } else { "is a variant" };
    let _ = writeln!(out, "{}", paint.dim(&format!("{kind}; for {}", choice::isas(check.isas))));
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
    let programs = of(scenario);
    for program in &programs {
        part(&mut out, program.title.clone(), program.forth.clone());
    }
    for program in programs {
        part(&mut out, format!("{}, way back if a step fails", program.title), program.back);
        if !program.retreat.is_empty() {
            let title = format!("{}, retreat if a step up to \"await none inside\" fails", program.title);
            part(&mut out, title, program.retreat);
        }
    }
    out
}

/// The same as JSON.
#[must_use]
pub fn json(check: &Check, scenario: &Scenario) -> Value {
    let direction = |dir| if dir == Direction::Install { "install" } else { "remove" };
    let batch = |(p, dir): (&Program, Direction)| {
        json!({
            "title": p.title,
            "direction": direction(dir),
            "steps": step_names(&p.forth),
            "back": step_names(&p.back),
            "retreat": step_names(&p.retreat),
        })
    };
    let programs = of(scenario);
    let batches: Vec<Value> = programs.iter().zip(scenario.batches.iter().map(|b| b.dir)).map(batch).collect();
    let mut all = super::list::entry(check);
    all["batches"] = batches.into();
    all
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
            Phase::Trap => "a trap instruction on the head, and on every inner boundary that is to vanish",
            Phase::TrapHead => "a trap instruction on the head alone",
            Phase::Tail => "everything behind the head gets its final bytes",
            Phase::Head => "the final head replaces what stands there",
            Phase::Whole => "all bytes",
            Phase::Hop => "two bytes: a short jump over everything behind it",
            Phase::HopTail => "everything behind the short jump gets its final bytes",
            Phase::HopHead => "two bytes: the final head replaces the short jump",
        },
        Step::Maintain => "caches: fetches behind the next synchronisation see the stores; nothing to do on x86-64",
        Step::SyncCores => "every CPU passes a context synchronising point, and forgets what it fetched",
        Step::Park => "nobody else runs program code; NMIs still come",
        Step::Unpark => "they go on, each after a context synchronising point",
        Step::AwaitNoneInside => "no thread stands between the old instructions",
        Step::Record => "the final bytes are laid out where NMIs find them",
        Step::Announce { idle: true } => "from now on NMIs write them first; set at a moment when no NMI runs",
        Step::Announce { idle: false } => "from now on NMIs write them first; those that run already do not",
        Step::Withdraw => "NMIs that come from now on write nothing",
        Step::AwaitNmis => "every NMI that was running has ended",
        Step::Pause => "time passes, which promises nothing",
        Step::Retire => "no handler runs and no trap is pending; the table goes",
        Step::Undo(_) => "what follows is the way back",
        Step::Close => "the text is as it was protected before",
        Step::Done(_) => "the end",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use textpoke_model::{Options, checks};

    fn scenario(check: &Check) -> Scenario {
        Options::new(check.isas[0].profiles()[0]).scenario(check)
    }

    #[test]
    fn every_program_has_a_title_of_its_own() {
        for check in checks() {
            let titles: Vec<String> = of(&scenario(check)).into_iter().map(|p| p.title).collect();
            for (i, title) in titles.iter().enumerate() {
                assert!(!titles[..i].contains(title), "{}: {titles:?}", check.name);
            }
        }
    }

    #[test]
    fn several_protocols_in_one_check_are_told_apart() {
        let plant = Check::find("plant").unwrap();
        let text = print(plant, &scenario(plant), 100, Paint::none());
        for wanted in ["\nplant, install\n", "\nprepared_pair, install\n", "\nplant, remove, way back if a step fails"]
        {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        let pair = Check::find("pair").unwrap();
        let text = print(pair, &scenario(pair), 100, Paint::none());
        assert!(text.contains("\ninstall, retreat if a step up to \"await none inside\" fails\n"), "{text}");
    }
}
