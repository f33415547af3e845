//! Indirect jumps: jump tables, computed gotos, tail calls, and those that stay unknown.
//!
//! An indirect jump takes its target from somewhere: from a table of 4-byte offsets that an
//! instruction of the same function points to, or from an 8-byte code address, which is then marked
//! as taken because a relocation, a data word or a `lea` holds it. So if nothing of the kind leads
//! into a function, its indirect jumps leave it.

use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

use crate::body::Body;
use crate::ehframe::{Cfa, Unwind};
use crate::tables::Targets;
use crate::text::{Mark, Marks};

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

/// Where the target of an indirect jump comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Added up from a base and an offset.
    Sum,
    /// Loaded with an index: from an array of addresses, at a known place if nothing else is added.
    Indexed(Option<u64>),
    /// Loaded or passed as it is.
    Pointer,
    /// Not seen.
    Unknown,
}

/// The indirect jumps that may go through a table.
pub(crate) fn table_jumps(body: &Body) -> impl Iterator<Item = u64> {
    let indirect = |i: &Instruction| i.flow_control() == FlowControl::IndirectBranch;
    let jumps = body.insns.iter().enumerate().filter(move |(_, i)| indirect(i));
    jumps.filter(|&(index, _)| origin(body, index) != Origin::Pointer).map(|(_, i)| i.ip())
}

/// Decides what each indirect jump of a function is. `targets` are those of its tables.
pub(crate) fn classify(body: &Body, targets: &Targets, marks: &Marks, unwind: &Unwind<'_>) -> Vec<(u64, Jump)> {
    let start = body.parts[0].0;
    let labels = body.insns.iter().any(|i| i.ip() != start && marks.get(Mark::Taken, i.ip()));
    let tables = targets.offsets || !targets.addresses.is_empty();
    let indirect = |i: &Instruction| i.flow_control() == FlowControl::IndirectBranch;
    let jumps = body.insns.iter().enumerate().filter(|(_, i)| indirect(i));
    jumps
        .map(|(index, insn)| {
            let cfa = unwind.cfa_at(insn.ip());
            let framed = cfa.is_some_and(|c| c != Cfa::ENTRY);
            let jump = match origin(body, index) {
                _ if !insn.is_jmp_near_indirect() => Jump::Unknown(cfa),
                Origin::Indexed(Some(table)) if targets.addresses.iter().any(|t| t.start == table) => Jump::Table,
                Origin::Sum if targets.offsets && (framed || !labels) => Jump::Table,
                // With a frame of its own the function cannot leave by a jump: the target is one of
                // those that are known to lead into it.
                Origin::Indexed(None) if framed && tables => Jump::Table,
                _ if framed && (labels || tables) => Jump::Goto,
                // Without one it can, and no address of this function is to be had for the jump.
                _ if framed || labels => Jump::Unknown(cfa),
                Origin::Pointer | Origin::Indexed(Some(_)) => Jump::Tail,
                Origin::Indexed(None) if targets.addresses.is_empty() => Jump::Tail,
                Origin::Unknown if !tables => Jump::Tail,
                _ => Jump::Unknown(cfa),
            };
            (insn.ip(), jump)
        })
        .collect()
}

/// Follows the target of a jump back through the instructions in front of it.
fn origin(body: &Body, jump: usize) -> Origin {
    let insn = &body.insns[jump];
    if insn.op0_kind() == OpKind::Memory {
        return loaded(insn);
    }
    definition(body, jump).map_or(Origin::Unknown, |insn| match insn.mnemonic() {
        Mnemonic::Add | Mnemonic::Sub | Mnemonic::Lea | Mnemonic::Movsxd => Origin::Sum,
        Mnemonic::Mov if insn.op1_kind() == OpKind::Memory => loaded(insn),
        Mnemonic::Pop => Origin::Pointer,
        _ => Origin::Unknown,
    })
}

fn loaded(insn: &Instruction) -> Origin {
    let alone = insn.memory_base() == Register::None;
    match insn.memory_index() {
        Register::None => Origin::Pointer,
        _ => Origin::Indexed(alone.then_some(insn.memory_displacement64())),
    }
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
