//! A file as text. What is as it is when nothing is said is not said.

use std::fmt::Write as _;

use textpoke_core::{Direction, Step};

use super::form::Form;
use super::site::{FORMS, defaults, places};
use super::steps::{line, purpose};
use super::world::KNOBS;
use super::{File, SOMETIMES, names};
use crate::expected::Expect;
use crate::scenario::{Batch, IsaId, Place};

/// Where comments begin.
const COMMENT: usize = 40;

/// Writes a file so that reading it gives the same file.
pub fn print(file: &File) -> String {
    let isa = file.isa();
    let mut out = format!("# The format: docs/protocol-files.md\nprotocol {}\n", plain(&file.name));
    if !plain(&file.title).is_empty() {
        let _ = writeln!(out, "title {}", plain(&file.title));
    }
    let _ = writeln!(out, "isa {}", isa.name());
    if file.profiles != isa.profiles() {
        let names: Vec<&str> = file.profiles.iter().map(|p| p.name()).collect();
        let _ = writeln!(out, "profile {}", names.join(", "));
    }
    if file.cpus != 2 {
        said(&mut out, &format!("cpus {}", file.cpus), "the patcher's included");
    }
    rules(&mut out, file);
    for (i, first) in file.sets[0].iter().enumerate() {
        let _ = writeln!(out, "\nsite {} at {:#x}", char::from(b'A' + i as u8), first.site.addr);
        let places = places(i, &file.sets[0].iter().map(|p| p.site.addr).collect::<Vec<_>>());
        for (set, all) in file.sets.iter().enumerate() {
            site(&mut out, set, &all[i], file.sets[0][i], isa, places);
        }
    }
    let mut above: Option<&Batch> = None;
    for b in &file.batches {
        batch(&mut out, b, above);
        above = Some(b);
    }
    if file.world.killed
        && file.repair_by_default().as_ref() != Some(&file.world.repair)
        && !file.world.repair.is_empty()
    {
        out.push_str("\nrepair\n");
        steps(&mut out, &file.world.repair);
    }
    ends(&mut out, file);
    out
}

fn rules(out: &mut String, file: &File) {
    let applies = |k: &&super::world::Knob| file.profiles.iter().any(|&p| (k.applies)(p));
    let phrases: Vec<_> = KNOBS.iter().filter(applies).filter_map(|k| k.said(&file.world)).collect();
    if !phrases.is_empty() {
        out.push('\n');
    }
    for phrase in phrases {
        said(out, phrase.words, phrase.about);
    }
}

fn site(out: &mut String, set: usize, place: &Place, first: Place, isa: IsaId, places: [u64; 2]) {
    let site = &place.site;
    let len = site.len();
    let begins = [place.old_begins, place.new_begins];
    // What stands there before the second set is the first one's new form.
    let truth = [if set == 0 { place.old_begins } else { first.new_begins }, place.new_begins];
    for side in usize::from(set > 0)..2 {
        let bytes = [&site.old, &site.new][side];
        let calls = if set + side == 0 { place.calls } else { 0 };
        let form = Form::print(&bytes[..len], begins[side], calls, isa);
        let _ = writeln!(out, "  {:<4} {form}", FORMS[set + side]);
    }
    for (side, told) in [site.inner | 1, site.new_inner | 1].into_iter().enumerate() {
        if told != truth[side] {
            let form = Form::print(&[site.old, site.new][side][..len], told, 0, isa);
            said(out, &format!("  told {} {form}", FORMS[set + side]), "what the protocol believes");
        }
    }
    let [copy, stand_in] = defaults(site, isa, places);
    let offsets: Vec<u8> = (0..len).filter(|&i| site.begins_at(i)).map(|i| site.copy_at[i]).collect();
    let plain = (0..len).filter(|&i| site.begins_at(i)).all(|i| site.copy == 0 || usize::from(site.copy_at[i]) == i);
    if !plain {
        let offsets: Vec<String> = offsets.iter().map(u8::to_string).collect();
        elsewhere(out, "copy", site.copy, &format!(" offsets {}", offsets.join(" ")));
    } else if site.copy != copy {
        elsewhere(out, "copy", site.copy, "");
    }
    if site.stand_in != stand_in {
        elsewhere(out, "stand-in", site.stand_in, "");
    }
}

fn elsewhere(out: &mut String, what: &str, at: u64, more: &str) {
    let form = if what == "copy" { "old" } else { "new" };
    match at {
        0 => said(out, &format!("  {what} none"), &format!("no code elsewhere does what the {form} form does")),
        at => said(
            out,
            &format!("  {what} at {at:#x}{more}"),
            &format!("code elsewhere that does what the {form} form does"),
        ),
    }
}

fn batch(out: &mut String, b: &Batch, above: Option<&Batch>) {
    let set = usize::from(b.set);
    let (from, to) = if b.dir == Direction::Install { (set, set + 1) } else { (set + 1, set) };
    let _ = write!(out, "\nbatch {} -> {}", FORMS[from], FORMS[to]);
    let [forth, back, retreat] = b.programs();
    if above.is_some_and(|above| above.programs() == b.programs()) {
        out.push_str(" as above\n");
        return;
    }
    out.push('\n');
    steps(out, forth);
    if back == forth {
        said(out, "back as forth", "if a step fails");
    } else {
        said(out, "back", "if a step fails");
        steps(out, back);
    }
    if !retreat.is_empty() {
        said(out, "retreat", "if that is the wait, or a step before it");
        steps(out, retreat);
    }
}

fn steps(out: &mut String, steps: &[Step]) {
    for &step in steps {
        said(out, &format!("  {}", line(step)), purpose(step));
    }
}

fn ends(out: &mut String, file: &File) {
    if file.sometimes != SOMETIMES {
        let names: Vec<String> = file.sometimes.iter().map(names::kebab).collect();
        let _ = writeln!(out, "\nsometimes {}", names.join(", "));
    }
    if !file.claims.is_empty() {
        out.push('\n');
    }
    for claim in &file.claims {
        let profile = claim.profile.map(|p| format!("{} ", p.name())).unwrap_or_default();
        let verdict = match claim.verdict {
            Expect::Safe => "safe".into(),
            Expect::Unsafe(violation, None) => format!("unsafe {}", names::kebab(&violation)),
            Expect::Unsafe(violation, Some(n)) => format!("unsafe {} in {n}", names::kebab(&violation)),
        };
        let _ = writeln!(out, "expect {profile}{verdict}");
    }
}

/// A line and what it says.
fn said(out: &mut String, line: &str, about: &str) {
    let _ = writeln!(out, "{line:<COMMENT$}  # {about}");
}

/// Prose of one line without a comment in it.
fn plain(text: &str) -> String {
    text.split('#').next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}
