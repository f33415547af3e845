//! Everything that can be checked, by name: the built-in protocols as they run live, and the wrong variants.

mod arm;
mod common;
mod keys;
mod nmi;
mod protocols;
mod riscv;
mod x86;

use serde::{Deserialize, Serialize};
use textpoke_core::{Direction, Kind, Step};

use crate::property::Sometimes::{self, *};
use crate::scenario::{Batch, Handler, IsaId, Place, Profile, Scenario, World};

/// One thing to check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    /// Whether it is a protocol that runs live.
    pub built_in: Option<Kind>,
    /// The instruction sets that it is for.
    pub isas: &'static [IsaId],
    /// What must happen sometimes.
    pub sometimes: &'static [Sometimes],
    build: fn(&Shape) -> Scenario,
}

/// What can be chosen for a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Whose promises about fetch.
    pub profile: Profile,
    /// Processors, the patcher included, 2 to 5.
    pub cpus: u8,
    /// Sites, 1 to 3.
    pub sites: u8,
    /// x86-64: how many bytes of each site lie in front of an 8-byte boundary; 0 if none does. `None`: what is hardest.
    #[serde(default)]
    pub cut: Option<u8>,
}

impl Shape {
    /// The smallest interesting one.
    pub const fn new(profile: Profile) -> Self {
        Self { profile, cpus: 2, sites: 1, cut: None }
    }

    /// The instruction set.
    pub const fn isa(&self) -> IsaId {
        self.profile.isa()
    }
}

/// Everything, the built-in protocols first.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    [protocols::CHECKS, common::CHECKS, x86::CHECKS, keys::CHECKS, arm::CHECKS, riscv::CHECKS, nmi::CHECKS]
        .into_iter()
        .flatten()
}

impl Check {
    /// The check with this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        checks().find(|c| c.name == name)
    }

    /// The check of a built-in protocol.
    pub fn of(kind: Kind) -> &'static Self {
        // A test sees to it that there is one.
        checks().find(|c| c.built_in == Some(kind)).unwrap_or(&protocols::CHECKS[0])
    }

    /// What to explore. The shape's instruction set must be one of [`Check::isas`].
    pub fn scenario(&self, shape: &Shape) -> Scenario {
        (self.build)(shape)
    }
}

const ALL: &[IsaId] = &IsaId::ALL;
const X86: &[IsaId] = &[IsaId::X86];
const ARM: &[IsaId] = &[IsaId::Arm];
const RISCV: &[IsaId] = &[IsaId::Riscv];
const WORDS: &[IsaId] = &[IsaId::Arm, IsaId::Riscv];

/// What a variant must show at least.
const FORTH: &[Sometimes] = &[OldRan, Performed];

fn scenario(shape: &Shape, places: Vec<Place>, batches: Vec<Batch>) -> Scenario {
    Scenario { sets: vec![places], batches, cpus: shape.cpus, world: World::new(shape.profile) }
}

fn there_and_back(kind: Kind) -> Vec<Batch> {
    vec![Batch::built_in(kind, Direction::Install), Batch::built_in(kind, Direction::Remove)]
}

fn custom(forth: Vec<Step>) -> Vec<Batch> {
    vec![Batch::custom(forth.clone(), forth, Direction::Install)]
}

/// A program without the `n`-th of its steps of one kind, counted from 1.
fn without(program: &[Step], step: Step, n: usize) -> Vec<Step> {
    let mut seen = 0;
    let keep = |s: &&Step| {
        seen += usize::from(**s == step);
        **s != step || seen != n
    };
    program.iter().filter(keep).copied().collect()
}

/// As the digest's prototype has it: one batch, no old-code-after-return, the handler leaves with the batch.
fn as_digest(mut s: Scenario) -> Scenario {
    s.world.after_return = false;
    s.world.handler = Handler::Leaves;
    s
}

/// The same scenario in a world that differs.
fn with(mut s: Scenario, change: impl FnOnce(&mut World)) -> Scenario {
    change(&mut s.world);
    s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_protocol_has_a_check() {
        let names: Vec<&str> = checks().map(|c| c.name).collect();
        for (i, name) in names.iter().enumerate() {
            assert!(!names[..i].contains(name), "{name}");
        }
        for kind in Kind::ALL {
            assert_eq!(Check::of(kind).name, kind.name());
        }
    }

    #[test]
    fn every_check_fits_into_the_machine_for_each_of_its_profiles() {
        for check in checks() {
            for profile in check.isas.iter().flat_map(|isa| isa.profiles()) {
                let scenario = check.scenario(&Shape::new(*profile));
                let fits = crate::machine::Machine::new(&scenario).map(drop);
                assert_eq!(fits, Ok(()), "{} {}", check.name, profile.name());
            }
        }
    }
}
