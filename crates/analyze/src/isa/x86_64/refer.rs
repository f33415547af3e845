//! What an instruction refers to as data.

use iced_x86::{Instruction, Mnemonic, OpKind};

use crate::isa::Reference;

pub(super) fn references(insn: &Instruction, fixed: bool, found: &mut impl FnMut(Reference)) {
    if insn.is_ip_rel_memory_operand() {
        operand(insn, insn.ip_rel_memory_address(), found);
    } else if fixed && insn.memory_displ_size() >= 4 {
        operand(insn, insn.memory_displacement64(), found);
    }
    if fixed {
        for operand in 0..insn.op_count() {
            if matches!(insn.op_kind(operand), OpKind::Immediate32 | OpKind::Immediate64 | OpKind::Immediate32to64) {
                found(Reference::Address(insn.immediate(operand)));
            }
        }
    }
}

fn operand(insn: &Instruction, target: u64, found: &mut impl FnMut(Reference)) {
    if insn.mnemonic() == Mnemonic::Lea {
        found(Reference::Address(target));
    } else if insn.mnemonic() != Mnemonic::Nop {
        // 64 bytes is the largest operand; unknown sizes count as that.
        let size = match insn.memory_size().size() {
            0 => 64,
            size => size as u64,
        };
        found(Reference::Bytes(target, size));
    }
}
