//! The code that a cell runs: the checker's site at a place in memory, and what it needs around it.
//!
//! The site is at the start of a function that gets 1 in ECX and, if the new form ran, returns 2. Every other register
//! is poisoned by the caller, and all memory around is INT3, so that torn instructions rarely go unnoticed. Those that
//! do nothing, as a NOP with the displacement of a CALL, do.

use textpoke_core::isa::{Isa, X86_64, x86_64::Insn, x86_64::jmp};
use textpoke_core::{Direction, Site, Step};
use textpoke_model::scenario::{Batch, Scenario, World};
use textpoke_model::{Check, Options, Profile};

use crate::place::Place;
use crate::variant::Variant;

/// What ECX is when only the old form ran.
pub const OLD: u64 = 1;
/// What it is when the new form did.
pub const NEW: u64 = 2;

/// Bytes per page.
pub const PAGE: u64 = 4096;
/// Pages around the site; a torn displacement of two bytes leads into them.
pub const PAGES: u64 = 32;
/// The page in which the site begins.
const SITE_PAGE: u64 = 8;
/// Where the copy of displaced instructions is, in bytes from the start.
const COPY: u64 = PAGE;

/// Code to be put into memory that is filled with INT3.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The site, with addresses that are right for the base.
    pub site: Site,
    /// What the checker explores, one after the other.
    pub batches: Vec<Batch>,
    /// The checker's world.
    pub world: World,
    /// Whether the old form is really several instructions, whatever the site says.
    pub several: bool,
    /// First page of the code that the new form branches to; two are needed.
    pub target_page: u64,
    /// Bytes to put at addresses.
    pub code: Vec<(u64, Vec<u8>)>,
}

/// The scenario of a variant at a place: what is run, and what the checker is asked about.
pub fn scenario(variant: &Variant, place: Place, profile: Profile) -> Option<Scenario> {
    let mut options = Options::new(profile);
    options.shape.cut = Some(place.cut());
    let mut scenario = options.scenario(Check::find(variant.check)?);
    if variant.fast {
        let mut steps = scenario.batches.first()?.programs()[0].to_vec();
        steps.retain(|step| *step != Step::SyncCores);
        let one_way = |dir| Batch::custom(steps.clone(), steps.clone(), dir);
        scenario.batches = vec![one_way(Direction::Install), one_way(Direction::Remove)];
    }
    Some(scenario)
}

/// Puts a scenario's site into memory that begins at `base`. `None` if there is no code that goes around it.
pub fn build(scenario: &Scenario, place: Place, base: u64) -> Option<Subject> {
    let the = scenario.sets.first()?.first()?;
    let mut site = the.site;
    site.addr = base + SITE_PAGE * PAGE + place.in_page();
    let behind: &[u8] = match site.old[..site.len()] {
        // After `push rbp; mov rbp, rsp; push rbx`: pop both; ret.
        [0x55, 0x48, 0x89, 0xe5, 0x53] => &[0x5b, 0x5d, 0xc3],
        [0x0f, 0x1f, 0x44, 0, 0] | [0x90, 0x90, 0x90, 0x90, 0x90] => &[0xc3],
        _ => return None,
    };
    let target = match X86_64::decode(site.addr, &site.new[..site.len()])? {
        Insn::Jmp { target } | Insn::Call { target, .. } => target,
        _ => return None,
    };
    let mut code = vec![
        (site.addr, site.old[..site.len()].to_vec()),
        (site.end(), behind.to_vec()),
        // mov ecx, NEW; ret
        (target, [&[0xb9], &(NEW as u32).to_le_bytes()[..], &[0xc3]].concat()),
    ];
    if site.copy != 0 {
        site.copy = base + COPY;
        code.push((site.copy, copy(&site)?));
    }
    Some(Subject {
        site,
        batches: scenario.batches.clone(),
        world: scenario.world.clone(),
        several: the.old_begins != 1,
        target_page: target & !(PAGE - 1),
        code,
    })
}

/// The old instructions where [`Site::copy_at`] says that they are, NOPs in the gaps, and a jump behind the site.
fn copy(site: &Site) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for begin in (0..site.len()).filter(|&i| site.begins_at(i)) {
        let end = (begin + 1..site.len()).find(|&i| site.begins_at(i)).unwrap_or(site.len());
        let at = if begin == 0 { 0 } else { usize::from(site.copy_at[begin]) };
        if at < bytes.len() {
            return None;
        }
        bytes.resize(at, 0x90);
        bytes.extend_from_slice(&site.old[begin..end]);
    }
    let back = jmp(site.copy + bytes.len() as u64, site.end()).ok()?;
    bytes.extend_from_slice(&back);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variant::VARIANTS;

    #[test]
    fn every_variant_has_code_at_every_place_that_it_fits() {
        let base = 0x2_0000_0000;
        for variant in VARIANTS {
            for place in Place::all().into_iter().filter(|p| p.fits(variant.fits)) {
                let scenario = scenario(variant, place, Profile::Intel).expect(variant.name);
                let subject = build(&scenario, place, base).expect(variant.name);
                let explored = scenario.sets[0][0].site;
                assert_eq!((subject.site.old, subject.site.new), (explored.old, explored.new));
                let cut = |addr: u64| if addr % 8 > 3 { 8 - addr % 8 } else { 0 };
                assert_eq!(cut(subject.site.addr), cut(explored.addr), "{} at {place:?}", variant.name);
                assert_eq!(subject.site.addr % 64, u64::from(place.offset));
                let mut code = subject.code.clone();
                code.sort();
                assert!(code.windows(2).all(|w| w[0].0 + w[0].1.len() as u64 <= w[1].0), "{}", variant.name);
                assert!(subject.target_page >= base + PAGES * PAGE, "the target has pages of its own");
            }
        }
    }

    #[test]
    fn late_threads_find_every_instruction_in_the_copy() {
        let variant = Variant::find("displace").expect("there");
        let scenario = scenario(variant, Place::INTERESTING[0], Profile::Amd).expect("there");
        let subject = build(&scenario, Place::INTERESTING[0], 0x2_0000_0000).expect("built");
        let (_, copy) = subject.code.iter().find(|(at, _)| *at == subject.site.copy).expect("a copy");
        assert_eq!(copy[..6], [0x55, 0x90, 0x48, 0x89, 0xe5, 0x53]);
        assert!(subject.several && copy[6] == 0xe9 && copy.len() == 11);
    }
}
