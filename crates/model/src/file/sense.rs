//! What can be read but makes no sense, told where it stands.

use textpoke_core::{Direction, Phase, Step};

use super::File;
use super::error::{At, Error};
use super::parse::{BatchDraft, Said};
use super::site::FORMS;
use super::world::KNOBS;
use crate::machine::Machine;
use crate::scenario::{Fetch, Order, Profile, Scenario};
use crate::text::{CACHED_LANES, LANES, Text, TooBig};

/// The most steps of one program.
pub(super) const STEPS: usize = 40;
/// The most batches.
const BATCHES: usize = 6;
/// The most pieces of a store that may appear in any order.
const PIECES: u16 = 16;

/// The first thing that makes no sense.
pub(super) fn check(file: &File, said: &Said) -> Result<(), Error> {
    sites(file, said)?;
    batches(file, said)?;
    for &profile in &file.profiles {
        bytes(file, said, profile)?;
        let scenario = file.scenario(profile);
        let text = text(&scenario, said)?;
        for batch in &said.batches {
            stores(&scenario, &text, batch)?;
        }
        graph(&scenario, said)?;
    }
    Ok(())
}

fn sites(file: &File, said: &Said) -> Result<(), Error> {
    for (i, two) in file.sets[0].windows(2).enumerate() {
        let (before, at) = (two[0].site, said.sites[i + 1].addr_at);
        if two[1].site.addr < before.addr {
            return Err(at.error(format!("sites ascend, and the one before is at {:#x}", before.addr)));
        }
        if two[1].site.addr < before.end() {
            let len = before.len();
            return Err(at.error(format!("this overlaps the site before: {len} bytes at {:#x}", before.addr)));
        }
    }
    Ok(())
}

fn batches(file: &File, said: &Said) -> Result<(), Error> {
    let turned = |words: &str| {
        let knob = |k: &&(usize, usize, At)| KNOBS[k.0].phrases[k.1].words.starts_with(words);
        said.knobs.iter().find(knob).map(|k| k.2)
    };
    let mut stands: Option<usize> = None;
    for (i, batch) in said.batches.iter().enumerate() {
        let [forth, back, retreat] = &batch.parts;
        let Some(at) = forth.at else { continue };
        let (from, to) = ends(batch);
        if i == BATCHES {
            return Err(at.error(format!("{BATCHES} batches at most")));
        }
        if usize::from(batch.set) >= file.sets.len() {
            return Err(at.error("the sites have no `then` form"));
        }
        if i > 1
            && let Some(why) = turned("undone batch given up")
        {
            return Err(at.error(format!("line {} says that one batch follows when the first was undone", why.line)));
        }
        match stands {
            None if batch.set > 0 => {
                return Err(at.error("the first batch begins with `old` or with `new`"));
            }
            Some(form) if form != from => {
                let rule = format!("the batch before leaves `{}` there, not `{}`", FORMS[form], FORMS[from]);
                return Err(at.error(rule));
            }
            _ => {}
        }
        // Another one follows only if this was undone.
        stands = Some(if file.world.gives_up { from } else { to });
        for part in [forth, back, retreat] {
            if let (Some(at), true) = (part.at, part.steps.is_empty()) {
                return Err(at.error("there are no steps behind this line"));
            }
        }
        if back.at.is_none()
            && let Some(why) = turned("failures ").filter(|_| file.world.failures > 0).or(turned("killed then"))
        {
            return Err(at.error(format!(
                "line {} lets steps fail or the patcher be killed, and this batch has no way back; say `back` and its \
                 steps, or `back as forth`",
                why.line
            )));
        }
    }
    if let Some(at) = turned("killed then").filter(|_| file.repair().is_none()) {
        let to = if file.world.repairer.to() == Direction::Install { "new" } else { "old" };
        return Err(at.error(format!(
            "who repairs brings `{to}` back, and the first batch's way back leads elsewhere; say `repair` and the steps"
        )));
    }
    if let Some(at) = said.repair.at {
        if said.repair.steps.is_empty() {
            return Err(at.error("there are no steps behind this line"));
        }
        if !file.world.killed {
            return Err(at.error("nobody repairs unless the patcher may be killed; say `killed then restored`"));
        }
    }
    if let (Some(none), Some(some)) = (turned("nmis none"), turned("nmi ").or(turned("nmis each"))) {
        return Err(some.error(format!("line {} says that there are no NMIs", none.line)));
    }
    if let Some(at) = turned("everybody parked").filter(|_| file.world.nmi.is_none()) {
        return Err(at.error("nobody would execute the sites; say `nmis on every CPU`"));
    }
    Ok(())
}

