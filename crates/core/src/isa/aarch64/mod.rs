//! AArch64.

mod decode;
mod encode;
mod live;

pub use decode::{Cond, Insn};
pub use encode::{NOP, adr, adrp, b, b_cond, bl, blr, br, brk, cbnz, cbz, mov_reg, movk, movn, movz, ret, tbnz, tbz};
pub use live::{Edition, LIVE, Listed, hotpatch_safe, listed};

use super::{Isa, Reg};
use crate::trap::{Effect, Regs};

/// The A64 instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aarch64;

/// The immediate of our BRK: "tp".
///
/// One of our own, so that a trap of ours and one of somebody else are told apart by their bytes. Taken are 0 by
/// debuggers, 1, 1000 and 0xf000 by compilers, 0xc470 to 0xc474 by pointer authentication, and in Linux
/// (`arch/arm64/include/asm/brk-imm.h`) 4 to 7, 0x100, 0x400 to 0x9ff, 0x5500 to 0x55ff and 0x8000 to 0x83ff. Of a program's
/// BRKs Linux keeps the one of uprobes, 5, and reports all others as SIGTRAP with the PC at the BRK (`brk_handler`).
pub const BRK_IMMEDIATE: u16 = 0x7470;

/// An instruction as it stands in memory: little-endian, whatever the endianness of data accesses is at the moment
/// (Arm ARM DDI 0487, "Instruction endianness").
pub const fn word(insn: u32) -> [u8; 4] {
    insn.to_le_bytes()
}

/// X9, where a prologue that calls a tracer keeps the return address of its caller (`MOV X9, X30` and a BL).
pub const X9: Reg = Reg::take(9, 0);
/// X30, which BL and BLR put the return address into.
pub const LR: Reg = Reg::take(30, 0);
/// The zero register.
pub const XZR: Reg = Reg::take(31, 0);

/// Which of the two names of a register an instruction uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// W0 to W30: the lower 32 bits. A write clears the upper ones.
    W,
    /// X0 to X30: all 64 bits.
    X,
}

impl Width {
    /// What the register holds under this name; what all 64 bits become when that is written.
    const fn of(self, value: u64) -> u64 {
        match self {
            Self::W => value & 0xffff_ffff,
            Self::X => value,
        }
    }

    /// Bit 31 of most instructions.
    const fn bit(self) -> u32 {
        (self as u32) << 31
    }
}

impl Isa for Aarch64 {
    const NAME: &'static str = "aarch64";
    /// `BRK #0x7470` (Arm ARM DDI 0487, C6.2 "BRK").
    const TRAP: &'static [u8] = &brk(BRK_IMMEDIATE);
    const ALIGN: u64 = 4;
    /// The preferred return address of a Breakpoint Instruction exception is the address of the BRK (Arm ARM DDI 0487,
    /// "Breakpoint Instruction exceptions").
    const TRAP_PC_ADVANCE: u64 = 0;
    type Insn = Insn;

    /// BRK with any immediate.
    fn is_trap(bytes: &[u8]) -> bool {
        bytes.first_chunk().is_some_and(|&word| u32::from_le_bytes(word) & 0xffe0_001f == 0xd420_0000)
    }

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
        let x = |reg: Reg| if reg == XZR { 0 } else { regs.x[usize::from(reg.number())] };
        let branch = |taken, target, next| Effect::Goto { pc: if taken { target } else { next } };
        match insn {
            Insn::Nop { next } => Effect::Goto { pc: next },
            Insn::B { target } => Effect::Goto { pc: target },
            Insn::Bl { target, next } => set(LR, next, target),
            Insn::BCond { cond, target, next } => branch(cond.holds(regs.flags), target, next),
            Insn::Cb { reg, width, nonzero, target, next } => branch((width.of(x(reg)) != 0) == nonzero, target, next),
            Insn::Tb { reg, bit, set, target, next } => branch((x(reg) >> (bit & 63) & 1 == 1) == set, target, next),
            Insn::Br { reg } | Insn::Ret { reg } => Effect::Goto { pc: x(reg) },
            Insn::Blr { reg, next } => set(LR, next, x(reg)),
            Insn::MovReg { reg, from, width, next } => set(reg, width.of(x(from)), next),
            Insn::Const { reg, value, next } => set(reg, value, next),
            Insn::MovKeep { reg, imm, shift, width, next } => {
                let kept = x(reg) & !(0xffff << (shift & 63));
                set(reg, width.of(kept | u64::from(imm) << (shift & 63)), next)
            }
        }
    }
}

/// What is written to the zero register is gone.
fn set(reg: Reg, value: u64, pc: u64) -> Effect {
    if reg == XZR { Effect::Goto { pc } } else { Effect::Set { reg: reg.number(), value, pc } }
}
