//! From lines to a file.

use textpoke_core::{Direction, Step};

use super::error::{At, Error};
use super::lex::{Line, Word, lines};
use super::site::{Draft, FORMS, once};
use super::steps::{self, Placed};
use super::world::KNOBS;
use super::{Claim, File, names, sense};
use crate::expected::Expect;
use crate::property::Sometimes;
use crate::scenario::{IsaId, Profile};

/// The words that lines begin with, apart from steps and rules.
pub(super) const HEADS: [&str; 12] = [
    "protocol",
    "title",
    "isa",
    "profile",
    "cpus",
    "site",
    "batch",
    "back",
    "retreat",
    "repair",
    "sometimes",
    "expect",
];

/// Steps of one kind and where they begin.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// The line that begins it; none if nothing is said.
    pub at: Option<At>,
    pub steps: Vec<Placed>,
    /// The steps are those of another part.
    pub same: bool,
}

impl Part {
    pub fn steps(&self) -> Vec<Step> {
        self.steps.iter().map(|s| s.0).collect()
    }
}

/// A batch as it was written.
#[derive(Debug)]
pub(super) struct BatchDraft {
    pub set: u8,
    pub dir: Direction,
    pub parts: [Part; 3],
}

/// Everything as it was written, with places.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub name: Option<(String, At)>,
    pub title: Option<(String, At)>,
    pub isa: Option<(IsaId, At)>,
    pub profiles: Vec<(Profile, At)>,
    pub cpus: Option<(u8, At)>,
    pub sites: Vec<Draft>,
    pub batches: Vec<BatchDraft>,
    pub repair: Part,
    /// For each knob that was turned: its number, which phrase, and where.
    pub knobs: Vec<(usize, usize, At)>,
    pub sometimes: Option<(Vec<Sometimes>, At)>,
    pub claims: Vec<(Claim, At)>,
}

/// What lines at hand belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Top,
    Site,
    /// The steps forth, back, or of the retreat.
    Batch(usize),
    Repair,
}

/// Reads a file. The error is its first mistake.
pub fn parse(bytes: &[u8]) -> Result<File, Error> {
    let lines = lines(bytes)?;
    let begin = "a protocol file begins with `protocol NAME`; docs/protocol-files.md describes the format";
    match lines.first() {
        Some(first) if first.head().is("protocol") => {}
        Some(first) => return Err(first.head().at.error(begin)),
        None => return Err(At { line: 1, column: 1, width: 1 }.error(begin)),
    }
    let mut said = Said::default();
    let mut section = Section::Top;
    for line in &lines {
        section = said.line(line, section)?;
    }
    let last = lines[lines.len() - 1].at();
    said.file(last)
}

impl Said {
    fn line(&mut self, line: &Line<'_>, section: Section) -> Result<Section, Error> {
        let head = line.head();
        if section == Section::Site
            && let (Some(isa), Some(site)) = (self.isa(), self.sites.last_mut())
            && site.line(line, isa)?
        {
            return Ok(Section::Site);
        }
        if let Some(knob) = self.knob(line)? {
            self.knobs.push(knob);
            return Ok(section);
        }
        if let Some(step) = steps::parse(line) {
            let step = (step?, line.at());
            self.part(section)
                .ok_or_else(|| step.1.error("this is a step, and steps stand behind a line like `batch old -> new`"))
                .and_then(|part| part.push(step))?;
            return Ok(section);
        }
        let Some(known) = HEADS.into_iter().find(|h| head.is(h)) else { return Err(stranger(line)) };
        match known {
            "protocol" => {
                once(self.name.as_ref().map(|n| n.1), &head)?;
                self.name = Some((prose(line, "the name is missing: `protocol NAME`")?, line.at()));
            }
            "title" => {
                once(self.title.as_ref().map(|n| n.1), &head)?;
                self.title = Some((prose(line, "the title is missing")?, line.at()));
            }
            "isa" => {
                once(self.isa.map(|i| i.1), &head)?;
                let isa = names::find("instruction set", only(line, "say `isa x86-64`")?, &names::isas())?;
                self.isa = Some((isa, line.at()));
                self.agree()?;
            }
            "profile" => self.profile(line)?,
            "cpus" => {
                once(self.cpus.map(|c| c.1), &head)?;
                let rule = "say `cpus 2`, the patcher's included; 2 to 5";
                let word = only(line, rule)?;
                let n = word.text.parse().ok().filter(|n| (2..=5).contains(n)).ok_or_else(|| word.at.error(rule))?;
                self.cpus = Some((n, word.at));
            }
            "site" => return self.site(line),
            "batch" => return self.batch(line),
            "back" | "retreat" => return self.way_back(line, if known == "back" { 1 } else { 2 }),
            "repair" => {
                once(self.repair.at, &head)?;
                alone(line)?;
                self.repair.at = Some(line.at());
                return Ok(Section::Repair);
            }
            "sometimes" => {
                once(self.sometimes.as_ref().map(|s| s.1), &head)?;
                let known = names::sometimes();
                let all = listed(line).map(|w| names::find("event", w, &known)).collect::<Result<Vec<_>, _>>()?;
                if all.is_empty() {
                    return Err(line.end().error("say what must happen in some run: `sometimes old-ran, performed`"));
                }
                self.sometimes = Some((all, line.at()));
            }
            _ => self.claim(line)?,
        }
        Ok(Section::Top)
    }

