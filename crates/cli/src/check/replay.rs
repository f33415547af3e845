//! `check --replay`: counterexamples that `check --json` printed, walked again.

use serde::Deserialize;
use serde_json::{Value, json};
use textpoke_model::file::parse;
use textpoke_model::property::Violation;
use textpoke_model::report::with;
use textpoke_model::scenario::Scenario;
use textpoke_model::trace::Trace;
use textpoke_model::{Ending, File, Options, Unknown, Walk, walk_in};

use super::{interleaving, program, report};
use crate::error::{Error, Result};
use crate::text::Paint;

/// A counterexample as it was written down.
pub struct Recorded {
    name: String,
    asked: Asked,
    trace: Trace,
}

/// What was explored: a check under options, or a protocol file for one profile.
enum Asked {
    Check(Options),
    File(Box<File>, String),
}

/// The parts of a report that are needed.
#[derive(Deserialize)]
struct Written {
    name: String,
    options: Option<Options>,
    protocol: Option<String>,
    trace: Trace,
}

/// What became of it.
pub struct Replayed {
    recorded: Recorded,
    /// Where it led, or why nowhere.
    walk: Result<(Told, Walk), String>,
}

/// What there is to be said about what was walked.
struct Told {
    title: String,
    scenario: Scenario,
    with: Vec<&'static str>,
}

/// The counterexamples in a document that `check --json` printed; `source` is its name.
///
/// # Errors
/// Of usage, in one line: the text is no such document, or holds no counterexample.
pub fn read(text: &str, source: &str) -> Result<Vec<Recorded>> {
    let wrong = |why: String| Error::Usage(format!("{source}: {why}"));
    let document: Value =
        serde_json::from_str(text).map_err(|e| wrong(format!("this is not what `check --json` prints: {e}")))?;
    let array = |key: &str| document[key].as_array();
    let reports: Vec<&Value> = match (array("reports"), array("entries")) {
        (Some(reports), _) => reports.iter().collect(),
        // That of --all.
        (None, Some(entries)) => entries.iter().map(|entry| &entry["report"]).collect(),
        (None, None) if document["verdict"].is_string() => vec![&document],
        (None, None) => return Err(wrong("this is not what `check --json` prints: it has no reports".into())),
    };
    let mut all = Vec::new();
    for report in reports.into_iter().filter(|report| report["verdict"] == "unsafe") {
        let name = report["name"].as_str().unwrap_or("something");
        let cannot = |why: String| wrong(format!("the counterexample to {name} cannot be walked again: {why}"));
        let written = Written::deserialize(report).map_err(|e| cannot(e.to_string()))?;
        all.push(Recorded::new(written).map_err(cannot)?);
    }
    if all.is_empty() {
        Err(wrong("no report in it is unsafe, so that there is nothing to walk".into()))
    } else {
        Ok(all)
    }
}

impl Recorded {
    fn new(written: Written) -> Result<Self, String> {
        let Written { name, options, protocol, trace } = written;
        let asked = match (options, protocol) {
            (Some(options), _) => match options.out_of_range() {
                Some(why) => return Err(why),
                None => Asked::Check(options),
            },
            (None, Some(text)) => {
                let file = parse(text.as_bytes()).map_err(|e| format!("its protocol is not understood: {e}"))?;
                Asked::File(Box::new(file), text)
            }
            (None, None) => return Err("it has neither \"options\" nor \"protocol\"".into()),
        };
        Ok(Self { name, asked, trace })
    }

    fn told(&self) -> Result<Told, String> {
        match &self.asked {
            Asked::Check(options) => {
                let prepared = options.prepare(&self.name).map_err(|unknown| match unknown {
                    Unknown::Check(name) => format!("there is no check \"{name}\" any more"),
                    other => other.to_string(),
                });
                let (check, scenario) = prepared?;
                Ok(Told { title: options.title(check), with: with(&scenario, options), scenario })
            }
            Asked::File(file, _) => {
                let profile = file.profiles[0];
                let scenario = file.scenario(profile);
                Ok(Told { title: file.title.clone(), with: with(&scenario, &Options::new(profile)), scenario })
            }
        }
    }

