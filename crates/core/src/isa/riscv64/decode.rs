//! The instructions that a trap handler can act as (Unprivileged ISA, "RV32I", "RV64I", "C").
//!
//! Hints among them, which are the forms that write x0, act as NOPs: an implementation may always ignore them. Two that
//! are more than hints are refused: LPAD, and the operations of Zcmop.

use super::{RA, ZERO};
use crate::isa::Reg;

/// x2, the stack pointer, which compressed instructions imply.
const SP: Reg = Reg::take(2, 0);

/// An instruction with its addresses worked out. A compressed instruction is the one that it expands to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insn {
    /// NOP and C.NOP.
    Nop {
        /// Address behind it.
        next: u64,
    },
    /// JAL, C.J.
    Jump {
        /// The register that gets the return address; x0 for none.
        link: Reg,
        /// Where to.
        target: u64,
        /// Address behind it.
        next: u64,
    },
    /// JALR, C.JR, C.JALR.
    JumpReg {
        /// The register that gets the return address; x0 for none.
        link: Reg,
        /// The register with the address.
        base: Reg,
        /// Bytes to add to it, −2048 to 2047.
        offset: i16,
        /// Address behind it.
        next: u64,
    },
    /// BEQ, BNE, BLT, BGE, BLTU, BGEU, C.BEQZ, C.BNEZ.
    Branch {
        /// The condition.
        cond: Cond,
        /// The register on the left.
        a: Reg,
        /// The register on the right.
        b: Reg,
        /// Where to if it holds.
        target: u64,
        /// Where to if not.
        next: u64,
    },
    /// LUI, C.LUI, AUIPC: a value that depends on nothing but the address.
    Const {
        /// Register to write.
        reg: Reg,
        /// What all 64 bits become.
        value: u64,
        /// Address behind it.
        next: u64,
    },
    /// ADDI, with its names MV and LI, and C.ADDI, C.ADDI16SP, C.ADDI4SPN, C.LI, C.MV.
    AddImm {
        /// Register to write.
        reg: Reg,
        /// Register to read.
        base: Reg,
        /// What to add, −2048 to 2047.
        imm: i16,
        /// Address behind it.
        next: u64,
    },
}

/// What a branch compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cond {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less than, signed.
    Lt,
    /// Greater or equal, signed.
    Ge,
    /// Less than, unsigned.
    Ltu,
    /// Greater or equal, unsigned.
    Geu,
}

impl Cond {
    /// By the field `funct3`.
    const fn new(funct3: u32) -> Option<Self> {
        Some(match funct3 {
            0 => Self::Eq,
            1 => Self::Ne,
            4 => Self::Lt,
            5 => Self::Ge,
            6 => Self::Ltu,
            7 => Self::Geu,
            _ => return None,
        })
    }

    /// The field `funct3`.
    pub(super) const fn funct3(self) -> u32 {
        match self {
            Self::Eq => 0,
            Self::Ne => 1,
            Self::Lt => 4,
            Self::Ge => 5,
            Self::Ltu => 6,
            Self::Geu => 7,
        }
    }

    /// Evaluates it on two registers.
    pub const fn holds(self, a: u64, b: u64) -> bool {
        match self {
            Self::Eq => a == b,
            Self::Ne => a != b,
            Self::Lt => (a as i64) < b as i64,
            Self::Ge => a as i64 >= b as i64,
            Self::Ltu => a < b,
            Self::Geu => a >= b,
        }
    }
}

/// Length in bytes of the instruction that begins with this parcel: 2 or 4; `None` for the longer formats, which
/// RV64GC does not have (Unprivileged ISA, "Base Instruction-Length Encoding").
pub const fn length(parcel: u16) -> Option<usize> {
    match (parcel & 3, parcel >> 2 & 7) {
        (3, 7) => None,
        (3, _) => Some(4),
        _ => Some(2),
    }
}

/// Decodes the one instruction that fills `bytes`.
///
/// A jump that never comes back may be shorter when EBREAK or C.EBREAK fill the rest.
pub(super) fn decode(addr: u64, bytes: &[u8]) -> Option<Insn> {
    let (first, _) = bytes.split_first_chunk::<2>()?;
    let first = u16::from_le_bytes(*first);
    let len = length(first)?;
    let (insn, rest) = bytes.split_at_checked(len)?;
    if !addr.is_multiple_of(2) {
        return None;
    }
    let insn = match insn.try_into() {
        Ok(word) => full(addr, u32::from_le_bytes(word))?,
        Err(_) => compressed(addr, first)?,
    };
    (rest.is_empty() || (stays(insn) && all_traps(rest))).then_some(insn)
}

/// Whether nothing that is executed ever goes on behind the instruction.
pub(super) fn stays(insn: Insn) -> bool {
    matches!(insn, Insn::Jump { link: ZERO, .. } | Insn::JumpReg { link: ZERO, .. })
}

/// Whether the bytes are breakpoints and nothing else.
fn all_traps(mut bytes: &[u8]) -> bool {
    loop {
        match super::trap_length(bytes) {
            0 => return bytes.is_empty(),
            len => bytes = &bytes[len..],
        }
    }
}

