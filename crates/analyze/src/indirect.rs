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
    /// Leaves the function, or goes to a label or table entry of it. All of these are marked.
    Either,
    /// Not known. Holds where the frame begins at the jump, if the unwind table tells.
    Unknown(Option<Cfa>),
}

/// Where the target of an indirect jump comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Added up from a base and an offset.
    Sum,
    /// Loaded with an index, from an array of addresses at a known place.
    Indexed(u64),
    /// Loaded with an index, from an array of addresses that a register points to.
    IndexedFrom(Register),
    /// Loaded or passed as it is.
    Pointer,
    /// Not seen.
    Unknown,
}

/// The indirect jumps that may go through a table.
pub(crate) fn table_jumps<'b>(body: &'b Body, marks: &'b Marks) -> impl Iterator<Item = u64> + 'b {
    let indirect = |i: &Instruction| i.flow_control() == FlowControl::IndirectBranch;
    let jumps = body.insns.iter().enumerate().filter(move |(_, i)| indirect(i));
    jumps.filter(|&(index, _)| origin(body, index, marks) != Origin::Pointer).map(|(_, i)| i.ip())
}

/// Whether a function jumps to what it added up, so that it must have a table of offsets.
pub(crate) fn adds_up(body: &Body, marks: &Marks) -> bool {
    let indirect = |i: &Instruction| i.flow_control() == FlowControl::IndirectBranch;
    let mut jumps = body.insns.iter().enumerate().filter(|(_, i)| indirect(i));
    jumps.any(|(index, _)| origin(body, index, marks) == Origin::Sum)
}

/// Decides what each indirect jump of a function is. `targets` are those of its tables.
pub(crate) fn classify(body: &Body, targets: &Targets, marks: &Marks, unwind: &Unwind<'_>) -> Vec<(u64, Jump)> {
    let start = body.parts[0].0;
    let labels = body.insns.iter().any(|i| i.ip() != start && marks.get(Mark::Taken, i.ip()));
    let tables = targets.offsets || !targets.addresses.is_empty();
    let indirect = |i: &Instruction| i.flow_control() == FlowControl::IndirectBranch;
    let jumps = body.insns.iter().enumerate().filter(|(_, i)| indirect(i));
    let inside = |vaddr: u64| vaddr != start && body.contains(vaddr);
    let computes = body.insns.iter().any(|i| {
        i.mnemonic() == Mnemonic::Lea && i.is_ip_rel_memory_operand() && inside(i.ip_rel_memory_address())
            || i.is_call_near() && i.near_branch_target() == i.next_ip()
    });
    let is_table = |at: u64| targets.addresses.iter().any(|t| t.start == at);
    jumps
        .map(|(index, insn)| {
            let cfa = unwind.cfa_at(insn.ip());
            let framed = cfa.is_some_and(|c| c != Cfa::ENTRY);
            let jump = match origin(body, index, marks) {
                _ if !insn.is_jmp_near_indirect() => Jump::Unknown(cfa),
                Origin::Indexed(table) if is_table(table) => Jump::Table,
                Origin::IndexedFrom(base) if points_to(body, base, is_table) => Jump::Table,
                Origin::Sum if targets.offsets && (framed || !labels) => Jump::Table,
                // With a frame of its own the function cannot leave by a jump: the target is one of
                // those that are known to lead into it.
                _ if framed && (labels || tables) => Jump::Goto,
                // The target may have been computed from a label, or come from a table that was not found.
                Origin::Sum if !targets.offsets => Jump::Unknown(cfa),
                _ if framed || computes => Jump::Unknown(cfa),
                // Without a frame it can leave, and does if no address of this function is to be had.
                _ if labels => Jump::Either,
                Origin::Pointer | Origin::Indexed(_) => Jump::Tail,
                Origin::IndexedFrom(_) if targets.addresses.is_empty() => Jump::Tail,
                Origin::Unknown if !tables => Jump::Tail,
                _ => Jump::Either,
            };
            (insn.ip(), jump)
        })
        .collect()
}

/// Follows the target of a jump back through the instructions in front of it.
fn origin(body: &Body, jump: usize, marks: &Marks) -> Origin {
    let insn = &body.insns[jump];
    if insn.op0_kind() == OpKind::Memory {
        return loaded(insn);
    }
    definition(body, jump, marks).map_or(Origin::Unknown, |insn| match insn.mnemonic() {
        Mnemonic::Add | Mnemonic::Sub | Mnemonic::Lea | Mnemonic::Movsxd => Origin::Sum,
        Mnemonic::Mov if insn.op1_kind() == OpKind::Memory => loaded(insn),
        Mnemonic::Pop => Origin::Pointer,
        _ => Origin::Unknown,
    })
}

fn loaded(insn: &Instruction) -> Origin {
    match (insn.memory_index(), insn.memory_base()) {
        (Register::None, _) => Origin::Pointer,
        (_, Register::None) => Origin::Indexed(insn.memory_displacement64()),
        (_, base) => Origin::IndexedFrom(base.full_register()),
    }
}

/// Whether a register, wherever the function writes it, gets the address of such a table.
fn points_to(body: &Body, register: Register, is_table: impl Fn(u64) -> bool) -> bool {
    let mut factory = InstructionInfoFactory::new();
    let mut found = false;
    for insn in &body.insns {
        if insn.flow_control() == FlowControl::Call || insn.flow_control() == FlowControl::IndirectCall {
            // The callee may write it: only a function without calls is certain.
            return false;
        }
        if !writes(&mut factory, insn, register) {
            continue;
        }
        let loads = insn.mnemonic() == Mnemonic::Lea && insn.is_ip_rel_memory_operand();
        if !loads || !is_table(insn.ip_rel_memory_address()) {
            return false;
        }
        found = true;
    }
    found
}

fn writes(factory: &mut InstructionInfoFactory, insn: &Instruction, register: Register) -> bool {
    factory.info(insn).used_registers().iter().any(|used| {
        used.register().full_register() == register
            && matches!(
                used.access(),
                OpAccess::Write | OpAccess::ReadWrite | OpAccess::CondWrite | OpAccess::ReadCondWrite
            )
    })
}

/// The instruction that computed the register of an indirect jump, copies followed.
fn definition<'b>(body: &'b Body, jump: usize, marks: &Marks) -> Option<&'b Instruction> {
    // Compilers compute the target right in front of the jump, rarely more than a few instructions away.
    const WINDOW: usize = 24;
    if body.insns[jump].op0_kind() != OpKind::Register {
        return None;
    }
    let mut register = body.insns[jump].op0_register().full_register();
    let mut factory = InstructionInfoFactory::new();
    let mut at = jump;
    for _ in 0..WINDOW {
        // Where other ways join, the register may hold something else.
        if marks.entered(body.insns[at].ip()) {
            return None;
        }
        at = body.before(at)?;
        let insn = &body.insns[at];
        // A conditional jump that is not taken changes nothing; a call may change anything.
        if !matches!(insn.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch) {
            return None;
        }
        if writes(&mut factory, insn, register) {
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
