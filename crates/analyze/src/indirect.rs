//! Indirect jumps: jump tables, computed gotos, tail calls, and those that stay unknown.
//!
//! An indirect jump takes its target from somewhere: from a table of 4-byte offsets that an
//! instruction of the same function points to, or from an 8-byte code address, which is then marked
//! as taken because a relocation, a data word or a `lea` holds it. So if nothing of the kind leads
//! into a function, its indirect jumps leave it.

use core::ops::Range;

use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

use crate::body::Body;
use crate::ehframe::{Cfa, Unwind};
use crate::elf::{Image, u32_at};
use crate::fragments::{Fragment, containing};
use crate::functions::Source;
use crate::pointers::Pointers;
use crate::text::{Mark, Marks, Text};

/// What an indirect jump is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Jump {
    /// A switch: goes to the targets that are marked as table entries.
    Table,
    /// A computed goto: goes to labels of the function whose addresses are taken.
    Goto,
    /// Leaves the function.
    Tail,
    /// Not known. Holds where the frame begins at the jump, if the unwind table tells.
    Unknown(Option<Cfa>),
}

/// What is needed to read the tables of a function.
pub(crate) struct Tables<'t, 'a> {
    pub image: &'t Image<'a>,
    pub text: &'t Text,
    pub all: &'t [Fragment],
    pub marks: &'t Marks,
    pub unwind: &'t Unwind<'a>,
    pub pointers: &'t Pointers,
}

/// Where the tables of a function lead to, and which bytes of data they are.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    pub code: Vec<u64>,
    pub data: Vec<Range<u64>>,
}

impl Tables<'_, '_> {
    /// All tables that a function may jump through.
    ///
    /// Entries are read as long as they make sense, never by the bound of the switch: too many
    /// targets refuse a patch, too few would allow a wrong one.
    pub fn of(&self, body: &Body) -> Targets {
        let mut targets = Targets::default();
        let jumps = body.insns.iter().filter(|i| i.flow_control() == FlowControl::IndirectBranch);
        let frames: Vec<Option<Cfa>> = jumps.map(|i| self.unwind.cfa_at(i.ip())).collect();
        let fixed = !self.image.is_shared();
        for insn in &body.insns {
            let base = if insn.mnemonic() == Mnemonic::Lea && insn.is_ip_rel_memory_operand() {
                insn.ip_rel_memory_address()
            } else if fixed && insn.memory_index_scale() == 8 && insn.memory_displ_size() >= 4 {
                insn.memory_displacement64()
            } else if fixed && insn.op_count() == 2 && insn.op1_kind() == OpKind::Immediate32 {
                u64::from(insn.immediate32())
            } else {
                continue;
            };
            if self.text.contains(base) {
                continue;
            }
            let found = self.offsets(body, &frames, base);
            if found.iter().any(|&t| body.contains(t)) {
                targets.code.extend(found);
            }
            // An array of function pointers is no jump table: no entry leads into this function.
            let found = self.addresses(body, &frames, base);
            if found.iter().any(|&t| body.contains(t)) {
                targets.data.push(base..base + 8 * found.len() as u64);
                targets.code.extend(found);
            }
        }
        targets.code.sort_unstable();
        targets.code.dedup();
        targets
    }

    fn offsets(&self, body: &Body, frames: &[Option<Cfa>], table: u64) -> Vec<u64> {
        let bytes = self.image.bytes_from(table).unwrap_or_default();
        let rows = bytes.chunks_exact(4).map(|row| u32_at(row, 0).unwrap_or(0).cast_signed());
        let rows = rows.map(|offset| table.wrapping_add_signed(i64::from(offset)));
        rows.take_while(|&target| self.possible(body, frames, target)).collect()
    }

    fn addresses(&self, body: &Body, frames: &[Option<Cfa>], table: u64) -> Vec<u64> {
        let rows = (0..).map_while(|i| self.pointers.word(table.checked_add(8 * i)?));
        rows.take_while(|&target| self.possible(body, frames, target)).collect()
    }

    /// A table may lead to the start of an instruction, to the very end (for cases that cannot be),
    /// or into a cold part, where the frame is the same as at the jump. In stripped files, anything
    /// that nobody calls may be a cold part.
    fn possible(&self, body: &Body, frames: &[Option<Cfa>], target: u64) -> bool {
        if body.contains(target) {
            return body.index(target).is_some();
        }
        if body.parts.iter().any(|p| p.1 == target) {
            return true;
        }
        let Some(part) = containing(self.all, target).map(|i| &self.all[i]) else { return false };
        let cold = part.cold || part.source == Source::EhFrame && !self.marks.get(Mark::Called, part.start);
        cold && self.unwind.cfa_at(target).is_none_or(|cfa| frames.contains(&Some(cfa)))
    }
}

