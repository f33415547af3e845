//! Protocols as data: a scheme of one's own, its sites and its world in a text file, and the built-in ones written as such.
//!
//! `docs/protocol-files.md` describes the format. [`parse`] reads it, [`print()`] writes it, and what is read is explored by
//! the same machine as everything else.

mod assemble;
mod error;
mod form;
mod lex;
mod names;
mod parse;
mod print;
mod reference;
mod sense;
mod site;
mod steps;
mod world;

use textpoke_core::{Direction, Step};

pub use error::{At, Error};
pub use parse::parse;
pub use print::print;
pub use reference::reference;
pub use steps::purpose;

use crate::expected::Expect;
use crate::explore::Progress;
use crate::nmi::{Entry, Nmi};
use crate::options::{self, Options};
use crate::property::Sometimes;
use crate::report::{self, Report, Unknown, Verdict};
use crate::scenario::{Batch, IsaId, Place, Profile, Scenario, World};
use crate::variants::Check;

/// What must happen sometimes if nothing is said.
const SOMETIMES: [Sometimes; 2] = [Sometimes::OldRan, Sometimes::Performed];

/// A verdict that a file expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Under this profile; none: under every one that no other claim names.
    pub profile: Option<Profile>,
    /// The verdict.
    pub verdict: Expect,
}

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name, for reports.
    pub name: String,
    /// What it is; may be empty.
    pub title: String,
    /// Whose promises about fetch, all of one instruction set; at least one.
    pub profiles: Vec<Profile>,
    /// Processors, the patcher's included, 2 to 5.
    pub cpus: u8,
    /// As in a [`Scenario`].
    pub sets: Vec<Vec<Place>>,
    /// The batches, each with its own steps.
    pub batches: Vec<Batch>,
    /// The rules; the profile is the first of [`File::profiles`].
    pub world: World,
    /// What must happen sometimes.
    pub sometimes: Vec<Sometimes>,
    /// The verdicts that are expected.
    pub claims: Vec<Claim>,
}

impl File {
    /// A check as a file, under these options, for every profile of the instruction set that they name.
    pub fn of(check: &Check, options: &Options) -> Self {
        let Scenario { sets, batches, cpus, mut world } = options.scenario(check).opened();
        let profiles = options.shape.profile.isa().profiles().to_vec();
        if world.profile != profiles[0] && world.at_once == World::new(world.profile).at_once {
            world.at_once = World::new(profiles[0]).at_once;
        }
        world.profile = profiles[0];
        let (name, title) = (check.name.into(), check.title.into());
        Self {
            name,
            title,
            profiles,
            cpus,
            sets,
            batches,
            world,
            sometimes: check.sometimes.to_vec(),
            claims: Vec::new(),
        }
    }

    /// The instruction set.
    pub fn isa(&self) -> IsaId {
        self.world.profile.isa()
    }

    /// What is explored under one of the profiles.
    pub fn scenario(&self, profile: Profile) -> Scenario {
        let mut world = World { profile, ..self.world.clone() };
        if world.at_once == World::new(self.world.profile).at_once {
            world.at_once = World::new(profile).at_once;
        }
        if world.killed && world.repair.is_empty() {
            world.repair = self.repair_by_default().unwrap_or_default();
        }
        Scenario { sets: self.sets.clone(), batches: self.batches.clone(), cpus: self.cpus, world }
    }

    /// The same for one of its profiles alone.
    pub fn under(&self, profile: Profile) -> Self {
        let world = self.scenario(profile).world;
        let claims = self.expects(profile).map(|verdict| Claim { profile: None, verdict });
        Self { profiles: vec![profile], world, claims: claims.into_iter().collect(), ..self.clone() }
    }

    /// The steps of whoever comes after a killed patcher, if there are some that lead where they should.
    pub fn repair(&self) -> Option<Vec<Step>> {
        Some(self.world.repair.clone()).filter(|r| !r.is_empty()).or_else(|| self.repair_by_default())
    }

    /// The first batch's way back, if it leads to the right form.
    fn repair_by_default(&self) -> Option<Vec<Step>> {
        let first = self.batches.first()?;
        let back: Direction = first.dir.opposite();
        (back == self.world.repairer.to()).then(|| first.programs()[1].to_vec())
    }

    /// The same without one step, named like `sync cores 2`, in every batch that has it. Nothing is expected of it.
    ///
    /// # Errors
    /// No batch has the step.
    pub fn without(&self, step: &str) -> Result<Self, Unknown> {
        let mut file = self.clone();
        options::leave_out(&mut file.batches, step)?;
        file.title = format!("{} without \"{step}\"", self.name);
        file.claims.clear();
        Ok(file)
    }

    /// The same with other numbers than the file has, as the command line asks for them. Nothing is expected of it.
    ///
    /// # Errors
    /// What the file would have to say in addition.
    pub fn asked(
        &self,
        cpus: Option<u8>,
        nmis: Option<u8>,
        failures: Option<u8>,
        killed: bool,
    ) -> Result<Self, &'static str> {
        let mut file = self.clone();
        file.cpus = cpus.unwrap_or(file.cpus);
        let w = &mut file.world;
        w.failures = failures.unwrap_or(w.failures);
        w.killed |= killed;
        if let Some(each) = nmis {
            // Where the file has none, they do nothing but execute the sites.
            let nmi = Nmi { each, ..w.nmi.unwrap_or(Nmi::new(Entry::Plain)) };
            w.nmi = (each > 0).then_some(nmi);
        }
        if w.killed && file.repair().is_none() {
            return Err(
                "the first batch's way back does not lead to the old form; the file must say `repair` and its steps",
            );
        }
        if cpus.is_some() || nmis.is_some() || failures.is_some() || killed {
            file.claims.clear();
        }
        Ok(file)
    }

    /// Explores it under one of its profiles. Of the options only the limits count.
    pub fn run(&self, profile: Profile, options: &Options, progress: Progress<'_>) -> Report {
        let scenario = self.scenario(profile);
        let report = report::run(&self.name, &self.title, &self.sometimes, &scenario, options, progress);
        Report { protocol: Some(print(&self.under(profile))), ..report }
    }

    /// What is expected under a profile, if anything is.
    pub fn expects(&self, profile: Profile) -> Option<Expect> {
        let of = |p| self.claims.iter().find(|c| c.profile == p).map(|c| c.verdict);
        of(Some(profile)).or_else(|| of(None))
    }
}

impl Expect {
    /// Whether a verdict is the one.
    pub fn agrees(self, verdict: &Verdict) -> bool {
        match (verdict, self) {
            (Verdict::Safe { .. }, Self::Safe) => true,
            (Verdict::Unsafe { violation, length }, Self::Unsafe(v, l)) => {
                *violation == v && l.is_none_or(|l| l == *length)
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Expect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Safe => f.write_str("safe"),
            Self::Unsafe(violation, Some(length)) => Verdict::Unsafe { violation, length }.fmt(f),
            Self::Unsafe(violation, None) => {
                let verdict = Verdict::Unsafe { violation, length: 0 }.to_string();
                f.write_str(verdict.split(", 0").next().unwrap_or_default())
            }
        }
    }
}