    /// Walks it again.
    #[must_use]
    pub fn walk(self) -> Replayed {
        let walk = self.told().map(|told| {
            let walk = walk_in(&told.scenario, &self.trace.choices());
            (told, walk)
        });
        Replayed { walk, recorded: self }
    }
}

impl Replayed {
    /// Whether all of it could be walked and the end is the violation that was recorded.
    #[must_use]
    pub fn reproduced(&self) -> bool {
        self.why_not().is_none()
    }

    /// What happened instead.
    fn why_not(&self) -> Option<String> {
        let walk = match &self.walk {
            Ok((_, walk)) => walk,
            Err(why) => return Some(why.clone()),
        };
        let (taken, all) = (walk.lines.len(), self.recorded.trace.len());
        let wanted = self.recorded.trace.violation;
        match walk.ending {
            Ending::Violated(v) if taken < all => {
                Some(format!("transition {taken} of {all} already goes wrong: {}", v.sentence()))
            }
            Ending::Violated(v) if v == wanted => None,
            Ending::Violated(v) => Some(format!("it ends otherwise: {}", v.sentence())),
            Ending::Nothing => Some(format!("all {all} transitions were taken, and nothing goes wrong")),
            Ending::NoChoice(n) => {
                let asked = self.recorded.trace.lines[taken].choice;
                let there = if n == 1 { "there is only 1".into() } else { format!("there are only {n}") };
                Some(format!("transition {} is to be choice {asked}, counted from 0, and {there}", taken + 1))
            }
            Ending::TooBig => Some("its sites do not fit into the checker".into()),
        }
    }

    /// The first transition, counted from 1, that is not the one that was recorded.
    fn differs(&self) -> Option<usize> {
        let lines = &self.walk.as_ref().ok()?.1.lines;
        lines.iter().zip(&self.recorded.trace.lines).position(|(a, b)| a != b).map(|i| i + 1)
    }

    /// For people.
    #[must_use]
    pub fn render(&self, width: usize, paint: Paint) -> String {
        let Recorded { name, trace, .. } = &self.recorded;
        let mut out = match &self.walk {
            Ok((told, _)) => {
                let facts = report::facts(&told.scenario, &told.with, width, paint);
                program::heading(name, &told.title, width, paint) + &facts
            }
            Err(_) => program::heading(name, "?", width, paint),
        };
        out.push('\n');
        let (verdict, text) = match self.why_not() {
            None => ("REPRODUCED", format!("in {} transitions:", trace.len())),
            Some(why) => ("NOT REPRODUCED:", format!("{why}; recorded was {}", named(trace.violation))),
        };
        let painted = if self.reproduced() { paint.green(verdict) } else { paint.red(verdict) };
        out += &report::said(verdict, &painted, &text, width);
        if let Some(n) = self.differs() {
            let (now, then) = (self.walk.as_ref().ok().map(|(_, walk)| &walk.lines[n - 1]), &trace.lines[n - 1]);
            let now = now.map_or("", |line| line.what.as_str());
            let text = if now == then.what {
                format!("transition {n} is by another CPU, or leaves other bytes, than was recorded")
            } else {
                format!("transition {n} is now \"{now}\"; recorded was \"{}\"", then.what)
            };
            out += &report::said("differs:", &paint.yellow("differs:"), &text, width);
        }
        if let Ok((told, walk)) = &self.walk
            && (!walk.lines.is_empty() || matches!(walk.ending, Ending::Violated(_)))
        {
            out.push('\n');
            out += &interleaving::render(walk, told.scenario.world.profile.isa(), width, paint);
            if let Ending::Violated(violation) = walk.ending {
                out += &report::violated(violation, width, paint);
            }
        }
        out
    }