fn full(addr: u64, insn: u32) -> Option<Insn> {
    let next = addr.wrapping_add(4);
    let (rd, rs1, rs2) = (Reg::take(insn, 7), Reg::take(insn, 15), Reg::take(insn, 20));
    let funct3 = insn >> 12 & 7;
    let imm12 = (insn as i32 >> 20) as i16;
    let upper = i64::from((insn & 0xffff_f000) as i32);
    Some(match insn & 0x7f {
        0x13 if insn == 0x13 => Insn::Nop { next },
        0x13 if funct3 == 0 => Insn::AddImm { reg: rd, base: rs1, imm: imm12, next },
        0x37 => Insn::Const { reg: rd, value: upper as u64, next },
        // AUIPC to x0 is LPAD, the landing pad of Zicfilp, which checks something.
        0x17 if rd != ZERO => Insn::Const { reg: rd, value: addr.wrapping_add_signed(upper), next },
        0x6f => Insn::Jump { link: rd, target: addr.wrapping_add_signed(j_offset(insn)), next },
        0x67 if funct3 == 0 => Insn::JumpReg { link: rd, base: rs1, offset: imm12, next },
        0x63 => {
            let target = addr.wrapping_add_signed(b_offset(insn));
            Insn::Branch { cond: Cond::new(funct3)?, a: rs1, b: rs2, target, next }
        }
        _ => return None,
    })
}

/// The offset of JAL: bits 20, 10 to 1, 11, 19 to 12 from the left.
fn j_offset(insn: u32) -> i64 {
    let sign = i64::from(insn as i32 >> 31) << 20;
    sign | i64::from(insn & 0xf_f000 | insn >> 9 & 0x800 | insn >> 20 & 0x7fe)
}

/// The offset of a branch: bits 12, 10 to 5 on the left, 4 to 1, 11 on the right.
fn b_offset(insn: u32) -> i64 {
    let sign = i64::from(insn as i32 >> 31) << 12;
    sign | i64::from(insn << 4 & 0x800 | insn >> 20 & 0x7e0 | insn >> 7 & 0x1e)
}

fn compressed(addr: u64, c: u16) -> Option<Insn> {
    let next = addr.wrapping_add(2);
    let insn = u32::from(c);
    let bits = |low: u32, count: u32| insn >> low & ((1 << count) - 1);
    let (rd, rs2) = (Reg::take(insn, 7), Reg::take(insn, 2));
    // The eight registers that three bits name, x8 to x15.
    let few = |low: u32| Reg::take(8 + bits(low, 3), 0);
    // A six-bit signed immediate: the sign is bit 12.
    let imm6 = ((bits(12, 1) << 5 | bits(2, 5)) << 26) as i32 >> 26;
    let add = |reg, base, imm: i32| Insn::AddImm { reg, base, imm: imm as i16, next };
    Some(match (c & 3, c >> 13) {
        (0, 0) => {
            let imm = bits(11, 2) << 4 | bits(7, 4) << 6 | bits(6, 1) << 2 | bits(5, 1) << 3;
            // Zero is reserved, and all zeros are the illegal instruction.
            if imm == 0 {
                return None;
            }
            add(few(2), SP, imm as i32)
        }
        (1, 0) if c == 1 => Insn::Nop { next },
        (1, 0) => add(rd, rd, imm6),
        (1, 2) => add(rd, ZERO, imm6),
        // Zero is reserved, or one of the operations of Zcmop, which the shadow stack uses.
        (1, 3) if imm6 == 0 => return None,
        (1, 3) if rd == SP => {
            let low = bits(6, 1) << 4 | bits(2, 1) << 5 | bits(5, 1) << 6 | bits(3, 2) << 7;
            add(SP, SP, low as i32 - ((bits(12, 1) as i32) << 9))
        }
        (1, 3) => Insn::Const { reg: rd, value: i64::from(imm6 << 12) as u64, next },
        (1, 5) => Insn::Jump { link: ZERO, target: addr.wrapping_add_signed(cj_offset(c)), next },
        (1, op @ (6 | 7)) => {
            let cond = if op == 6 { Cond::Eq } else { Cond::Ne };
            Insn::Branch { cond, a: few(7), b: ZERO, target: addr.wrapping_add_signed(cb_offset(c)), next }
        }
        // Bit 12 and the second register tell C.JR, C.MV, C.EBREAK, C.JALR and C.ADD apart.
        (2, 4) if rs2 == ZERO && rd != ZERO => {
            let link = if bits(12, 1) == 1 { RA } else { ZERO };
            Insn::JumpReg { link, base: rd, offset: 0, next }
        }
        (2, 4) if rs2 != ZERO && bits(12, 1) == 0 => add(rd, rs2, 0),
        _ => return None,
    })
}

/// The offset of C.J: bits 11, 4, 9 and 8, 10, 6, 7, 3 to 1, 5 from the left.
fn cj_offset(c: u16) -> i64 {
    let c = i64::from(c);
    let sign = -(c >> 12 & 1) << 11;
    sign | c << 2 & 0x400
        | c >> 1 & 0x300
        | c << 1 & 0x80
        | c >> 1 & 0x40
        | c << 3 & 0x20
        | c >> 7 & 0x10
        | c >> 2 & 0xe
}

/// The offset of C.BEQZ and C.BNEZ: bits 8, 4 and 3 on the left, 7 and 6, 2 and 1, 5 on the right.
fn cb_offset(c: u16) -> i64 {
    let c = i64::from(c);
    let sign = -(c >> 12 & 1) << 8;
    sign | c << 1 & 0xc0 | c << 3 & 0x20 | c >> 7 & 0x18 | c >> 2 & 0x6
}
