//! Which instructions do the same from another address.

use iced_x86::{Code, FlowControl, Instruction, Mnemonic, OpKind, Register};

use crate::reason::{Obstacle, Reason};

/// A branch with an operand-size prefix that no REX.W overrides: 16 bits of target on AMD, 32 on Intel.
pub(super) fn odd_branch(bytes: &[u8]) -> bool {
    let prefix = |b: &&u8| matches!(**b, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3 | 0x40..=0x4f);
    let prefixes = bytes.iter().take_while(prefix);
    let wide = prefixes.clone().any(|b| (0x48..=0x4f).contains(b));
    prefixes.clone().any(|&b| b == 0x66) && !wide
}

/// Whether an instruction does the same from another address, given what `relocate` can do.
pub(super) fn movable(insn: &Instruction) -> Result<(), Reason> {
    let cannot = |what| Err(Reason::NotRelocatable(what));
    match insn.mnemonic() {
        Mnemonic::INVALID => return Err(Reason::Undecodable),
        Mnemonic::Int3 => return Err(Reason::TrapInstruction),
        Mnemonic::Syscall | Mnemonic::Sysenter | Mnemonic::Int | Mnemonic::Into | Mnemonic::Int1 => {
            return Err(Reason::SyscallInside);
        }
        Mnemonic::Endbr64 | Mnemonic::Endbr32 => return cannot(Obstacle::LandingMark),
        Mnemonic::Hlt => return cannot(Obstacle::Fault),
        _ => {}
    }
    if insn.memory_base() == Register::EIP {
        return cannot(Obstacle::EipRelative);
    }
    if matches!(insn.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32) {
        return cannot(Obstacle::OddBranch);
    }
    match insn.flow_control() {
        FlowControl::Next => Ok(()),
        FlowControl::UnconditionalBranch if insn.is_jmp_short_or_near() => Ok(()),
        FlowControl::ConditionalBranch
            if insn.is_jcc_short_or_near() || insn.is_jcx_short() || insn.is_loop() || insn.is_loopcc() =>
        {
            Ok(())
        }
        FlowControl::IndirectBranch if insn.code() == Code::Jmp_rm64 => Ok(()),
        FlowControl::Call if insn.code() == Code::Call_rel32_64 => Ok(()),
        FlowControl::IndirectCall if insn.code() == Code::Call_rm64 => {
            let stack = insn.op0_kind() == OpKind::Register && insn.op0_register() == Register::RSP
                || insn.op0_kind() == OpKind::Memory && (insn.memory_base().full_register() == Register::RSP);
            if stack { cannot(Obstacle::CallThroughStack) } else { Ok(()) }
        }
        FlowControl::Return if matches!(insn.code(), Code::Retnq | Code::Retnq_imm16) => Ok(()),
        FlowControl::XbeginXabortXend if insn.mnemonic() != Mnemonic::Xbegin => Ok(()),
        FlowControl::XbeginXabortXend => cannot(Obstacle::Transaction),
        FlowControl::Exception => cannot(Obstacle::Fault),
        FlowControl::Interrupt => Err(Reason::SyscallInside),
        _ => cannot(Obstacle::FarTransfer),
    }
}
