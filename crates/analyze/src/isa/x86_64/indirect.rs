//! Where the targets of indirect jumps come from, and what may be a jump table.

use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

use super::X86_64;
use crate::body::Body;
use crate::indirect::{Origin, definition};
use crate::isa::{Flow, Insn};
use crate::tables::{Rows, Table};
use crate::text::Marks;

/// Follows the target of a jump back through the instructions in front of it.
pub(super) fn origin(body: &Body<X86_64>, jump: usize, marks: &Marks) -> Origin<Register> {
    let insn = &body.insns[jump].raw;
    if !insn.is_jmp_near_indirect() {
        return Origin::Far;
    }
    if insn.op0_kind() == OpKind::Memory {
        return loaded(insn);
    }
    let mut factory = InstructionInfoFactory::new();
    let register = insn.op0_register().full_register();
    let writes = |insn: &Insn<Instruction>, register| writes(&mut factory, &insn.raw, register);
    let found = definition(body, jump, register, marks, writes, |insn| copied(&insn.raw));
    found.map_or(Origin::Unknown, |index| match body.insns[index].raw.mnemonic() {
        Mnemonic::Add | Mnemonic::Sub | Mnemonic::Lea | Mnemonic::Movsxd => Origin::Sum,
        Mnemonic::Mov if body.insns[index].raw.op1_kind() == OpKind::Memory => loaded(&body.insns[index].raw),
        Mnemonic::Pop => Origin::Pointer,
        _ => Origin::Unknown,
    })
}

/// The register that an instruction copies to another.
fn copied(insn: &Instruction) -> Option<Register> {
    let copy = insn.mnemonic() == Mnemonic::Mov && insn.op1_kind() == OpKind::Register;
    copy.then(|| insn.op1_register().full_register())
}

fn loaded(insn: &Instruction) -> Origin<Register> {
    match (insn.memory_index(), insn.memory_base()) {
        (Register::None, _) => Origin::Pointer,
        (_, Register::None) => Origin::Indexed(insn.memory_displacement64()),
        (_, base) => Origin::IndexedFrom(base.full_register()),
    }
}

/// Whether a register, wherever the function writes it, gets the address of such a table.
pub(super) fn points_to(body: &Body<X86_64>, register: Register, is_table: &dyn Fn(u64) -> bool) -> bool {
    let mut factory = InstructionInfoFactory::new();
    let mut found = false;
    for insn in &body.insns {
        if insn.is_call() || matches!(insn.flow, Flow::Other(_)) {
            // The callee may write it: only a function without calls is certain.
            return false;
        }
        let insn = &insn.raw;
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

/// Every address that the function makes or adds an index to may be that of a table.
pub(super) fn tables(fixed: bool, body: &Body<X86_64>, found: &mut Vec<Table>) {
    found.extend(body.insns.iter().filter_map(|i| base(&i.raw, fixed)).map(|at| Table { at, rows: Rows::Words }));
}

/// The address that an instruction makes or adds an index to, if it may be that of a table.
fn base(insn: &Instruction, fixed: bool) -> Option<u64> {
    if insn.mnemonic() == Mnemonic::Lea && insn.is_ip_rel_memory_operand() {
        Some(insn.ip_rel_memory_address())
    } else if fixed && insn.memory_index_scale() == 8 && insn.memory_displ_size() >= 4 {
        Some(insn.memory_displacement64())
    } else if fixed && insn.op_count() == 2 && insn.op1_kind() == OpKind::Immediate32 {
        Some(u64::from(insn.immediate32()))
    } else {
        None
    }
}
