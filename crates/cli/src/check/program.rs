//! What the steps of a check are.

use serde_json::{Value, json};
use textpoke_core::{Direction, Step};
use textpoke_model::scenario::{Scenario, Steps};
use textpoke_model::{Check, step_names};

use super::cells::{chars, hang};
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

/// A check and its steps as JSON.
#[must_use]
pub fn json(check: &Check, scenario: &Scenario) -> Value {
    let mut all = super::list::entry(check);
    all["batches"] = batches(scenario);
    all
}

/// The steps of a scenario as JSON.
#[must_use]
pub fn batches(scenario: &Scenario) -> Value {
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
    programs.iter().zip(scenario.batches.iter().map(|b| b.dir)).map(batch).collect()
}

/// A name and what it is.
#[must_use]
pub fn heading(name: &str, title: &str, width: usize, paint: Paint) -> String {
    if title.is_empty() {
        return paint.bold(name) + "\n";
    }
    let text = hang("", chars(name) + 2, title, width);
    format!("{}  {}", paint.bold(name), text.trim_start())
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
        let titles: Vec<String> = of(&scenario(plant)).into_iter().map(|p| p.title).collect();
        assert_eq!(titles, ["plant, install", "prepared_pair, install", "prepared_pair, remove", "plant, remove"]);
    }
}
