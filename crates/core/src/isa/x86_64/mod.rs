//! x86-64.

mod decode;
mod encode;
mod live;

pub use decode::{Cond, Insn};
pub use encode::{NOPS, call, jmp, jmp_short, nop};

use super::Isa;
use crate::trap::{Effect, Regs};

/// The x86-64 instruction set in 64-bit mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct X86_64;

impl Isa for X86_64 {
    const NAME: &'static str = "x86-64";
    /// INT3 (SDM vol. 2, "INT n/INTO/INT3/INT1"): one byte, so that storing it can never be seen in halves.
    const TRAP: &'static [u8] = &[0xcc];
    const ALIGN: u64 = 1;
    const TRAP_PC_ADVANCE: u64 = 1;
    type Insn = Insn;

    fn is_trap(bytes: &[u8]) -> bool {
        bytes.starts_with(Self::TRAP)
    }

    fn live(_addr: u64, old: &[u8], new: &[u8]) -> bool {
        live::live(old, new)
    }

    fn hop(len: usize) -> Option<[u8; 2]> {
        let len = u8::try_from(len).ok()?;
        (2..=0x81).contains(&len).then(|| [0xeb, len - 2])
    }

    fn decode(addr: u64, bytes: &[u8]) -> Option<Insn> {
        decode::decode(addr, bytes)
    }

    fn effect(insn: Insn, regs: &Regs) -> Effect {
        match insn {
            Insn::Nop { next } => Effect::Goto { pc: next },
            Insn::Jmp { target } => Effect::Goto { pc: target },
            Insn::Call { target, next } => Effect::Call { ret: next, pc: target },
            Insn::Ret { extra } => Effect::Return { extra },
            Insn::Jcc { cond, target, next } => Effect::Goto { pc: if cond.holds(regs.flags) { target } else { next } },
            Insn::MovImm { reg, value, next } => Effect::Set { reg, value, pc: next },
        }
    }
}
