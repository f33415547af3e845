//! Which instructions do the same from another address, and which leave the stack.

use super::decode::Word;
use crate::isa::{Flow, Insn};
use crate::reason::{Obstacle, Reason};

/// X30, which calls put the return address into.
const LR: u8 = 30;

pub(super) fn movable(insn: &Insn<Word>) -> Result<(), Reason> {
    let word = insn.raw;
    let cannot = |what| Err(Reason::NotRelocatable(what));
    match insn.flow {
        Flow::Invalid => return Err(Reason::Undecodable),
        Flow::Stop if word.is_brk() => return Err(Reason::TrapInstruction),
        // HLT, DCPS, TCANCEL.
        Flow::Stop if word.0 >> 24 == 0xd4 => return cannot(Obstacle::Fault),
        // ERET, DRPS.
        Flow::Stop => return cannot(Obstacle::FarTransfer),
        Flow::Other(_) => return Err(Reason::SyscallInside),
        // Compare and branch (FEAT_CMPBR).
        Flow::Branch(_) if word.is(0x7e00_0000, 0x7400_0000) => return cannot(Obstacle::OddBranch),
        // The second register of BLRAA holds what the pointer is checked with.
        Flow::CallIndirect if word.rn() == LR || word.rd() == LR => return cannot(Obstacle::CallThroughLink),
        _ => {}
    }
    if word.signs_address() {
        cannot(Obstacle::SignsAddress)
    } else if word.is_landing_mark() {
        cannot(Obstacle::LandingMark)
    } else if word.is_transaction() {
        cannot(Obstacle::Transaction)
    } else if word.is_memory_copy() || word.is_prefix() {
        cannot(Obstacle::Sequence)
    } else {
        Ok(())
    }
}

/// Whether a function loads the stack pointer from a register that no compiler keeps its own frame in.
pub(super) fn switches_stack(insns: &[Insn<Word>]) -> bool {
    insns.iter().any(|insn| {
        let word = insn.raw;
        // MOV SP, Xn, which is ADD with 0; compilers restore SP from X29, or behind an `alloca` from registers that
        // are neither arguments nor results nor temporary.
        let moves = word.is(0xffff_fc1f, 0x9100_001f);
        moves && word.rn() < 18
    })
}
