//! The A64 instructions of the surface.

pub mod parse;
pub mod run;

use std::fmt;

use super::event::{Acquire, Barrier};
use super::value::Target;

/// A general register by number; 31 reads as zero and forgets what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg {
    /// 0 to 31.
    pub number: u8,
    /// X rather than W.
    pub wide: bool,
}

/// A register or a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operand {
    /// A register.
    Reg(Reg),
    /// A constant.
    Imm(i64),
}

/// What is added to a base register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Offset {
    /// A constant, in bytes.
    Imm(i64),
    /// A register, sign-extended from 32 bits if `SXTW`, zero-extended if it is a W register without it.
    Reg(Reg, bool),
}

/// Arithmetic and logic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alu {
    /// ADD.
    Add,
    /// SUB.
    Sub,
    /// AND.
    And,
    /// EOR.
    Eor,
    /// ORR.
    Orr,
}

/// A condition, as its four bits in an encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cond(pub u8);

/// The conditions' names, in the order of their bits.
pub const CONDS: [&str; 15] =
    ["EQ", "NE", "HS", "LO", "MI", "PL", "VS", "VC", "HI", "LS", "GE", "LT", "GT", "LE", "AL"];

/// The order that a barrier makes. Shareability is one domain, as in Arm's model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BarrierKind {
    /// SY, ISH, OSH.
    Full,
    /// LD, ISHLD, OSHLD.
    Loads,
    /// ST, ISHST, OSHST.
    Stores,
}

impl From<BarrierKind> for Barrier {
    fn from(kind: BarrierKind) -> Self {
        match kind {
            BarrierKind::Full => Self::Full,
            BarrierKind::Loads => Self::Loads,
            BarrierKind::Stores => Self::Stores,
        }
    }
}

/// An instruction. Aliases have one form: CMP is SUBS, CSET is CSINC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the operands are those of the manual, in its order")]
pub enum Instr {
    /// NOP.
    Nop,
    /// UDF.
    Udf(u16),
    /// MOV.
    Mov { rd: Reg, from: Operand },
    /// ADD, SUB, AND, EOR, ORR.
    Alu { op: Alu, rd: Reg, rn: Reg, rm: Operand },
    /// CMP.
    Cmp { rn: Reg, rm: Operand },
    /// CSEL; with `inc` CSINC.
    Csel { rd: Reg, rn: Reg, rm: Reg, cond: Cond, inc: bool },
    /// ADR.
    Adr { rd: Reg, to: Target },
    /// B, BL.
    B { to: Target, link: bool },
    /// B.cond.
    Bcond { cond: Cond, to: Target },
    /// CBZ, CBNZ.
    Cbz { rt: Reg, to: Target, nonzero: bool },
    /// BR, BLR, RET.
    Br { rn: Reg, link: bool, ret: bool },
    /// LDR, LDAR, LDAPR.
    Load { rt: Reg, rn: Reg, offset: Offset, acquire: Acquire },
    /// STR, STLR.
    Store { rt: Reg, rn: Reg, offset: Offset, release: bool },
    /// DC CVAU, DC CIVAC.
    Dc { rt: Reg, civac: bool },
    /// IC IVAU.
    Ic { rt: Reg },
    /// IC IALLU, IC IALLUIS.
    IcAll { is: bool },
    /// DMB.
    Dmb(BarrierKind),
    /// DSB.
    Dsb(BarrierKind),
    /// ISB.
    Isb,
    /// SVC.
    Svc(u16),
    /// MSR ELR_EL1.
    MsrElr { rt: Reg },
    /// ERET.
    Eret,
}

impl Instr {
    /// Whether it is on the list of those that may be replaced, by another of them, while they are executed without
    /// further synchronisation ("concurrent modification and execution of instructions", Arm ARM B2.2.5).
    #[must_use]
    pub fn live_patchable(self) -> bool {
        matches!(self, Self::Nop | Self::B { .. } | Self::Bcond { .. } | Self::Cbz { .. } | Self::Isb | Self::Svc(_))
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = if self.wide { 'X' } else { 'W' };
        if self.number == 31 { write!(f, "{size}ZR") } else { write!(f, "{size}{}", self.number) }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reg(reg) => write!(f, "{reg}"),
            Self::Imm(n) => write!(f, "#{n}"),
        }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Imm(0) => Ok(()),
            Self::Imm(n) => write!(f, ",#{n}"),
            Self::Reg(reg, true) => write!(f, ",{reg},SXTW"),
            Self::Reg(reg, false) => write!(f, ",{reg}"),
        }
    }
}

impl fmt::Display for BarrierKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "SY",
            Self::Loads => "LD",
            Self::Stores => "ST",
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relative(n) => write!(f, ".{:+}", n * 4),
            Self::Label(there) => write!(f, "label {}.{}", there.column, there.index),
        }
    }
}

impl fmt::Display for Instr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nop => f.write_str("NOP"),
            Self::Udf(n) => write!(f, "UDF #{n}"),
            Self::Mov { rd, from } => write!(f, "MOV {rd},{from}"),
            Self::Alu { op, rd, rn, rm } => write!(f, "{} {rd},{rn},{rm}", format!("{op:?}").to_uppercase()),
            Self::Cmp { rn, rm } => write!(f, "CMP {rn},{rm}"),
            Self::Csel { rd, rn, rm, cond, inc } => {
                let name = if *inc { "CSINC" } else { "CSEL" };
                write!(f, "{name} {rd},{rn},{rm},{}", CONDS[usize::from(cond.0)])
            }
            Self::Adr { rd, to } => write!(f, "ADR {rd},{to}"),
            Self::B { to, link } => write!(f, "B{} {to}", if *link { "L" } else { "" }),
            Self::Bcond { cond, to } => write!(f, "B.{} {to}", CONDS[usize::from(cond.0)]),
            Self::Cbz { rt, to, nonzero } => write!(f, "CB{}Z {rt},{to}", if *nonzero { "N" } else { "" }),
            Self::Br { rn, ret: true, .. } => write!(f, "RET {rn}"),
            Self::Br { rn, link, .. } => write!(f, "B{}R {rn}", if *link { "L" } else { "" }),
            Self::Load { rt, rn, offset, acquire } => {
                let name = match acquire {
                    Acquire::No => "LDR",
                    Acquire::Full => "LDAR",
                    Acquire::Weak => "LDAPR",
                };
                write!(f, "{name} {rt},[{rn}{offset}]")
            }
            Self::Store { rt, rn, offset, release } => {
                write!(f, "{} {rt},[{rn}{offset}]", if *release { "STLR" } else { "STR" })
            }
            Self::Dc { rt, civac } => write!(f, "DC {},{rt}", if *civac { "CIVAC" } else { "CVAU" }),
            Self::Ic { rt } => write!(f, "IC IVAU,{rt}"),
            Self::IcAll { is } => write!(f, "IC IALLU{}", if *is { "IS" } else { "" }),
            Self::Dmb(kind) => write!(f, "DMB {kind}"),
            Self::Dsb(kind) => write!(f, "DSB {kind}"),
            Self::Isb => f.write_str("ISB"),
            Self::Svc(n) => write!(f, "SVC #{n}"),
            Self::MsrElr { rt } => write!(f, "MSR ELR_EL1,{rt}"),
            Self::Eret => f.write_str("ERET"),
        }
    }
}
