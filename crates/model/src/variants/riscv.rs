//! Variants on RISC-V: what Ziccif says about the sizes and places of instructions.

use textpoke_core::protocol::word as one;
use textpoke_core::{Phase, Step, Unit};

use super::{Check, FORTH, RISCV, Shape, custom, scenario};
use crate::places::{rv, single};
use crate::property::Sometimes::*;
use crate::scenario::Place;

/// One four-byte store, as a machine makes it over a site that need not be aligned.
const STORE: &[Step] =
    &[Step::Open, Step::Store { phase: Phase::Whole, unit: Unit::Word }, Step::SyncCores, Step::Close];
const HALVES: &[Step] =
    &[Step::Open, Step::Store { phase: Phase::Whole, unit: Unit::Half }, Step::SyncCores, Step::Close];

/// Sites `off` bytes behind a multiple of 8.
fn at(s: &Shape, off: u8, old: &[u8], new: &[u8]) -> Vec<Place> {
    single(&Shape { cut: Some(8 - off), ..*s }, 0, old, new)
}

fn halves(a: u16, b: u16) -> [u8; 4] {
    (u32::from(a) | u32::from(b) << 16).to_le_bytes()
}

/// All of them.
pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "compressed",
        title: "C.NOP into C.J at 2 mod 4, one store",
        built_in: None,
        isas: RISCV,
        sometimes: &[OldRan, NewRan, Performed],
        build: |s| {
            let places = at(s, 2, &rv::C_NOP.to_le_bytes(), &rv::C_J.to_le_bytes());
            scenario(s, places, custom(one::PROGRAM.to_vec()))
        },
    },
    Check {
        name: "word-at-2-mod-4",
        title: "an instruction of four bytes at 2 mod 4 into another, as two halves",
        built_in: None,
        isas: RISCV,
        sometimes: FORTH,
        build: |s| scenario(s, at(s, 2, &rv::NOP.to_le_bytes(), &rv::JAL.to_le_bytes()), custom(STORE.to_vec())),
    },
    Check {
        name: "merge",
        title: "two compressed NOPs into one instruction of four bytes, one store",
        built_in: None,
        isas: RISCV,
        sometimes: FORTH,
        build: |s| {
            let mut places = at(s, 4, &halves(rv::C_NOP, rv::C_NOP), &rv::JAL.to_le_bytes());
            places.iter_mut().for_each(|p| p.old_begins = 0b101);
            scenario(s, places, custom(STORE.to_vec()))
        },
    },
    Check {
        name: "shrink",
        title: "an instruction of four bytes at 2 mod 4 shrinks: its first two become C.J",
        built_in: None,
        isas: RISCV,
        sometimes: &[OldRan, NewRan, Performed],
        build: |s| {
            let old = rv::NOP.to_le_bytes();
            let new = halves(rv::C_J, (rv::NOP >> 16) as u16);
            scenario(s, at(s, 2, &old, &new), custom(HALVES.to_vec()))
        },
    },
];