/// The forms that a batch begins and ends with.
fn ends(batch: &BatchDraft) -> (usize, usize) {
    let set = usize::from(batch.set);
    match batch.dir {
        Direction::Install => (set, set + 1),
        Direction::Remove => (set + 1, set),
    }
}

/// Lengths and boundaries suit the instruction set, and there are not too many bytes.
fn bytes(file: &File, said: &Said, profile: Profile) -> Result<(), Error> {
    let scenario = file.scenario(profile);
    let Err(TooBig::Bytes) = Text::new(&scenario) else { return Ok(()) };
    let width = Text::width_of(&scenario).unwrap_or(1);
    let room = width * if profile.fetch() == Fetch::Caches { CACHED_LANES } else { LANES };
    let mut total = 0;
    for (place, draft) in scenario.sets[0].iter().zip(&said.sites) {
        total += place.site.len();
        if total > room {
            let name = profile.name();
            return Err(draft.at.error(format!(
                "with this site there are {total} bytes; under {name} the checker holds {room} in all sites together"
            )));
        }
    }
    Ok(())
}

fn text(scenario: &Scenario, said: &Said) -> Result<Text, Error> {
    let found = Text::new(scenario);
    for (i, draft) in said.sites.iter().enumerate() {
        if found.is_ok() {
            break;
        }
        let sets = scenario.sets.iter().map(|set| vec![set[i]]).collect();
        let alone = Scenario { sets, ..scenario.clone() };
        if let Err(why) = Text::new(&alone) {
            let at = draft.forms.iter().flatten().last().map_or(draft.at, |f| f.at);
            return Err(match why {
                TooBig::Values => at.error(
                    "one of these bytes or words would take more than four values: those of its forms, the trap \
                     instruction, and a store half done",
                ),
                TooBig::Bytes | TooBig::Shape => at.error("the checker cannot hold this site"),
            });
        }
    }
    found.map_err(|_| said.sites[0].at.error("the checker cannot hold these sites together"))
}

/// Every store can be made.
fn stores(scenario: &Scenario, text: &Text, batch: &BatchDraft) -> Result<(), Error> {
    let isa = text.isa;
    for &(step, at) in batch.parts.iter().flat_map(|p| &p.steps) {
        let Step::Store { phase, .. } = step else { continue };
        for (s, place) in scenario.sets[usize::from(batch.set)].iter().enumerate() {
            let (len, name) = (place.site.len(), char::from(b'A' + s as u8));
            let lane = text.lane(s, 0);
            match phase {
                Phase::Trap | Phase::TrapHead | Phase::Head if text.trap(lane) == 4 => {
                    let trap = isa.trap().len();
                    return Err(at.error(if len < trap {
                        format!("the trap instruction has {trap} bytes and site {name} has {len}")
                    } else {
                        format!(
                            "the trap instruction has {trap} bytes, and site {name} or another has instructions of {}; \
                             such traps are not modelled",
                            text.width()
                        )
                    }));
                }
                Phase::Hop | Phase::HopTail | Phase::HopHead if isa.hop(len).is_none() => {
                    return Err(at.error(format!(
                        "{} has no short jump of two bytes over a site of {len} bytes, as site {name} is",
                        isa.name()
                    )));
                }
                Phase::Hop if !text.can_hop(s) => {
                    return Err(at.error(format!(
                        "one of the first two bytes of site {name} would take more than four values: those of its forms, \
                         the trap instruction, and the short jump"
                    )));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn graph(scenario: &Scenario, said: &Said) -> Result<(), Error> {
    let steps = |b: &BatchDraft| b.parts.iter().flat_map(|p| p.steps.clone()).collect::<Vec<_>>();
    let Ok(machine) = Machine::new(scenario) else {
        // Two records are told apart, and so many nodes are numbered.
        let mut records = said
            .batches
            .iter()
            .map(steps)
            .filter_map(|s| s.into_iter().find(|s| matches!(s.0, Step::Record | Step::Announce { .. })));
        return Err(match records.next_back() {
            Some((_, at)) => at.error("NMIs can be told apart two different records, and this is one more"),
            None => said.batches[0].parts[0]
                .at
                .unwrap_or(said.sites[0].at)
                .error("these are more steps and failures than fit"),
        });
    };
    if scenario.world.order == Order::Any {
        for node in &machine.script.nodes {
            let n = node.pieces.1 - node.pieces.0;
            let same = |s: &super::steps::Placed| s.0 == node.step;
            if matches!(node.step, Step::Store { .. }) && n > PIECES {
                let all: Vec<_> =
                    said.batches.iter().flat_map(steps).chain(said.repair.steps.iter().copied()).collect();
                let at = all.into_iter().find(same).map_or(said.sites[0].at, |s| s.1);
                return Err(at.error(format!("this store has {n} pieces; in any order there can be {PIECES} at most")));
            }
        }
    }
    Ok(())
}
