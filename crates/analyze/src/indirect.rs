//! Indirect jumps: jump tables, computed gotos, tail calls, and those that stay unknown.
//!
//! An indirect jump takes its target from somewhere: from a table of 4-byte offsets that an
//! instruction of the same function points to, or from an 8-byte code address, which is then marked
//! as taken because a relocation, a data word or a `lea` holds it. So if nothing of the kind leads
//! into a function, its indirect jumps leave it.

use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

use crate::body::Body;
use crate::ehframe::{Cfa, Unwind};
use crate::elf::{Image, u32_at, u64_at};
use crate::fragments::{Fragment, containing};
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

/// The tables that a function may jump through: their targets are to be marked, in cold parts too.
pub(crate) fn table_targets(image: &Image<'_>, text: &Text, all: &[Fragment], body: &Body) -> Vec<u64> {
    let mut targets = Vec::new();
    let fixed = !image.is_shared();
    for insn in &body.insns {
        if insn.mnemonic() == Mnemonic::Lea && insn.is_ip_rel_memory_operand() {
            let table = insn.ip_rel_memory_address();
            if !text.contains(table) {
                offsets(image, all, body, table, &mut targets);
            }
        } else if fixed && insn.memory_index_scale() == 8 && insn.memory_displ_size() >= 4 {
            addresses(image, all, body, insn.memory_displacement64(), &mut targets);
        } else if fixed && insn.op_count() == 2 && insn.op1_kind() == OpKind::Immediate32 {
            addresses(image, all, body, u64::from(insn.immediate32()), &mut targets);
        }
    }
    targets.sort_unstable();
    targets.dedup();
    targets
}

/// Entries are read as long as they make sense, never by the bound of the switch: too many targets
/// refuse a patch, too few would allow a wrong one.
fn offsets(image: &Image<'_>, all: &[Fragment], body: &Body, table: u64, targets: &mut Vec<u64>) {
    let bytes = image.bytes_from(table).unwrap_or_default();
    for row in bytes.chunks_exact(4) {
        let offset = u32_at(row, 0).unwrap_or(0).cast_signed();
        let target = table.wrapping_add_signed(i64::from(offset));
        if !possible(all, body, target) {
            break;
        }
        targets.push(target);
    }
}

fn addresses(image: &Image<'_>, all: &[Fragment], body: &Body, table: u64, targets: &mut Vec<u64>) {
    let bytes = image.bytes_from(table).unwrap_or_default();
    let rows = bytes.chunks_exact(8).map(|row| u64_at(row, 0).unwrap_or(0));
    targets.extend(rows.take_while(|&target| possible(all, body, target)));
}

/// A table may lead to the start of an instruction, to the very end (for cases that cannot be), or
/// into some cold part.
fn possible(all: &[Fragment], body: &Body, target: u64) -> bool {
    body.index(target).is_some()
        || body.parts.iter().any(|p| p.1 == target)
        || !body.contains(target) && containing(all, target).is_some_and(|i| all[i].cold)
}

/// Decides what the indirect jump at `index` is. The targets of all tables are marked already.
pub(crate) fn classify(body: &Body, index: usize, marks: &Marks, unwind: &Unwind<'_>) -> Jump {
    let jump = &body.insns[index];
    let start = body.parts[0].0;
    let inside = |mark| body.insns.iter().any(|i| i.ip() != start && marks.get(mark, i.ip()));
    let labels = inside(Mark::Taken);
    let tables = inside(Mark::Table) || marks.get(Mark::Table, start);
    let cfa = unwind.cfa_at(jump.ip());
    let framed = cfa.is_some_and(|c| c != Cfa::ENTRY);
    let unknown = Jump::Unknown(cfa);
    if !jump.is_jmp_near_indirect() {
        return unknown;
    }
    let origin = if jump.op0_kind() == OpKind::Memory { memory_origin(jump) } else { origin(body, index) };
    match origin {
        Origin::Table if tables && !labels => Jump::Table,
        // A table of addresses that are taken one by one, by relocations.
        Origin::Table | Origin::Pointer | Origin::Unknown if labels && !tables && framed => Jump::Goto,
        Origin::Table => {
            // An indexed load of a function pointer, when no address of this function is taken.
            if labels || tables || framed || is_sum(body, index) { unknown } else { Jump::Tail }
        }
        Origin::Pointer if !labels && !framed => Jump::Tail,
        Origin::Unknown if !labels && !tables && !framed => Jump::Tail,
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
        if crate::flow::direct_target(insn).is_none() && insn.flow_control() != iced_x86::FlowControl::Next {
            return None;
        }
        let writes = factory.info(insn).used_registers().iter().any(|used| {
            used.register().full_register() == register
                && matches!(
                    used.access(),
                    OpAccess::Write | OpAccess::ReadWrite | OpAccess::CondWrite | OpAccess::ReadCondWrite
                )
        });
        let call = insn.flow_control() == iced_x86::FlowControl::Call;
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
