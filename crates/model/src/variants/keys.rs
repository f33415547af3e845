//! The branch of a static key on x86-64: one byte, the third of a NOP, decides whether the jump behind it is an instruction
//! or the operand of a longer NOP. So one form is one instruction and the other two, of the same bytes but one.
//!
//! The library hands `core` one instruction, or three of its bytes, as whoever stands in front of the jump had decided
//! before. These rows have the whole truth: a thread may be caught there, and go on when the jump is an operand again. What
//! the rows leave out: the library's `short_jump` hops over three bytes, to the jump, which is one of the two forms as well.

use textpoke_core::{Direction, Kind};

use super::{Check, Shape, X86, scenario, there_and_back};
use crate::places::{address, site};
use crate::property::Sometimes::{self, *};
use crate::scenario::{Batch, OneByte, Place, Scenario};

/// NOP of eight bytes, with a SIB byte and a displacement.
const GOES_ON: [u8; 8] = [0x0f, 0x1f, 0x84, 0xe9, 0x11, 0x22, 0x33, 0x44];
/// NOP of three bytes; JMP.
const JUMPS: [u8; 8] = [0x0f, 0x1f, 0xc0, 0xe9, 0x11, 0x22, 0x33, 0x44];

/// Between the NOP and the jump a thread is caught, and goes on.
const SEEN: &[Sometimes] = &[OldRan, NewRan, Caught, Performed];

fn branch(s: &Shape, kind: Kind) -> Scenario {
    let cut = if kind == Kind::ShortJump { 2 } else { 3 };
    let place = |i| {
        let mut site = site(address(s, cut, i), &GOES_ON, &JUMPS);
        // As the library has them: behind everything, and at the jump.
        (site.copy, site.stand_in) = (site.end(), site.addr + 3);
        Place { new_begins: 0b1001, ..Place::new(site) }
    };
    // More do not fit.
    let places = (0..s.sites.min(2)).map(place).collect();
    let mut all = scenario(s, places, there_and_back(kind));
    all.world.begun_ends = true;
    all
}

/// All of them.
pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "branch-word",
        title: "a key's branch, one NOP or a shorter one and a jump, by one store; there and back",
        built_in: None,
        isas: X86,
        sometimes: SEEN,
        build: |s| branch(s, Kind::Word),
    },
    Check {
        name: "branch-word-eight",
        title: "the same where eight aligned bytes are assumed to be fetched at once",
        built_in: None,
        isas: X86,
        sometimes: SEEN,
        build: |s| {
            let mut all = branch(s, Kind::Word);
            all.world.at_once = 8;
            all
        },
    },
    Check {
        name: "branch-word-byte",
        title: "the same where any one byte stored over code is assumed to be harmless",
        built_in: None,
        isas: X86,
        sometimes: SEEN,
        build: |s| {
            let mut all = branch(s, Kind::Word);
            all.world.one_byte = OneByte::Any;
            all
        },
    },
    Check {
        name: "branch-breakpoint",
        title: "a key's branch, trap first; there and back",
        built_in: None,
        isas: X86,
        sometimes: &[OldRan, NewRan, HeadTrap, ActedNew, ActedOld, Caught, Again, Performed],
        build: |s| branch(s, Kind::Breakpoint),
    },
    Check {
        name: "branch-short_jump",
        title: "a key's branch by a short jump over it; there and back",
        built_in: None,
        isas: X86,
        sometimes: &[OldRan, NewRan, HopRan, Caught, Performed],
        build: |s| branch(s, Kind::ShortJump),
    },
    Check {
        name: "branch-short_jump-half",
        title: "the same where two aligned bytes are assumed to be fetched at once",
        built_in: None,
        isas: X86,
        sometimes: &[OldRan, NewRan, HopRan, Caught, Performed],
        build: |s| {
            let mut all = branch(s, Kind::ShortJump);
            all.world.at_once = 2;
            all
        },
    },
    Check {
        name: "branch-inside",
        title: "a key's branch whose call is said to return when nobody takes the jump any more",
        built_in: None,
        isas: X86,
        sometimes: SEEN,
        build: |s| {
            let mut all = branch(s, Kind::Word);
            all.batches = vec![Batch::built_in(Kind::Word, Direction::Remove)];
            all.world.begun_ends = false;
            all
        },
    },
];