/// Decides what the indirect jump at `index` is. The targets of all tables are marked already.
pub(crate) fn classify(
    body: &Body,
    index: usize,
    marks: &Marks,
    unwind: &Unwind<'_>,
    pointers: &Pointers,
) -> Jump {
    let jump = &body.insns[index];
    let start = body.parts[0].0;
    let labels = body.insns.iter().any(|i| i.ip() != start && marks.get(Mark::Taken, i.ip()));
    let tables = body.insns.iter().any(|i| marks.get(Mark::Table, i.ip()));
    let cfa = unwind.cfa_at(jump.ip());
    let framed = cfa.is_some_and(|c| c != Cfa::ENTRY);
    // `jmp [table + 8 * index]` names its table.
    let indexed = jump.memory_base() == Register::None
        && jump.memory_index() != Register::None
        && pointers.word(jump.memory_displacement64()).is_some_and(|t| body.contains(t));
    let unknown = Jump::Unknown(cfa);
    if !jump.is_jmp_near_indirect() {
        return unknown;
    }
    let origin = if jump.op0_kind() == OpKind::Memory { memory_origin(jump) } else { origin(body, index) };
    match origin {
        // With a frame of its own the function cannot leave by a jump: the target is one of those
        // that are known to lead into it.
        Origin::Table if tables && (framed || !labels || indexed) => Jump::Table,
        _ if framed && (labels || tables) => Jump::Goto,
        // A jump through an address, and no address of this function is to be had.
        Origin::Pointer if !framed && !labels => Jump::Tail,
        Origin::Unknown if !framed && !labels && !tables => Jump::Tail,
        Origin::Table if !framed && !labels && !tables && !is_sum(body, index) => Jump::Tail,
        _ => unknown,
    }
}

/// Where the target of an indirect jump comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Computed from a base, or loaded with an index.
    Table,
    /// Loaded or passed as it is.
    Pointer,
    /// Not seen.
    Unknown,
}

fn memory_origin(insn: &Instruction) -> Origin {
    if insn.memory_index() == Register::None { Origin::Pointer } else { Origin::Table }
}

/// Follows the register of a jump back through the instructions in front of it.
fn origin(body: &Body, jump: usize) -> Origin {
    definition(body, jump).map_or(Origin::Unknown, |insn| match insn.mnemonic() {
        Mnemonic::Add | Mnemonic::Sub | Mnemonic::Lea | Mnemonic::Movsxd => Origin::Table,
        Mnemonic::Mov if insn.op1_kind() == OpKind::Memory => memory_origin(insn),
        Mnemonic::Pop => Origin::Pointer,
        _ => Origin::Unknown,
    })
}

/// Whether the target was added up, so that it is no pointer that was loaded.
fn is_sum(body: &Body, jump: usize) -> bool {
    definition(body, jump)
        .is_some_and(|i| matches!(i.mnemonic(), Mnemonic::Add | Mnemonic::Sub | Mnemonic::Lea | Mnemonic::Movsxd))
}

/// The instruction that computed the register of an indirect jump, copies followed.
fn definition(body: &Body, jump: usize) -> Option<&Instruction> {
    // Compilers compute the target right in front of the jump, rarely more than a few instructions away.
    const WINDOW: usize = 24;
    if body.insns[jump].op0_kind() != OpKind::Register {
        return None;
    }
    let mut register = body.insns[jump].op0_register().full_register();
    let mut factory = InstructionInfoFactory::new();
    let mut at = jump;
    for _ in 0..WINDOW {
        at = body.before(at)?;
        let insn = &body.insns[at];
        if crate::flow::direct_target(insn).is_none() && insn.flow_control() != FlowControl::Next {
            return None;
        }
        let writes = factory.info(insn).used_registers().iter().any(|used| {
            used.register().full_register() == register
                && matches!(
                    used.access(),
                    OpAccess::Write | OpAccess::ReadWrite | OpAccess::CondWrite | OpAccess::ReadCondWrite
                )
        });
        let call = insn.flow_control() == FlowControl::Call;
        if call {
            return None;
        }
        if writes {
            let copy = insn.mnemonic() == Mnemonic::Mov
                && insn.op1_kind() == OpKind::Register
                && insn.op0_register().full_register() == register;
            if !copy {
                return Some(insn);
            }
            register = insn.op1_register().full_register();
        }
    }
    None
}
