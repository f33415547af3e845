//! Instruction sets, and whose promises about instruction fetch are believed.

use serde::{Deserialize, Serialize};
use textpoke_core::isa::{Aarch64, Isa, Riscv64, X86_64};

/// An instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IsaId {
    /// x86-64.
    X86,
    /// AArch64.
    Arm,
    /// RISC-V.
    Riscv,
}

impl IsaId {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::X86, Self::Arm, Self::Riscv];

    /// The name on the command line and in protocol files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86 => X86_64::NAME,
            Self::Arm => Aarch64::NAME,
            Self::Riscv => Riscv64::NAME,
        }
    }

    /// Whose promises there are, the weakest first.
    pub const fn profiles(self) -> &'static [Profile] {
        match self {
            Self::X86 => &[Profile::Intel, Profile::Amd],
            Self::Arm => &[Profile::Arm, Profile::ArmIdc, Profile::ArmDic],
            Self::Riscv => &[Profile::Ziccif, Profile::Ziccid],
        }
    }

    /// The trap instruction.
    pub const fn trap(self) -> &'static [u8] {
        match self {
            Self::X86 => X86_64::TRAP,
            Self::Arm => Aarch64::TRAP,
            Self::Riscv => Riscv64::TRAP,
        }
    }
}

/// What instruction fetch may see, by whose book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// AMD APM vol. 2 §7.6.1: fetch reads aligned quadwords of coherent memory, each instruction by itself, in order,
    /// some instructions ahead.
    Amd,
    /// Intel SDM vol. 3: nothing is promised. Each byte is any value that stood there since this CPU last synchronised.
    Intel,
    /// Arm ARM DDI 0487 with `CTR_EL0.{IDC,DIC}` = 0: stores reach fetch through a data cache that must be cleaned and
    /// instruction caches that must be invalidated, then by context synchronisation.
    #[serde(rename = "arm64")]
    Arm,
    /// The same with IDC = 1: nothing to clean.
    #[serde(rename = "arm64-idc")]
    ArmIdc,
    /// The same with IDC = DIC = 1: nothing to invalidate either.
    #[serde(rename = "arm64-dic")]
    ArmDic,
    /// RISC-V with Ziccif alone: aligned fetches are atomic; which store they see, in any order, is open until FENCE.I.
    Ziccif,
    /// RISC-V with Ziccid: fetches see memory in order, some instructions ahead.
    Ziccid,
}

/// How a profile's fetch is modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// A queue of instructions, each read in aligned granules of so many bytes of coherent memory, in order.
    Queue(u8),
    /// A set of values for each lane; synchronising leaves the present one.
    Set,
    /// Two sets: what the instruction cache may yield, and what the pipeline may hold of it. Maintenance shrinks the
    /// first, synchronising makes the second the first.
    Caches,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Intel, Self::Amd, Self::Arm, Self::ArmIdc, Self::ArmDic, Self::Ziccif, Self::Ziccid];

    /// The name on the command line and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd => "amd",
            Self::Intel => "intel",
            Self::Arm => "arm64",
            Self::ArmIdc => "arm64-idc",
            Self::ArmDic => "arm64-dic",
            Self::Ziccif => "ziccif",
            Self::Ziccid => "ziccid",
        }
    }

    /// The instruction set.
    pub const fn isa(self) -> IsaId {
        match self {
            Self::Amd | Self::Intel => IsaId::X86,
            Self::Arm | Self::ArmIdc | Self::ArmDic => IsaId::Arm,
            Self::Ziccif | Self::Ziccid => IsaId::Riscv,
        }
    }

    /// How its fetch is modelled.
    pub const fn fetch(self) -> Fetch {
        match self {
            Self::Amd => Fetch::Queue(8),
            Self::Ziccid => Fetch::Queue(4),
            Self::Intel | Self::Ziccif => Fetch::Set,
            Self::Arm | Self::ArmIdc | Self::ArmDic => Fetch::Caches,
        }
    }
}
