//! The protocols as they run live.

use textpoke_core::{Direction, Kind};

use super::{ALL, Check, WORDS, X86, scenario, there_and_back, with};
use crate::nmi::{Entry, Nmi};
use crate::places::{JMP, NOP5, a64, entry, pair, rv, single, switch, traced, word, words};
use crate::property::Sometimes::{self, *};
use crate::scenario::{Batch, IsaId};

const TRAPS: &[Sometimes] = &[OldRan, NewRan, HeadTrap, ActedNew, ActedOld, Again, Performed];
const BOTH: &[Sometimes] = &[OldRan, NewRan, Performed];

/// All of them.
pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "breakpoint",
        title: "one instruction, trap first; there and back",
        built_in: Some(Kind::Breakpoint),
        isas: ALL,
        sometimes: TRAPS,
        build: |s| scenario(s, switch(s, 3), there_and_back(Kind::Breakpoint)),
    },
    Check {
        name: "displace",
        title: "several instructions under one jump; there and back",
        built_in: Some(Kind::Displace),
        isas: ALL,
        sometimes: &[OldRan, NewRan, HeadTrap, InnerTrap, Late, Caught, ActedNew, ActedOld, Again, Performed],
        build: |s| scenario(s, entry(s), there_and_back(Kind::Displace)),
    },
    Check {
        name: "word",
        title: "one aligned store; there and back",
        built_in: Some(Kind::Word),
        isas: ALL,
        sometimes: BOTH,
        build: |s| {
            let places = if s.isa() == IsaId::X86 { single(s, 0, &NOP5, &JMP) } else { switch(s, 0) };
            scenario(s, places, there_and_back(Kind::Word))
        },
    },
    Check {
        name: "short_jump",
        title: "two-byte jump over the tail; there and back",
        built_in: Some(Kind::ShortJump),
        isas: X86,
        sometimes: &[OldRan, NewRan, HopRan, Performed],
        build: |s| scenario(s, single(s, 2, &NOP5, &JMP), there_and_back(Kind::ShortJump)),
    },
    Check {
        name: "pair",
        title: "two instructions into two others, trap first, waiting until nobody is inside; there and back",
        built_in: Some(Kind::Pair),
        isas: ALL,
        sometimes: &[OldRan, NewRan, HeadTrap, Caught, ActedNew, ActedOld, Performed],
        build: |s| scenario(s, pair(s), there_and_back(Kind::Pair)),
    },
    Check {
        name: "plant",
        title: "the first of a pair is planted, then the second toggles there and back",
        built_in: Some(Kind::Plant),
        isas: WORDS,
        sometimes: &[OldRan, NewRan, Caught, Performed],
        build: |s| {
            let [nothing, planted, active] = traced(s);
            let mut both = scenario(
                s,
                words(s, nothing, planted),
                vec![
                    Batch::built_in(Kind::Plant, Direction::Install),
                    Batch::built_in(Kind::PreparedPair, Direction::Install).on(1),
                    Batch::built_in(Kind::PreparedPair, Direction::Remove).on(1),
                    Batch::built_in(Kind::Plant, Direction::Remove),
                ],
            );
            both.sets.push(words(s, planted, active));
            both
        },
    },
    Check {
        name: "prepared_pair",
        title: "the second of a planted pair toggles; there and back",
        built_in: Some(Kind::PreparedPair),
        isas: WORDS,
        sometimes: BOTH,
        build: |s| {
            let [_, planted, active] = traced(s);
            scenario(s, words(s, planted, active), there_and_back(Kind::PreparedPair))
        },
    },
    Check {
        name: "park",
        title: "everybody else is parked while one instruction changes into any other; there and back",
        built_in: Some(Kind::Park),
        isas: ALL,
        sometimes: BOTH,
        build: |s| {
            let places = if s.isa() == IsaId::Arm { word(s, a64::MOV, a64::B) } else { switch(s, 3) };
            scenario(s, places, there_and_back(Kind::Park))
        },
    },
    Check {
        name: "park_twice",
        title: "several instructions into any others, parking twice and waiting in between; there and back",
        built_in: Some(Kind::ParkTwice),
        isas: ALL,
        sometimes: &[OldRan, NewRan, HeadTrap, Caught, ActedNew, ActedOld, Performed],
        build: |s| {
            let places = match s.isa() {
                IsaId::X86 => pair(s),
                // Neither first word may change live.
                IsaId::Arm => words(s, [a64::MOV_TOO, a64::NOP], [a64::MOV, a64::BL]),
                IsaId::Riscv => words(s, [rv::NOP, rv::NOP], [rv::AUIPC, rv::JALR]),
            };
            scenario(s, places, there_and_back(Kind::ParkTwice))
        },
    },
    Check {
        name: "nmi_assist",
        title: "parking, and NMIs on every CPU write the same bytes first; there and back",
        built_in: Some(Kind::NmiAssist),
        isas: ALL,
        sometimes: &[OldRan, NewRan, NmiHelped, NmiOnPatcher, Performed],
        build: |s| {
            let places = if s.isa() == IsaId::Arm { word(s, a64::MOV, a64::B) } else { switch(s, 3) };
            let all = scenario(s, places, there_and_back(Kind::NmiAssist));
            with(all, |w| w.nmi = Some(Nmi::new(Entry::Visit)))
        },
    },
];
