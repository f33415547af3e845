//! Why a file cannot be analysed at all.

use core::fmt;

/// Why a file was refused as a whole. Every message says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The file does not begin with the ELF magic bytes.
    NotElf,
    /// The file ends before something that its headers promise.
    Truncated {
        /// What was looked for.
        what: &'static str,
    },
    /// A 32-bit ELF file.
    Elf32,
    /// A big-endian ELF file.
    BigEndian,
    /// Code for another instruction set.
    ForeignIsa {
        /// `e_machine` of the file.
        machine: u16,
    },
    /// RISC-V code for processors without registers for doubles.
    RiscvAbi,
    /// An ELF file that is not a linked program or library: an object file, a core dump.
    NotLinked {
        /// `e_type` of the file.
        kind: u16,
    },
    /// No executable segment with bytes in the file (a separate debug file, for example).
    NoCode,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => {
                f.write_str("not an ELF file; give the compiled program or library itself, not a script or wrapper")
            }
            Self::Truncated { what } => {
                write!(f, "the ELF file is cut short ({what} lies beyond its end); copy or build it again")
            }
            Self::Elf32 => {
                f.write_str("a 32-bit ELF file; only 64-bit programs can be traced, build it for 64 bits (-m64)")
            }
            Self::BigEndian => f.write_str("a big-endian ELF file; only little-endian programs can be traced"),
            Self::ForeignIsa { machine } => match machine_name(*machine) {
                Some(name) => write!(f, "code for {name}; only {KNOWN} programs can be analysed"),
                None => write!(f, "code for ELF machine {machine}; only {KNOWN} programs can be analysed"),
            },
            // The compressed loads and stores of doubles share their encodings with jumps of extensions.
            Self::RiscvAbi => f.write_str(
                "RISC-V code without doubles in registers, whose encodings may mean other instructions; build it for \
                 rv64gc with -mabi=lp64d",
            ),
            Self::NotLinked { kind } => {
                let name = match kind {
                    1 => "a relocatable object file",
                    4 => "a core dump",
                    _ => "an ELF file of an unknown type",
                };
                write!(f, "{name}; link it into a program or shared library first")
            }
            Self::NoCode => f.write_str(
                "no executable code in the file (a separate debug file?); give the program or library that runs",
            ),
        }
    }
}

impl std::error::Error for Error {}

/// What there is an analysis for.
const KNOWN: &str = "x86-64, AArch64 and RISC-V";

fn machine_name(machine: u16) -> Option<&'static str> {
    Some(match machine {
        2 | 18 | 43 => "SPARC",
        3 => "32-bit x86",
        8 => "MIPS",
        20 => "32-bit PowerPC",
        21 => "64-bit PowerPC",
        22 => "s390",
        40 => "32-bit Arm",
        50 => "Itanium",
        247 => "BPF",
        258 => "LoongArch",
        _ => return None,
    })
}
