//! RISC-V, RV64GC.

mod decode;
mod live;

pub use decode::{Cond, Insn, length};

use super::Isa;
use crate::trap::{Effect, Regs};

/// RV64GC: instructions of four and of two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Riscv64;

impl Isa for Riscv64 {
    const NAME: &'static str = "riscv64";
    /// EBREAK, four bytes long (Unprivileged ISA, 2.8 "Environment Call and Breakpoints").
    const TRAP: &'static [u8] = &0x0010_0073_u32.to_le_bytes();
    const ALIGN: u64 = 2;
    /// `xepc` is the address of the EBREAK itself (Privileged ISA, 3.3.1).
    const TRAP_PC_ADVANCE: u64 = 0;
    type Insn = Insn;

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
        let x = |reg: u8| if reg == 0 { 0 } else { regs.x[usize::from(reg & 31)] };
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

/// Register x0 is zero: what is written to it is gone.
fn set(reg: u8, value: u64, pc: u64) -> Effect {
    if reg == 0 { Effect::Goto { pc } } else { Effect::Set { reg, value, pc } }
}

/// The length of the EBREAK or C.EBREAK at the start; 0 if there is none.
fn trap_length(bytes: &[u8]) -> usize {
    match *bytes {
        [0x02, 0x90, ..] => 2,
        [0x73, 0x00, 0x10, 0x00, ..] => 4,
        _ => 0,
    }
}
