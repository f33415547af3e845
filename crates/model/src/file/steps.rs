//! Steps by name, and what each is for.

use textpoke_core::{Phase, Step, Unit};

use super::error::{At, Error};
use super::lex::Line;
use super::names;
use crate::trace::step_name;

/// A step and where it stands.
pub(super) type Placed = (Step, At);

const PHASES: [Phase; 8] =
    [Phase::Trap, Phase::TrapHead, Phase::Tail, Phase::Head, Phase::Whole, Phase::Hop, Phase::HopTail, Phase::HopHead];

const UNITS: [Unit; 4] = [Unit::Byte, Unit::Half, Unit::Word, Unit::Eight];

/// Every step that a file can ask for; a store by bytes.
pub fn all() -> Vec<Step> {
    let mut steps = vec![Step::Open, Step::Verify { after: false }, Step::Verify { after: true }, Step::Publish];
    steps.extend(PHASES.map(|phase| Step::Store { phase, unit: Unit::Byte }));
    steps.extend([
        Step::Maintain,
        Step::SyncCores,
        Step::AwaitNoneInside,
        Step::Park,
        Step::Unpark,
        Step::Record,
        Step::Announce { idle: true },
        Step::Announce { idle: false },
        Step::Withdraw,
        Step::AwaitNmis,
        Step::Pause,
        Step::Retire,
        Step::Close,
    ]);
    steps
}

/// The step that a line is, if its first word is that of one.
pub(super) fn parse(line: &Line<'_>) -> Option<Result<Step, Error>> {
    let steps = all();
    let begins = |s: &Step| step_name(*s).split(' ').next().is_some_and(|first| line.head().is(first));
    if !steps.iter().any(begins) {
        return None;
    }
    let (name, unit) = match line.words.iter().position(|w| w.is("by")) {
        Some(by) => (&line.words[..by], Some(by + 1)),
        None => (&line.words[..], None),
    };
    let phrase = name.iter().map(|w| w.text.to_lowercase()).collect::<Vec<_>>().join(" ");
    let Some(step) = steps.iter().copied().find(|s| step_name(*s) == phrase) else {
        let at = name.first().map_or(line.at(), |first| first.at.to(name[name.len() - 1].at));
        let known: Vec<&str> = steps.iter().map(|s| step_name(*s)).collect();
        return Some(Err(at.error(names::unknown("step", &phrase, known.into_iter()))));
    };
    Some(match (step, unit) {
        (step, None) => Ok(step),
        (Step::Store { phase, .. }, Some(at)) => self::unit(line, at).map(|unit| Step::Store { phase, unit }),
        (_, Some(at)) => {
            Err(line.words[at - 1].at.to(line.words[line.words.len() - 1].at).error("only a store has a unit"))
        }
    })
}

fn unit(line: &Line<'_>, at: usize) -> Result<Unit, Error> {
    let rule = "a store is by 1, 2, 4 or 8: so many naturally aligned bytes appear at once";
    let word = line.words.get(at).ok_or_else(|| line.end().error(rule))?;
    if let Some(more) = line.words.get(at + 1) {
        return Err(more.at.error("nothing follows the number of bytes"));
    }
    let unit = UNITS.into_iter().find(|u| u.bytes().to_string() == word.text);
    unit.ok_or_else(|| word.at.error(rule))
}

/// A step as a line of a file.
pub(super) fn line(step: Step) -> String {
    match step {
        Step::Store { unit, .. } if unit != Unit::Byte => format!("{} by {}", step_name(step), unit.bytes()),
        _ => step_name(step).into(),
    }
}

/// What a step is for, in a few words; `docs/contract.md` has all of them.
pub fn purpose(step: Step) -> &'static str {
    match step {
        Step::Open => "the text becomes writable",
        Step::Verify { after: false } => "what must stand there before does",
        Step::Verify { after: true } => "what must stand there now does",
        Step::Publish => "from now on every CPU knows what the traps mean",
        Step::Store { phase, .. } => match phase {
            Phase::Trap => "the trap on the head, and on every inner boundary that is to vanish",
            Phase::TrapHead => "the trap on the head alone",
            Phase::Tail => "everything behind the bytes that a trap on the head covers gets its final form",
            Phase::Head => "the bytes that a trap on the head covers get their final form",
            Phase::Whole => "all bytes get their final form",
            Phase::Hop => "a short jump of two bytes over everything behind it",
            Phase::HopTail => "everything behind the short jump gets its final form",
            Phase::HopHead => "the two bytes of the short jump get their final form",
        },
        Step::Maintain => "caches, where fetch does not see stores by itself",
        Step::SyncCores => "every CPU passes a context synchronising point",
        Step::Park => "nobody else runs program code",
        Step::Unpark => "they go on, after a context synchronising point each",
        Step::AwaitNoneInside => "no thread stands behind the head of a site",
        Step::Record => "the final bytes are laid out for NMIs",
        Step::Announce { idle: true } => "from a moment on when no NMI runs, each writes the record first",
        Step::Announce { idle: false } => "from now on each NMI writes the record first",
        Step::Withdraw => "from now on NMIs write nothing",
        Step::AwaitNmis => "every NMI that was running has ended",
        Step::Pause => "time passes, which promises nothing",
        Step::Retire => "no handler runs and no trap is pending; the table goes",
        Step::Close => "the text is as it was protected before",
        Step::Undo(_) => "what follows is the way back",
        Step::Done(_) => "the end",
    }
}
