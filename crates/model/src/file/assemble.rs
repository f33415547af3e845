//! From what the lines of a file said to the file.

use super::error::{At, Error};
use super::parse::{BatchDraft, Part, Said};
use super::site::{self, Draft};
use super::world::KNOBS;
use super::{File, sense};
use crate::scenario::{Batch, IsaId, Place, Profile, Steps, World};

impl Said {
    /// Everything together. `last` is where what is missing is missed.
    pub fn file(self, last: At) -> Result<File, Error> {
        let isa = self.isa().ok_or_else(|| last.error("no instruction set is named; say `isa x86-64` at the top"))?;
        let profiles: Vec<Profile> = match &self.profiles[..] {
            [] => isa.profiles().to_vec(),
            some => some.iter().map(|p| p.0).collect(),
        };
        if let Some((claim, at)) = self.claims.iter().find(|(c, _)| c.profile.is_some_and(|p| !profiles.contains(&p))) {
            let name = claim.profile.map_or("", |p| p.name());
            return Err(at.error(format!("this file is not about {name}; its `profile` line does not name it")));
        }
        let sets = self.sets(isa, last)?;
        let mut world = World::new(profiles[0]);
        for &(knob, phrase, at) in &self.knobs {
            let knob = &KNOBS[knob];
            if !profiles.iter().any(|&p| (knob.applies)(p)) {
                return Err(at.error(format!("this means something for {} only", knob.whom)));
            }
            (knob.phrases[phrase].set)(&mut world);
        }
        if self.batches.is_empty() {
            return Err(last.error("nothing is done; say `batch old -> new`, and the steps in the lines behind it"));
        }
        let batch = |b: &BatchDraft| {
            let [forth, back, retreat] = b.parts.each_ref().map(Part::steps);
            let back = if b.parts[1].at.is_none() { forth.clone() } else { back };
            Batch { steps: Steps::Custom { forth, back, retreat }, dir: b.dir, set: b.set }
        };
        world.repair = self.repair.steps();
        let file = File {
            name: self.name.as_ref().map(|n| n.0.clone()).unwrap_or_default(),
            title: self.title.as_ref().map(|n| n.0.clone()).unwrap_or_default(),
            profiles,
            cpus: self.cpus.map_or(2, |c| c.0),
            sets,
            batches: self.batches.iter().map(batch).collect(),
            world,
            sometimes: self.sometimes.as_ref().map_or(super::SOMETIMES.to_vec(), |s| s.0.clone()),
            claims: self.claims.iter().map(|c| c.0).collect(),
        };
        sense::check(&file, &self)?;
        Ok(file)
    }

    fn sets(&self, isa: IsaId, last: At) -> Result<Vec<Vec<Place>>, Error> {
        if self.sites.is_empty() {
            return Err(last.error("there is no site; say `site A at 0x1005`, and its `old` and `new` form behind it"));
        }
        let counts = self.sites.iter().map(Draft::count).collect::<Result<Vec<_>, _>>()?;
        let addresses: Vec<u64> = self.sites.iter().map(|s| s.addr).collect();
        let set = |set: usize| {
            let place = |(i, s): (usize, &Draft)| s.place(set, isa, site::places(i, &addresses));
            self.sites.iter().enumerate().map(place).collect()
        };
        (0..counts.into_iter().max().unwrap_or(1)).map(set).collect()
    }
}
