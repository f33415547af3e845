//! Wrong variants on AArch64: instructions outside of the list, maintenance that falls short.

use textpoke_core::protocol::{pair as two, park, word as one};
use textpoke_core::{Direction, Step};

use super::{ARM, Check, FORTH, as_digest, custom, scenario, with, without};
use crate::places::{a64, switch, word, words};
use crate::property::Sometimes::*;
use crate::scenario::{Batch, Maintenance, Place};

/// NOP, NOP become MOV X9, X30 and BL.
fn traced(s: &super::Shape) -> Vec<Place> {
    words(s, [a64::NOP, a64::NOP], [a64::MOV, a64::BL])
}

/// One word, changed live by `word`'s steps.
fn live(s: &super::Shape, old: u32, new: u32) -> crate::scenario::Scenario {
    as_digest(scenario(s, word(s, old, new), custom(one::PROGRAM.to_vec())))
}

macro_rules! word_live {
    ($name:literal, $title:literal, $old:ident, $new:ident) => {
        Check {
            name: $name,
            title: $title,
            built_in: None,
            isas: ARM,
            sometimes: FORTH,
            build: |s| live(s, a64::$old, a64::$new),
        }
    };
}

/// All of them.
pub(super) const CHECKS: &[Check] = &[
    word_live!("mov-to-b", "MOV into B, live", MOV, B),
    word_live!("b-to-mov", "B into MOV, live", B, MOV),
    word_live!("nop-to-mov", "NOP into MOV, live", NOP, MOV),
    word_live!("nop-to-b", "NOP into B, live", NOP, B),
    Check {
        name: "pair-mov",
        title: "pair where the new first instruction is not in the list",
        built_in: None,
        isas: ARM,
        sometimes: FORTH,
        build: |s| as_digest(scenario(s, traced(s), custom(two::PROGRAM.to_vec()))),
    },
    Check {
        name: "word-no-maintain",
        title: "one word stored and CPUs made to synchronise, but no cache maintained",
        built_in: None,
        isas: ARM,
        sometimes: FORTH,
        build: |s| scenario(s, switch(s, 0), custom(without(one::PROGRAM, Step::Maintain, 1))),
    },
    Check {
        name: "word-local",
        title: "one word stored, caches maintained on the patcher's CPU alone",
        built_in: None,
        isas: ARM,
        sometimes: FORTH,
        build: |s| {
            with(scenario(s, switch(s, 0), custom(one::PROGRAM.to_vec())), |w| w.maintenance = Maintenance::Local)
        },
    },
    Check {
        name: "word-no-clean",
        title: "one word stored, instruction caches invalidated, but data not cleaned",
        built_in: None,
        isas: ARM,
        sometimes: FORTH,
        build: |s| {
            with(scenario(s, switch(s, 0), custom(one::PROGRAM.to_vec())), |w| w.maintenance = Maintenance::Invalidates)
        },
    },
    Check {
        name: "word-no-invalidate",
        title: "one word stored, data cleaned, but no instruction cache invalidated",
        built_in: None,
        isas: ARM,
        sometimes: FORTH,
        build: |s| {
            with(scenario(s, switch(s, 0), custom(one::PROGRAM.to_vec())), |w| w.maintenance = Maintenance::Cleans)
        },
    },
    Check {
        name: "park-local",
        title: "parking, caches maintained on the patcher's CPU alone",
        built_in: None,
        isas: ARM,
        sometimes: FORTH,
        build: |s| {
            let all = scenario(s, word(s, a64::MOV, a64::B), custom(park::PROGRAM.to_vec()));
            with(all, |w| w.maintenance = Maintenance::Local)
        },
    },
    Check {
        name: "park-mov",
        title: "parking for a change that may not be live, without the return to the old code",
        built_in: None,
        isas: ARM,
        sometimes: &[OldRan, NewRan, Performed],
        build: |s| {
            let forth = Batch::custom(park::PROGRAM.to_vec(), park::PROGRAM.to_vec(), Direction::Install);
            as_digest(scenario(s, word(s, a64::MOV, a64::B), vec![forth]))
        },
    },
];