    pub fn isa(&self) -> Option<IsaId> {
        self.isa.map(|i| i.0).or(self.profiles.first().map(|p| p.0.isa()))
    }

    fn profile(&mut self, line: &Line<'_>) -> Result<(), Error> {
        once(self.profiles.first().map(|p| p.1), &line.head())?;
        let known = names::profiles();
        for word in listed(line) {
            let profile = names::find("profile", word, &known)?;
            if self.profiles.iter().any(|p| p.0 == profile) {
                return Err(word.at.error("this profile is named twice"));
            }
            self.profiles.push((profile, word.at));
            self.agree()?;
        }
        if self.profiles.is_empty() {
            return Err(line.end().error("say whose promises about fetch: `profile intel, amd`"));
        }
        Ok(())
    }

    /// Profiles and instruction set are about the same machine.
    fn agree(&self) -> Result<(), Error> {
        let Some(isa) = self.isa() else { return Ok(()) };
        match self.profiles.iter().find(|p| p.0.isa() != isa) {
            None => Ok(()),
            Some((profile, at)) => {
                let its = isa.profiles().iter().map(|p| p.name()).collect::<Vec<_>>().join(", ");
                Err(at.error(format!("{} is not a profile of {}; those are {its}", profile.name(), isa.name())))
            }
        }
    }

    fn knob(&self, line: &Line<'_>) -> Result<Option<(usize, usize, At)>, Error> {
        let phrase = line.phrase();
        for (i, knob) in KNOBS.iter().enumerate() {
            if let Some(n) = knob.phrases.iter().position(|p| p.words.eq_ignore_ascii_case(&phrase)) {
                if let Some((_, other, at)) = self.knobs.iter().find(|k| k.0 == i) {
                    let other = knob.phrases[*other].words;
                    return Err(line.at().error(format!("this was decided in line {}: `{other}`", at.line)));
                }
                return Ok(Some((i, n, line.at())));
            }
        }
        Ok(None)
    }

    /// The steps that a line adds to.
    fn part(&mut self, section: Section) -> Option<&mut Part> {
        match section {
            Section::Batch(part) => self.batches.last_mut().map(|b| &mut b.parts[part]),
            Section::Repair => Some(&mut self.repair),
            Section::Top | Section::Site => None,
        }
    }

    fn site(&mut self, line: &Line<'_>) -> Result<Section, Error> {
        let isa = self.isa().ok_or_else(|| line.at().error("say the instruction set first: `isa x86-64`"))?;
        if let Some(batch) = self.batches.first() {
            let first = batch.parts[0].at.map_or(0, |at| at.line);
            return Err(line.at().error(format!("sites come before the first batch, which is in line {first}")));
        }
        if self.sites.len() == crate::text::SITES {
            return Err(line.at().error(format!("the checker holds {} sites at most", crate::text::SITES)));
        }
        self.sites.push(Draft::parse(line, self.sites.len(), isa)?);
        Ok(Section::Site)
    }

    fn batch(&mut self, line: &Line<'_>) -> Result<Section, Error> {
        let rule = "say from which form to which: `batch old -> new`, `batch new -> old`, and with a `then` form \
                    `batch new -> then` or `batch then -> new`";
        let [_, from, arrow, to, rest @ ..] = &line.words[..] else { return Err(line.at().error(rule)) };
        let form = |w: &Word<'_>| FORMS.iter().position(|f| w.is(f)).ok_or_else(|| w.at.error(rule));
        let (from, to) = (form(from)?, form(to)?);
        if !arrow.is("->") {
            return Err(arrow.at.error(rule));
        }
        let (set, dir) = match (from, to) {
            _ if from + 1 == to => (from, Direction::Install),
            _ if to + 1 == from => (to, Direction::Remove),
            _ => return Err(line.at().error(rule)),
        };
        let mut parts: [Part; 3] = Default::default();
        match rest {
            [] => {}
            [a, b] if a.is("as") && b.is("above") => {
                let Some(above) = self.batches.last() else {
                    return Err(a.at.to(b.at).error("there is no batch above"));
                };
                for (part, above) in parts.iter_mut().zip(&above.parts) {
                    *part = Part { at: above.at, steps: above.steps.clone(), same: true };
                }
            }
            [word, ..] => return Err(word.at.error("nothing but `as above` can follow")),
        }
        parts[0].at = Some(line.at());
        self.batches.push(BatchDraft { set: set as u8, dir, parts });
        Ok(Section::Batch(0))
    }