    /// The same as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let walk = self.walk.as_ref().ok().map(|(_, walk)| walk);
        let (options, protocol) = match &self.recorded.asked {
            Asked::Check(options) => (Some(options), None),
            Asked::File(_, text) => (None, Some(text)),
        };
        let ended = walk.and_then(|walk| match walk.ending {
            Ending::Violated(violation) => Some(violation),
            _ => None,
        });
        json!({
            "name": self.recorded.name,
            "options": options,
            "protocol": protocol,
            "recorded": self.recorded.trace.violation,
            "reproduced": self.reproduced(),
            "ended": ended,
            "why": self.why_not(),
            "differs": self.differs(),
            "start": walk.map(|walk| &walk.start),
            "lines": walk.map(|walk| &walk.lines),
        })
    }
}

fn named(violation: Violation) -> String {
    let name = violation.sentence().split(':').next().unwrap_or_default();
    violation.number().map_or_else(|| name.into(), |number| format!("{number}, {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use textpoke_model::{Profile, check};

    /// The document about `naive-copy`, changed.
    fn document(change: impl FnOnce(&mut Value)) -> String {
        let report = check("naive-copy", &Options::new(Profile::Intel), &mut |_, _| {}).unwrap();
        let mut document = json!({"reports": [report]});
        change(&mut document["reports"][0]);
        document.to_string()
    }

    fn replayed(change: impl FnOnce(&mut Value)) -> (bool, String) {
        let replayed = read(&document(change), "x").unwrap().remove(0).walk();
        (replayed.reproduced(), replayed.render(100, Paint::none()))
    }

    #[test]
    fn as_it_was_written() {
        let (reproduced, text) = replayed(|_| {});
        assert!(reproduced && text.contains("\n  REPRODUCED in 2 transitions:\n\n      patcher"), "{text}");
        assert!(
            text.ends_with("   => V1, torn instruction: these bytes are no instruction of the old or the new form\n")
        );
    }

    #[test]
    fn tampered_with() {
        let (reproduced, text) = replayed(|report| report["trace"]["lines"][1]["choice"] = 77.into());
        assert!(
            !reproduced && text.contains("transition 2 is to be choice 77, counted from 0, and there are only "),
            "{text}"
        );
        let (reproduced, text) = replayed(|report| report["trace"]["lines"][0]["choice"] = 1.into());
        assert!(!reproduced && text.contains("  differs: transition 1 is now "), "{text}");
        let (reproduced, text) = replayed(|report| report["trace"]["violation"] = "stale".into());
        assert!(!reproduced && text.contains("it ends otherwise: torn instruction"), "{text}");
        let (reproduced, text) = replayed(|report| report["name"] = "naive".into());
        assert!(!reproduced && text.contains("there is no check \"naive\""), "{text}");
        let (reproduced, text) = replayed(|report| report["trace"]["lines"] = json!([]));
        assert!(!reproduced && text.contains("all 0 transitions were taken, and nothing goes wrong"), "{text}");
    }

    #[test]
    fn what_cannot_be_read_is_told_in_a_line() {
        let error = |text: &str| match read(text, "x.json") {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{text} was read"),
        };
        assert!(error("{").starts_with("x.json: this is not what `check --json` prints: EOF"));
        assert!(error("[]").contains("it has no reports"));
        assert!(error(r#"{"reports": [{"verdict": "safe"}]}"#).contains("no report in it is unsafe"));
        let old = document(|report| drop(report.as_object_mut().unwrap().remove("options")));
        assert!(
            error(&old).ends_with("to naive-copy cannot be walked again: it has neither \"options\" nor \"protocol\""),
            "{}",
            error(&old)
        );
        let many = document(|report| report["options"]["shape"]["cpus"] = 9.into());
        assert!(error(&many).ends_with("\"cpus\" is 9, not 2 to 5"), "{}", error(&many));
        let new = document(|report| report["options"]["moon"] = 1.into());
        assert!(error(&new).contains("unknown field `moon`"), "{}", error(&new));
    }
}
