//! The RISC-V instructions of the surface (RV64I, Zifencei).

pub mod parse;
pub mod run;

use std::fmt;

use super::value::Target;

/// A register by number; 0 reads as zero and forgets what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg(pub u8);

/// The registers' names, by number.
pub const NAMES: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "s2",
    "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
];

/// Arithmetic and logic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alu {
    /// ADD, ADDI.
    Add,
    /// SUB.
    Sub,
    /// AND, ANDI.
    And,
    /// OR, ORI.
    Or,
    /// XOR, XORI.
    Xor,
}

/// An instruction. Pseudo-instructions have the form that the assembler gives them: `li`, `mv` and `nop` are ADDI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the operands are those of the manual, in its order")]
pub enum Instr {
    /// ADDI, ANDI, ORI, XORI.
    Imm { op: Alu, rd: Reg, rs1: Reg, imm: i64 },
    /// ADD, SUB, AND, OR, XOR.
    Alu { op: Alu, rd: Reg, rs1: Reg, rs2: Reg },
    /// LW, LWU, LD.
    Load { rd: Reg, rs1: Reg, offset: i64, wide: bool, unsigned: bool },
    /// SW, SD.
    Store { rs2: Reg, rs1: Reg, offset: i64, wide: bool },
    /// BEQ; with `ne` BNE.
    Branch { rs1: Reg, rs2: Reg, ne: bool, to: Target },
    /// JAL.
    Jal { rd: Reg, to: Target },
    /// JALR.
    Jalr { rd: Reg, rs1: Reg, offset: i64 },
    /// FENCE: 2 for reads, 1 for writes.
    Fence(u8, u8),
    /// FENCE.TSO.
    FenceTso,
    /// FENCE.I.
    FenceI,
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES[usize::from(self.0)])
    }
}

/// `r`, `w` or `rw`.
fn set(bits: u8) -> &'static str {
    ["", "w", "r", "rw"][usize::from(bits & 3)]
}

impl fmt::Display for Instr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |op: &Alu| format!("{op:?}").to_lowercase();
        match self {
            Self::Imm { op: Alu::Add, rd: Reg(0), rs1: Reg(0), imm: 0 } => f.write_str("nop"),
            Self::Imm { op: Alu::Add, rd, rs1: Reg(0), imm } => write!(f, "li {rd},{imm}"),
            Self::Imm { op: Alu::Add, rd, rs1, imm: 0 } => write!(f, "mv {rd},{rs1}"),
            Self::Imm { op, rd, rs1, imm } => write!(f, "{}i {rd},{rs1},{imm}", name(op)),
            Self::Alu { op, rd, rs1, rs2 } => write!(f, "{} {rd},{rs1},{rs2}", name(op)),
            Self::Load { rd, rs1, offset, wide, unsigned } => {
                let name = if *wide {
                    "ld"
                } else if *unsigned {
                    "lwu"
                } else {
                    "lw"
                };
                write!(f, "{name} {rd},{offset}({rs1})")
            }
            Self::Store { rs2, rs1, offset, wide } => {
                write!(f, "{} {rs2},{offset}({rs1})", if *wide { "sd" } else { "sw" })
            }
            Self::Branch { rs1, rs2, ne, to } => write!(f, "b{} {rs1},{rs2},{to}", if *ne { "ne" } else { "eq" }),
            Self::Jal { rd: Reg(0), to } => write!(f, "j {to}"),
            Self::Jal { rd, to } => write!(f, "jal {rd},{to}"),
            Self::Jalr { rd, rs1, offset } => write!(f, "jalr {rd},{offset}({rs1})"),
            Self::Fence(before, after) => write!(f, "fence {},{}", set(*before), set(*after)),
            Self::FenceTso => f.write_str("fence.tso"),
            Self::FenceI => f.write_str("fence.i"),
        }
    }
}
