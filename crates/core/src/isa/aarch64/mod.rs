//! AArch64.

mod decode;
mod live;

pub use decode::{Cond, Insn};
pub use live::{Edition, LIVE, Listed, hotpatch_safe, listed};

use super::Isa;
use crate::trap::{Effect, Regs};

/// The A64 instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aarch64;

/// The immediate of our BRK: "tp".
///
/// One of our own, so that a trap of ours and one of somebody else are told apart by their bytes: debuggers use 0,
/// compilers 1, 1000 and 0xf000, Linux 4 to 7, 0x100, 0x400 to 0x401, 0x800, from 0x900, 0x5500 and 0x8000 on, pointer
/// authentication 0xc470 to 0xc474 (`arch/arm64/include/asm/brk-imm.h`; LLVM, GCC). Linux reports every one of them
/// from user space in the same way, as SIGTRAP with the PC at the BRK.
pub const BRK_IMMEDIATE: u16 = 0x7470;

/// An instruction as it stands in memory: little-endian, whatever the endianness of data accesses is at the moment
/// (Arm ARM DDI 0487, B2.6.2 "Instruction endianness").
pub const fn word(insn: u32) -> [u8; 4] {
    insn.to_le_bytes()
}

/// The number of the register that BL and BLR put the return address into.
const LINK: u8 = 30;

impl Isa for Aarch64 {
    const NAME: &'static str = "aarch64";
    /// `BRK #0x7470` (Arm ARM DDI 0487, C6.2 "BRK").
    const TRAP: &'static [u8] = &word(0xd420_0000 | (BRK_IMMEDIATE as u32) << 5);
    const ALIGN: u64 = 4;
    /// The preferred return address of a Breakpoint Instruction exception is the BRK itself (D1.3.1).
    const TRAP_PC_ADVANCE: u64 = 0;
    type Insn = Insn;

    fn live(addr: u64, old: &[u8], new: &[u8]) -> bool {
        match (<[u8; 4]>::try_from(old), <[u8; 4]>::try_from(new)) {
            (Ok(old), Ok(new)) => {
                addr.is_multiple_of(4) && hotpatch_safe(u32::from_le_bytes(old), u32::from_le_bytes(new))
            }
            _ => false,
        }
    }

    fn hop(_len: usize) -> Option<[u8; 2]> {
        None
    }

    fn decode(addr: u64, bytes: &[u8]) -> Option<Insn> {
        decode::decode(addr, bytes)
    }

    fn effect(insn: Insn, regs: &Regs) -> Effect {
        let x = |reg: u8| if reg < 31 { regs.x[usize::from(reg)] } else { 0 };
        let branch = |taken, target, next| Effect::Goto { pc: if taken { target } else { next } };
        match insn {
            Insn::Nop { next } => Effect::Goto { pc: next },
            Insn::B { target } => Effect::Goto { pc: target },
            Insn::Bl { target, next } => set(LINK, next, target),
            Insn::BCond { cond, target, next } => branch(cond.holds(regs.flags), target, next),
            Insn::Cb { reg, wide, nonzero, target, next } => {
                branch((narrow(x(reg), wide) != 0) == nonzero, target, next)
            }
            Insn::Tb { reg, bit, set, target, next } => branch((x(reg) >> (bit & 63) & 1 == 1) == set, target, next),
            Insn::Br { reg } | Insn::Ret { reg } => Effect::Goto { pc: x(reg) },
            Insn::Blr { reg, next } => set(LINK, next, x(reg)),
            Insn::MovReg { reg, from, wide, next } => set(reg, narrow(x(from), wide), next),
            Insn::Const { reg, value, next } => set(reg, value, next),
            Insn::MovKeep { reg, imm, shift, wide, next } => {
                let kept = x(reg) & !(0xffff << (shift & 63));
                set(reg, narrow(kept | u64::from(imm) << (shift & 63), wide), next)
            }
        }
    }
}

/// Register number 31 is the zero register in every instruction here: what is written to it is gone.
fn set(reg: u8, value: u64, pc: u64) -> Effect {
    if reg < 31 { Effect::Set { reg, value, pc } } else { Effect::Goto { pc } }
}

/// What a W register holds, and what 64 bits become when one is written.
fn narrow(value: u64, wide: bool) -> u64 {
    if wide { value } else { value & 0xffff_ffff }
}
