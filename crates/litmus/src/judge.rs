//! What was seen beside what the checker says.

use serde::Serialize;
use textpoke_model::report::run;
use textpoke_model::{Check, Options, Profile, Verdict};

use crate::counts::Counts;
use crate::place::Place;
use crate::subject;
use crate::variant::Variant;

/// How a cell came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Safe, and nothing was seen.
    AsPromised,
    /// Unsafe, and it was seen.
    FailedAsPredicted,
    /// Unsafe, but it was not seen in this time.
    NotSeen,
    /// Safe, and it went wrong all the same.
    Contradiction,
    /// Not both forms were executed, or nothing was changed: no evidence of anything.
    NotExercised,
    /// It could not be run, for this reason.
    Skipped(String),
}

/// One variant at one place.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// Name of the variant.
    pub variant: &'static str,
    /// Whether it is a protocol that runs live.
    pub ours: bool,
    /// Where.
    pub place: Place,
    /// What cuts the site, in words.
    pub boundary: &'static str,
    /// What was seen.
    pub counts: Counts,
    /// What the checker says.
    pub checker: Opinion,
    /// What follows.
    pub outcome: Outcome,
}

/// The checker's verdict on a variant with a site that is cut like this one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Opinion {
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Whether old code after the batch has returned is among what it excludes.
    pub after_return: bool,
    /// What it rests on.
    pub assumptions: Vec<&'static str>,
}

/// What was run, where, and how it came out.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// The CPU, as it calls itself.
    pub cpu: String,
    /// Its maker, as CPUID says.
    pub vendor: String,
    /// The kernel's release.
    pub kernel: String,
    /// By whose book it was judged.
    pub profile: Profile,
    /// What a reader must know about this run.
    pub notes: Vec<String>,
    /// The cells.
    pub cells: Vec<Cell>,
    /// Seconds that it took.
    pub seconds: f64,
    /// Whether silicon did something that the checker calls impossible.
    pub contradicted: bool,
    /// Whether every protocol of ours that was asked for ran, in both forms.
    pub complete: bool,
}

/// Asks the checker about a variant at a place. `None` if it does not know the check.
pub fn opinion(variant: &Variant, place: Place, profile: Profile) -> Option<Opinion> {
    let scenario = subject::scenario(variant, place, profile)?;
    let check = Check::find(variant.check)?;
    let options = Options::new(profile);
    let report = run(check.name, check.title, check.sometimes, &scenario, &options, &mut |_, _| {});
    let after_return = scenario.world.after_return;
    Some(Opinion { verdict: report.verdict, after_return, assumptions: report.assumptions })
}

impl Opinion {
    /// Whether nothing may go wrong.
    pub const fn is_safe(&self) -> bool {
        matches!(self.verdict, Verdict::Safe { .. })
    }

    /// Compares.
    pub fn on(&self, counts: &Counts) -> Outcome {
        let failures = counts.failures() + if self.after_return { counts.stale } else { 0 };
        match (&self.verdict, failures) {
            (Verdict::Safe { .. }, 1..) => Outcome::Contradiction,
            (Verdict::Unsafe { .. }, 1..) => Outcome::FailedAsPredicted,
            (Verdict::Safe { .. } | Verdict::Unsafe { .. }, 0) => match counts {
                Counts { flips: 0, .. } | Counts { old: 0, .. } | Counts { new: 0, .. } => Outcome::NotExercised,
                _ if self.is_safe() => Outcome::AsPromised,
                _ => Outcome::NotSeen,
            },
            (other, _) => Outcome::Skipped(format!("the checker has no verdict: {other}")),
        }
    }
}

impl Table {
    /// Works out what the cells say together.
    pub fn conclude(&mut self) {
        self.contradicted = self.cells.iter().any(|c| c.outcome == Outcome::Contradiction);
        let ran = |c: &Cell| !matches!(c.outcome, Outcome::NotExercised | Outcome::Skipped(_));
        self.complete = self.cells.iter().filter(|c| c.ours).all(ran);
    }

    /// Everything that the verdicts rest on, each once.
    pub fn assumptions(&self) -> Vec<&'static str> {
        let mut all: Vec<&'static str> = Vec::new();
        for assumption in self.cells.iter().flat_map(|c| &c.checker.assumptions) {
            if !all.contains(assumption) {
                all.push(assumption);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variant::VARIANTS;

    #[test]
    fn the_checker_has_an_opinion_on_every_cell() {
        for variant in VARIANTS {
            for profile in [Profile::Amd, Profile::Intel] {
                for place in Place::INTERESTING.into_iter().filter(|p| p.fits(variant.fits)) {
                    let opinion = opinion(variant, place, profile).expect(variant.name);
                    let has_verdict = matches!(opinion.verdict, Verdict::Safe { .. } | Verdict::Unsafe { .. });
                    assert!(!(variant.fast && opinion.is_safe()), "{}: left out what matters", variant.name);
                    assert!(has_verdict, "{} at {place:?}, {profile:?}: {}", variant.name, opinion.verdict);
                    if variant.is_ours()
                        && (profile == Profile::Amd || matches!(variant.name, "breakpoint" | "displace"))
                    {
                        assert!(opinion.is_safe(), "{} at {place:?}: {}", variant.name, opinion.verdict);
                    }
                }
            }
        }
    }

    #[test]
    fn what_the_checker_calls_impossible_is_a_contradiction() {
        let place = Place::INTERESTING[1];
        let of = |name: &str| opinion(Variant::find(name).expect(name), place, Profile::Amd).expect(name);
        let (safe, bad) = (of("breakpoint"), of("naive-copy"));
        let fine = Counts { executions: 9, flips: 4, old: 5, new: 4, ..Counts::default() };
        assert_eq!((safe.on(&fine), bad.on(&fine)), (Outcome::AsPromised, Outcome::NotSeen));
        for what in ["wrong", "segv", "ill", "other", "stray", "lost", "hung", "died"] {
            let mut counts = serde_json::to_value(fine).expect("plain");
            counts[what] = 1.into();
            let counts: Counts = serde_json::from_value(counts).expect("plain");
            assert_eq!(safe.on(&counts), Outcome::Contradiction, "{what}");
            assert_eq!(bad.on(&counts), Outcome::FailedAsPredicted, "{what}");
        }
        let stale = Counts { stale: 1, ..fine };
        assert_eq!(safe.on(&stale), Outcome::Contradiction);
        assert_eq!(of("int3-full").on(&stale), Outcome::Contradiction, "judged by what its world says");
        assert_eq!(
            of("int3-no-sync-2").on(&stale),
            Outcome::AsPromised,
            "old code after the return is not its business"
        );
        for idle in [Counts { new: 0, ..fine }, Counts { old: 0, ..fine }, Counts { flips: 0, ..fine }] {
            assert_eq!((safe.on(&idle), bad.on(&idle)), (Outcome::NotExercised, Outcome::NotExercised));
        }
    }
}
