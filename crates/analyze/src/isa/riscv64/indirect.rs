//! Where the targets of indirect jumps come from, and what may be a jump table.
//!
//! A switch loads four bytes of a table and adds its start, or loads an address of eight; the place of the entry is
//! added up in either case.

use super::Riscv64;
use super::decode::{Op, Word};
use super::track::Track;
use crate::body::Body;
use crate::indirect::{Origin, definition};
use crate::isa::{Flow, Insn, Reference};
use crate::tables::{Rows, Table};
use crate::text::Marks;

fn writes(insn: &Insn<Word>, register: u8) -> bool {
    register != 0 && insn.raw.written() >> register & 1 != 0
}

/// MV: where from.
fn copied(insn: &Insn<Word>) -> Option<u8> {
    match insn.raw.op(insn.ip) {
        Op::AddImm { base: base @ 1.., imm: 0, .. } => Some(base),
        _ => None,
    }
}

fn op(body: &Body<Riscv64>, index: usize) -> Op {
    let insn = &body.insns[index];
    insn.raw.op(insn.ip)
}

pub(super) fn origin(body: &Body<Riscv64>, jump: usize, marks: &Marks) -> Origin<u8> {
    let Op::Jalr { base, .. } = op(body, jump) else { return Origin::Far };
    let defined = |from: usize, register: u8| definition(body, from, register, marks, writes, copied);
    let Some(made) = defined(jump, base) else { return Origin::Unknown };
    match op(body, made) {
        Op::Add { .. } => Origin::Sum,
        Op::Load { base, .. } => match defined(made, base).map(|index| (index, op(body, index))) {
            Some((index, Op::Add { a, b, .. })) => {
                let known = [a, b].into_iter().find_map(|r| known(body, index, r));
                known.map_or(Origin::IndexedFrom(a), Origin::Indexed)
            }
            _ => Origin::Pointer,
        },
        _ => Origin::Unknown,
    }
}

/// The address that a register holds in front of an instruction, when the function is read from front to back.
fn known(body: &Body<Riscv64>, index: usize, register: u8) -> Option<u64> {
    let mut track = Track::default();
    body.insns[..index].iter().for_each(|insn| track.step(insn, true, &mut |_| {}));
    track.get(register)
}

pub(super) fn points_to(body: &Body<Riscv64>, register: u8, is_table: &dyn Fn(u64) -> bool) -> bool {
    let mut track = Track::default();
    let mut found = false;
    for insn in &body.insns {
        // The callee may write it: only a function without calls is certain.
        if insn.is_call() || matches!(insn.flow, Flow::Other(_)) {
            return false;
        }
        track.step(insn, true, &mut |_| {});
        if writes(insn, register) {
            let page = matches!(insn.raw.op(insn.ip), Op::Auipc { .. } | Op::Upper { .. });
            let table = track.get(register).is_some_and(is_table);
            if !page && !table {
                return false;
            }
            found |= table;
        }
    }
    found
}

/// Every address that the function makes may be that of a table.
pub(super) fn tables(fixed: bool, body: &Body<Riscv64>, found: &mut Vec<Table>) {
    let mut track = Track::default();
    for insn in &body.insns {
        track.step(insn, fixed, &mut |reference| {
            if let Reference::Address(at) = reference {
                found.push(Table { at, rows: Rows::Words });
            }
        });
    }
}