    fn way_back(&mut self, line: &Line<'_>, which: usize) -> Result<Section, Error> {
        let head = line.head();
        let Some(batch) = self.batches.last_mut() else {
            return Err(head.at.error("this belongs to a batch; say `batch old -> new` first"));
        };
        if batch.parts[0].same {
            return Err(head.at.error("this batch is as the one above, its way back included"));
        }
        once(batch.parts[which].at, &head)?;
        let forth = batch.parts[0].steps.clone();
        let part = &mut batch.parts[which];
        part.at = Some(line.at());
        match line.from(1) {
            [] => {}
            [a, b] if which == 1 && a.is("as") && b.is("forth") => (part.steps, part.same) = (forth, true),
            [word, ..] if which == 1 => return Err(word.at.error("nothing but `as forth` can follow")),
            [word, ..] => return Err(word.at.error("nothing can follow; the steps stand in the next lines")),
        }
        Ok(Section::Batch(which))
    }

    fn claim(&mut self, line: &Line<'_>) -> Result<(), Error> {
        let rule =
            "say `expect safe`, `expect unsafe torn` or `expect unsafe torn in 4`; a profile may stand before it";
        let mut words = line.from(1);
        let mut profile = None;
        if let [first, rest @ ..] = words
            && !first.is("safe")
            && !first.is("unsafe")
        {
            let known = names::profiles();
            profile = Some(
                names::find("profile", first, &known)
                    .map_err(|e| Error { message: format!("{rule}; {}", e.message), ..e })?,
            );
            words = rest;
        }
        let verdict = match words {
            [safe] if safe.is("safe") => Expect::Safe,
            [bad, what, rest @ ..] if bad.is("unsafe") => {
                let violation = names::find("violation", what, &names::violations())?;
                let length = match rest {
                    [] => None,
                    [word, n] if word.is("in") => {
                        Some(n.text.parse().map_err(|_| n.at.error("a number of transitions is missing here"))?)
                    }
                    [word, ..] => return Err(word.at.error(rule)),
                };
                Expect::Unsafe(violation, length)
            }
            _ => return Err(line.at().error(rule)),
        };
        if let Some((_, at)) = self.claims.iter().find(|(claim, _)| claim.profile == profile) {
            return Err(line.at().error(format!("line {} has expected something already", at.line)));
        }
        self.claims.push((Claim { profile, verdict }, line.at()));
        Ok(())
    }
}

impl Part {
    fn push(&mut self, step: Placed) -> Result<(), Error> {
        if self.same {
            let at = self.at.map_or(0, |at| at.line);
            return Err(step.1.error(format!("line {at} says that the steps are those of another part")));
        }
        if self.steps.len() == sense::STEPS {
            return Err(step.1.error(format!("a program has {} steps at most", sense::STEPS)));
        }
        self.steps.push(step);
        Ok(())
    }
}

/// A line whose first word is none that lines begin with, or a rule that is none.
fn stranger(line: &Line<'_>) -> Error {
    let head = line.head();
    let phrases = || KNOBS.iter().flat_map(|k| k.phrases).map(|p| p.words);
    let first = |words: &'static str| words.split(' ').next().unwrap_or_default();
    let same: Vec<&str> = phrases().filter(|p| head.is(first(p))).collect();
    if !same.is_empty() {
        return line.at().error(names::unknown("rule", &line.phrase(), same.into_iter()));
    }
    let mut known: Vec<&str> = HEADS.into_iter().chain(FORMS).chain(["told", "copy", "stand-in"]).collect();
    if FORMS.iter().chain(&["told", "copy", "stand-in"]).any(|w| head.is(w)) {
        return head.at.error(format!("`{}` belongs to a site; say `site A at 0x1005` first", head.text));
    }
    for word in steps::all().into_iter().map(|s| first(crate::trace::step_name(s))).chain(phrases().map(first)) {
        if !known.contains(&word) {
            known.push(word);
        }
    }
    head.at.error(names::unknown("word", head.text, known.into_iter()))
}

fn listed<'l, 't>(line: &'l Line<'t>) -> impl Iterator<Item = &'l Word<'t>> {
    line.from(1).iter().filter(|w| w.text != ",")
}

fn only<'l, 't>(line: &'l Line<'t>, rule: &str) -> Result<&'l Word<'t>, Error> {
    match line.from(1) {
        [word] => Ok(word),
        [] => Err(line.end().error(rule)),
        [_, more, ..] => Err(more.at.error(rule)),
    }
}

fn alone(line: &Line<'_>) -> Result<(), Error> {
    match line.words.get(1) {
        None => Ok(()),
        Some(word) => Err(word.at.error("nothing can follow; the steps stand in the next lines")),
    }
}

fn prose(line: &Line<'_>, rule: &str) -> Result<String, Error> {
    Some(line.prose()).filter(|p| !p.is_empty()).ok_or_else(|| line.end().error(rule))
}
