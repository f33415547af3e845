//! RISC-V, RV64GC.

mod decode;
mod encode;
mod live;

pub use decode::{Cond, Insn, length};
pub use encode::{C_EBREAK, C_NOP, EBREAK, NOP, addi, auipc, branch, c_j, far, jal, jalr, lui};

use super::{Isa, Reg};
use crate::trap::{Effect, Regs};

/// x0, which is zero.
pub const ZERO: Reg = Reg::take(0, 0);
/// x1, the return address by convention.
pub const RA: Reg = Reg::take(1, 0);
/// x5, the return address of millicode and of tracers that a function's prologue calls.
pub const T0: Reg = Reg::take(5, 0);

/// RV64GC: instructions of four and of two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Riscv64;

impl Isa for Riscv64 {
    const NAME: &'static str = "riscv64";
    /// EBREAK, four bytes long (Unprivileged ISA, "Environment Call and Breakpoints").
    const TRAP: &'static [u8] = &EBREAK;
    const ALIGN: u64 = 2;
    /// `xepc` is the address of the EBREAK itself (Privileged ISA, "Environment Call and Breakpoint").
    const TRAP_PC_ADVANCE: u64 = 0;
    type Insn = Insn;

    /// EBREAK or C.EBREAK.
    fn is_trap(bytes: &[u8]) -> bool {
        trap_length(bytes) != 0
    }

    fn live(addr: u64, old: &[u8], new: &[u8]) -> bool {
        live::live(addr, old, new)
    }

    fn hop(_len: usize) -> Option<[u8; 2]> {
        None
    }

    fn decode(addr: u64, bytes: &[u8]) -> Option<Insn> {
        decode::decode(addr, bytes)
    }

    fn effect(insn: Insn, regs: &Regs) -> Effect {
        let x = |reg: Reg| if reg == ZERO { 0 } else { regs.x[usize::from(reg.number())] };
        match insn {
            Insn::Nop { next } => Effect::Goto { pc: next },
            Insn::Jump { link, target, next } => set(link, next, target),
            Insn::JumpReg { link, base, offset, next } => {
                set(link, next, x(base).wrapping_add_signed(i64::from(offset)) & !1)
            }
            Insn::Branch { cond, a, b, target, next } => {
                Effect::Goto { pc: if cond.holds(x(a), x(b)) { target } else { next } }
            }
            Insn::Const { reg, value, next } => set(reg, value, next),
            Insn::AddImm { reg, base, imm, next } => set(reg, x(base).wrapping_add_signed(i64::from(imm)), next),
        }
    }
}

/// What is written to x0 is gone.
fn set(reg: Reg, value: u64, pc: u64) -> Effect {
    if reg == ZERO { Effect::Goto { pc } } else { Effect::Set { reg: reg.number(), value, pc } }
}

/// The length of the EBREAK or C.EBREAK at the start; 0 if there is none.
fn trap_length(bytes: &[u8]) -> usize {
    [&EBREAK[..], &C_EBREAK].into_iter().find(|trap| bytes.starts_with(trap)).map_or(0, <[u8]>::len)
}
