//! Which instructions do the same from another address, and which leave the stack.

use super::decode::{Op, SP, T0, Word};
use crate::isa::{Flow, Insn};
use crate::reason::{Obstacle, Reason};

pub(super) fn movable(insn: &Insn<Word>) -> Result<(), Reason> {
    let word = insn.raw;
    let cannot = |what| Err(Reason::NotRelocatable(what));
    match (insn.flow, word.op(insn.ip)) {
        (Flow::Invalid, _) => Err(Reason::Undecodable),
        (Flow::Stop, _) if word.is_ebreak() => Err(Reason::TrapInstruction),
        (Flow::Stop, _) => cannot(Obstacle::FarTransfer),
        (Flow::Other(_), _) => Err(Reason::SyscallInside),
        // The base is gone when the return address is there; of a pair the target is known.
        (Flow::CallIndirect, Op::Jalr { link, base, .. }) if link == base => cannot(Obstacle::CallThroughLink),
        _ if word.is_landing_pad() => cannot(Obstacle::LandingMark),
        _ if word.is_of_vendor() => cannot(Obstacle::Vendor),
        _ => Ok(()),
    }
}

/// Whether a function loads the stack pointer from memory, or from a register that holds an argument or a result.
pub(super) fn switches_stack(insns: &[Insn<Word>]) -> bool {
    insns.iter().any(|insn| match insn.raw.op(insn.ip) {
        Op::Load { rd: SP, .. } => true,
        // Compilers restore it from s0, or behind an `alloca` from saved registers.
        Op::AddImm { rd: SP, base, imm: 0 } => (10..18).contains(&base) || base == T0,
        _ => false,
    })
}
