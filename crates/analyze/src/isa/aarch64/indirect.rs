//! Where the targets of indirect jumps come from, and what may be a jump table.
//!
//! A switch adds an entry of one, two or four bytes, times four, to an address in the code; the ADD that does both says
//! how the entry is extended. A table of addresses is indexed by the load itself.

use super::Aarch64;
use super::decode::{Relative, Word};
use super::track::Track;
use crate::body::Body;
use crate::indirect::{Origin, definition};
use crate::isa::{Flow, Insn, Reference};
use crate::tables::{Rows, Table};
use crate::text::Marks;

fn writes(insn: &Insn<Word>, register: u8) -> bool {
    register < 31 && insn.raw.writes() >> register & 1 != 0
}

/// MOV of a whole register: where from.
fn copied(insn: &Insn<Word>) -> Option<u8> {
    insn.raw.is(0xffe0_ffe0, 0xaa00_03e0).then(|| insn.raw.rm())
}

/// LDR of eight bytes, indexed by a register times eight.
fn is_indexed_load(word: Word) -> bool {
    word.is(0xffe0_0c00, 0xf860_0800)
}

/// ADD of an extended or shifted register.
fn is_sum(word: Word) -> bool {
    word.is(0xffe0_0000, 0x8b20_0000) || word.is(0xff20_0000, 0x8b00_0000)
}

pub(super) fn origin(body: &Body<Aarch64>, jump: usize, marks: &Marks) -> Origin<u8> {
    let found = definition(body, jump, body.insns[jump].raw.rn(), marks, writes, copied);
    let Some(index) = found else { return Origin::Unknown };
    let word = body.insns[index].raw;
    if is_sum(word) {
        Origin::Scaled
    } else if is_indexed_load(word) {
        known(body, index, word.rn()).map_or(Origin::IndexedFrom(word.rn()), Origin::Indexed)
    } else if word.is(0x3a00_0000, 0x3800_0000) || word.is(0x3a00_0000, 0x2800_0000) {
        Origin::Pointer
    } else {
        Origin::Unknown
    }
}

/// What a register holds in front of an instruction, when the function is read from front to back.
fn known(body: &Body<Aarch64>, index: usize, register: u8) -> Option<u64> {
    let mut track = Track::default();
    body.insns[..index].iter().for_each(|insn| track.step(insn, false, &mut |_| {}));
    track.get(register)
}

pub(super) fn points_to(body: &Body<Aarch64>, register: u8, is_table: &dyn Fn(u64) -> bool) -> bool {
    let mut track = Track::default();
    let mut found = false;
    for insn in &body.insns {
        // The callee may write it: only a function without calls is certain.
        if insn.is_call() || matches!(insn.flow, Flow::Other(_)) {
            return false;
        }
        track.step(insn, false, &mut |_| {});
        if writes(insn, register) {
            let page = matches!(insn.raw.relative(insn.ip), Some(Relative::Adrp { .. }));
            found |= track.get(register).is_some_and(is_table);
            if !page && !track.get(register).is_some_and(is_table) {
                return false;
            }
        }
    }
    found
}

/// What a register got from a table: entries of so many bytes, at most so many.
#[derive(Clone, Copy)]
struct Entry {
    table: u64,
    size: u8,
    signed: bool,
    count: usize,
}

/// No switch has more cases, or it compares its index with more than an instruction can hold.
const MOST: usize = 4096;

/// Every address that the function makes may be that of a table of addresses; the tables of offsets are those that
/// what is added up was loaded from.
pub(super) fn tables(fixed: bool, body: &Body<Aarch64>, found: &mut Vec<Table>) {
    let mut track = Track::default();
    let mut loaded: [Option<Entry>; 31] = [None; 31];
    // What each register was last compared with.
    let mut compared: [Option<u32>; 31] = [None; 31];
    for insn in &body.insns {
        let word = insn.raw;
        let entry = entry(word).and_then(|(size, signed)| {
            let bound = compared.get(usize::from(word.rm())).copied().flatten();
            let count = bound.map_or(MOST, |b| b as usize + 1);
            Some(Entry { table: track.get(word.rn())?, size, signed, count })
        });
        found.extend(sum(word, &track, &loaded));
        track.step(insn, fixed, &mut |reference| {
            if let Reference::Address(at) = reference {
                found.push(Table { at, rows: Rows::Words });
            }
        });
        for r in (0..31).filter(|r| word.writes() >> r & 1 != 0) {
            loaded[r] = entry.filter(|_| r == usize::from(word.rd()));
            compared[r] = None;
        }
        // CMP with an immediate that is not shifted.
        if word.is(0x7fc0_001f, 0x7100_001f)
            && let Some(slot) = compared.get_mut(usize::from(word.rn()))
        {
            *slot = Some(word.field(10, 12));
        }
    }
}

/// LDRB, LDRH, LDR of four bytes, LDRSB, LDRSH, LDRSW with an index in a register: bytes, and whether signed.
fn entry(word: Word) -> Option<(u8, bool)> {
    let indexed = word.is(0x3f20_0c00, 0x3820_0800);
    let (size, kind) = (word.field(30, 2), word.field(22, 2));
    (indexed && size < 3 && kind != 0).then_some((1 << size, kind > 1))
}

/// `add xd, xbase, windex, sxtb #2`, where the index was loaded from a table and the base is an address in the code.
fn sum(word: Word, track: &Track, loaded: &[Option<Entry>; 31]) -> Option<Table> {
    let get = |register: u8| loaded.get(usize::from(register)).copied().flatten();
    let (shift, extends, entry) = if word.is(0xffe0_0000, 0x8b20_0000) {
        let option = word.field(13, 3);
        (word.field(10, 3), option > 3 && option != 7, get(word.rm())?)
    } else if word.is(0xffe0_0000, 0x8b00_0000) {
        (word.field(10, 6), false, get(word.rm())?)
    } else {
        return None;
    };
    let Entry { table: at, size, signed, count } = entry;
    let shift = u8::try_from(shift).ok().filter(|&s| s < 8)?;
    let origin = track.get(word.rn())?;
    Some(Table { at, rows: Rows::Scaled { origin, size, signed: signed || extends, shift, count } })
}
