//! What registers and memory hold. Addresses and instructions stay symbols: no test of the surface looks at their bits.

use super::{a64, riscv};

/// An instruction of either set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Instr {
    /// A64.
    A64(a64::Instr),
    /// RV64.
    Riscv(riscv::Instr),
}

impl Instr {
    /// Where it branches to, or whose address it makes.
    #[must_use]
    pub fn target(self) -> Option<Target> {
        match self {
            Self::A64(
                a64::Instr::Adr { to, .. }
                | a64::Instr::B { to, .. }
                | a64::Instr::Bcond { to, .. }
                | a64::Instr::Cbz { to, .. },
            )
            | Self::Riscv(riscv::Instr::Branch { to, .. } | riscv::Instr::Jal { to, .. }) => Some(to),
            _ => None,
        }
    }

    /// The word that it is at an address: a label becomes the distance to it.
    #[must_use]
    pub fn placed(mut self, at: CodeAddress) -> Self {
        match &mut self {
            Self::A64(
                a64::Instr::Adr { to, .. }
                | a64::Instr::B { to, .. }
                | a64::Instr::Bcond { to, .. }
                | a64::Instr::Cbz { to, .. },
            )
            | Self::Riscv(riscv::Instr::Branch { to, .. } | riscv::Instr::Jal { to, .. }) => *to = to.placed(at),
            _ => {}
        }
        self
    }
}

/// A place in the code: `index` instructions after the beginning of a column. One past the last is its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodeAddress {
    /// The column, see [`super::test::Column`].
    pub column: u8,
    /// In instructions of 4 bytes.
    pub index: u8,
}

/// Where a branch goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// So many instructions on: what an encoding holds, and what moves along with a copied instruction.
    Relative(i16),
    /// To this label from wherever it stands: `instr:"j somewhere"`, and branches out of a fault handler.
    Label(CodeAddress),
}

impl Target {
    /// The place, seen from an instruction at `from`; `None` if it lies before the column.
    #[must_use]
    pub fn from(self, from: CodeAddress) -> Option<CodeAddress> {
        match self {
            Self::Label(there) => Some(there),
            Self::Relative(n) => {
                let index = u8::try_from(i16::from(from.index) + n).ok()?;
                Some(CodeAddress { index, ..from })
            }
        }
    }

    /// The same place as a distance if it is in the same column.
    #[must_use]
    pub fn placed(self, at: CodeAddress) -> Self {
        match self {
            Self::Label(there) if there.column == at.column => {
                Self::Relative(i16::from(there.index) - i16::from(at.index))
            }
            other => other,
        }
    }
}

/// A location of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// A variable, by its number in [`super::test::Test::symbols`].
    Data(u8),
    /// One instruction.
    Code(CodeAddress),
    /// What a number points to: neither of the two. Only cache maintenance may name it, and does nothing there.
    Elsewhere,
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// A number; of 32 bits it is kept zero-extended.
    Int(i64),
    /// An address.
    Address(Location),
    /// An instruction's word.
    Instr(Instr),
}

impl Value {
    /// Zero.
    pub const ZERO: Self = Self::Int(0);

    /// Whether two values are equal as bit patterns.
    ///
    /// # Errors
    /// The bits of one of them are not known here.
    pub fn same(self, other: Self) -> Result<bool, String> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Ok(a == b),
            (Self::Address(a), Self::Address(b)) => Ok(a == b),
            (Self::Instr(a), Self::Instr(b)) => Ok(a == b),
            (Self::Int(0), Self::Address(_)) | (Self::Address(_), Self::Int(0)) => Ok(false),
            // A64 words below 65536 are UDF; zero is no RISC-V instruction.
            (Self::Int(n), Self::Instr(i)) | (Self::Instr(i), Self::Int(n)) => match (i, u16::try_from(n)) {
                (Instr::A64(i), Ok(n)) => Ok(i == a64::Instr::Udf(n)),
                (Instr::Riscv(_), Ok(0)) => Ok(false),
                _ => Err("compares a number with an instruction, whose bits are not modelled".into()),
            },
            _ => Err("compares an address with what is none".into()),
        }
    }

    /// An address some bytes further.
    ///
    /// # Errors
    /// It is no address, or leaves its variable.
    pub fn plus(self, bytes: i64) -> Result<Self, String> {
        match self {
            Self::Int(n) => Ok(Self::Int(n.wrapping_add(bytes))),
            _ if bytes == 0 => Ok(self),
            Self::Address(Location::Code(at)) if bytes % 4 == 0 => {
                let index = i64::from(at.index) + bytes / 4;
                let index = u8::try_from(index).map_err(|_| "makes an address outside of the code".to_string())?;
                Ok(Self::Address(Location::Code(CodeAddress { index, ..at })))
            }
            Self::Address(Location::Code(_)) => Err("makes an address inside of an instruction".into()),
            Self::Address(_) => Err("makes an address inside or outside of a variable".into()),
            Self::Instr(_) => Err("calculates with an instruction's bits".into()),
        }
    }

    /// Whether 4 bytes hold it.
    #[must_use]
    pub fn fits_word(self) -> bool {
        match self {
            Self::Int(n) => u32::try_from(n).is_ok(),
            Self::Instr(_) => true,
            Self::Address(_) => false,
        }
    }

    /// The low 32 bits.
    ///
    /// # Errors
    /// An address has more.
    pub fn word(self) -> Result<Self, String> {
        match self {
            Self::Int(n) => Ok(Self::Int(n & 0xffff_ffff)),
            Self::Instr(_) => Ok(self),
            Self::Address(_) => Err("cuts an address to 32 bits".into()),
        }
    }
}
