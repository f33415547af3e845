//! The instructions that a switch of one site is made of, for each instruction set.

use super::{Aarch64, Isa, Riscv64, X86_64, aarch64, riscv64, x86_64};
use crate::refusal::Refusal;

/// An instruction set whose NOP, jump and call have one length.
pub trait Switch: Isa {
    /// One instruction of a switch.
    type Code: Copy + Eq + core::fmt::Debug + AsRef<[u8]> + for<'a> TryFrom<&'a [u8]>;

    /// Bytes of each of them.
    const LEN: usize;

    /// A NOP.
    const NOP: Self::Code;

    /// A jump at `from` to `to`; refused where it does not reach or is not aligned.
    fn jump(from: u64, to: u64) -> Result<Self::Code, Refusal>;

    /// A call at `from` to `to`, with the return address where the ABI has it; refused like [`Switch::jump`].
    fn call(from: u64, to: u64) -> Result<Self::Code, Refusal>;

    /// Whether an instruction is one of the three. On RISC-V a jump may leave the return address anywhere.
    fn is_switch(insn: Self::Insn) -> bool;

    /// How far a jump reaches both ways, in bytes, and a little less.
    const REACH: u64;

    /// Code that jumps to an address anywhere, as linkers put it between: what it may change are the registers that the
    /// ABI leaves to them. `None` where a jump reaches whatever it needs to.
    fn veneer(to: u64) -> Option<Veneer>;
}

/// Code that jumps anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Veneer {
    /// Its bytes, to be put at a multiple of 8.
    pub bytes: [u8; 24],
}

impl Veneer {
    fn new(code: [u32; 4], to: u64) -> Self {
        let mut bytes = [0; 24];
        for (place, word) in bytes.chunks_exact_mut(4).zip(code) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes[16..].copy_from_slice(&to.to_le_bytes());
        Self { bytes }
    }
}

impl Switch for X86_64 {
    type Code = [u8; 5];
    const LEN: usize = 5;
    const NOP: [u8; 5] = [0x0f, 0x1f, 0x44, 0, 0];
    const REACH: u64 = 0x7fff_0000;

    fn jump(from: u64, to: u64) -> Result<[u8; 5], Refusal> {
        x86_64::jmp(from, to)
    }

    fn call(from: u64, to: u64) -> Result<[u8; 5], Refusal> {
        x86_64::call(from, to)
    }

    fn is_switch(insn: x86_64::Insn) -> bool {
        use x86_64::Insn;
        matches!(insn, Insn::Nop { .. } | Insn::Jmp { .. } | Insn::Call { .. })
    }

    fn veneer(_to: u64) -> Option<Veneer> {
        None
    }
}

impl Switch for Aarch64 {
    type Code = [u8; 4];
    const LEN: usize = 4;
    const NOP: [u8; 4] = aarch64::NOP;
    const REACH: u64 = 0x7ff_0000;

    fn jump(from: u64, to: u64) -> Result<[u8; 4], Refusal> {
        aarch64::b(from, to)
    }

    fn call(from: u64, to: u64) -> Result<[u8; 4], Refusal> {
        aarch64::bl(from, to)
    }

    fn is_switch(insn: aarch64::Insn) -> bool {
        use aarch64::Insn;
        matches!(insn, Insn::Nop { .. } | Insn::B { .. } | Insn::Bl { .. })
    }

    /// `LDR X16, .+16; BR X16`. X16 and X17 are the linker's (AAPCS64, "General-purpose Registers"), and a BR through them
    /// may lead to a BTI c as well as to a BTI j.
    fn veneer(to: u64) -> Option<Veneer> {
        Some(Veneer::new([0x5800_0090, 0xd61f_0200, 0xd420_0000, 0xd420_0000], to))
    }
}

impl Switch for Riscv64 {
    type Code = [u8; 4];
    const LEN: usize = 4;
    const NOP: [u8; 4] = riscv64::NOP;
    const REACH: u64 = 0xf_f000;

    fn jump(from: u64, to: u64) -> Result<[u8; 4], Refusal> {
        riscv64::jal(riscv64::ZERO, from, to)
    }

    fn call(from: u64, to: u64) -> Result<[u8; 4], Refusal> {
        riscv64::jal(riscv64::RA, from, to)
    }

    fn is_switch(insn: riscv64::Insn) -> bool {
        use riscv64::Insn;
        matches!(insn, Insn::Nop { .. } | Insn::Jump { .. })
    }

    /// `AUIPC t1, 0; LD t1, 16(t1); JR t1`. t1 is a temporary that entries of a procedure linkage table change (psABI,
    /// "Program Linkage Table").
    fn veneer(to: u64) -> Option<Veneer> {
        Some(Veneer::new([0x0000_0317, 0x0103_3303, 0x0003_0067, 0x0010_0073], to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms<I: Switch>() {
        let at = 0x40_0000;
        for code in [I::NOP, I::jump(at, at + 0x100).unwrap(), I::call(at, at + 0x100).unwrap()] {
            assert_eq!(code.as_ref().len(), I::LEN);
            assert!(I::is_switch(I::decode(at, code.as_ref()).unwrap()), "{code:x?}");
        }
        for to in [at + I::REACH, at.wrapping_sub(I::REACH)] {
            assert!(I::jump(at, to).is_ok() && I::call(at, to).is_ok());
        }
        let beyond = at + 2 * I::REACH + 0x4_0000;
        assert_eq!(I::jump(at, beyond), Err(Refusal::OutOfRange { from: at, to: beyond }));
    }

    #[test]
    fn every_instruction_set_has_three_forms_of_one_length() {
        forms::<X86_64>();
        forms::<Aarch64>();
        forms::<Riscv64>();
    }

    #[test]
    fn veneers_hold_their_target_behind_the_code() {
        for veneer in [Aarch64::veneer(0x1234_5678_9abc), Riscv64::veneer(0x1234_5678_9abc)] {
            assert_eq!(veneer.unwrap().bytes[16..], 0x1234_5678_9abc_u64.to_le_bytes());
        }
        assert_eq!(X86_64::veneer(1), None);
    }
}
