//! The instructions that a trap handler can act as (Arm ARM DDI 0487, C6.2).
//!
//! Some that look harmless are not among them:
//!
//! - BTI is what a guarded page checks indirect branches against, and a trap in its place drops the check. Sites begin
//!   behind it. Of the other hints, some wait or wake, some sign or strip pointers, and those without a meaning yet may
//!   get one.
//! - PACIASP, AUTIASP and the branches that authenticate need a key that a handler does not have.
//! - LDR of a literal reads memory.
//!
//! Whoever makes a thread go on behind or elsewhere than at the trap clears PSTATE.BTYPE, as executing any of these does
//! and as Linux does when it skips an instruction (`arm64_skip_faulting_instruction`).

use super::Width;
use crate::isa::{Aarch64, Isa, Reg};

/// An instruction with its addresses worked out. Register number 31 is the zero register throughout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insn {
    /// NOP, which is HINT #0; no other hint.
    Nop {
        /// Address behind it.
        next: u64,
    },
    /// B.
    B {
        /// Where to.
        target: u64,
    },
    /// BL.
    Bl {
        /// Where to.
        target: u64,
        /// Address behind it.
        next: u64,
    },
    /// B.cond.
    BCond {
        /// The condition.
        cond: Cond,
        /// Where to if it holds.
        target: u64,
        /// Where to if not.
        next: u64,
    },
    /// CBZ or CBNZ.
    Cb {
        /// The register that is compared with zero.
        reg: Reg,
        /// How much of it is compared.
        width: Width,
        /// CBNZ.
        nonzero: bool,
        /// Where to if it branches.
        target: u64,
        /// Where to if not.
        next: u64,
    },
    /// TBZ or TBNZ.
    Tb {
        /// The register that is looked at.
        reg: Reg,
        /// Which bit, 0 to 63.
        bit: u8,
        /// TBNZ.
        set: bool,
        /// Where to if it branches.
        target: u64,
        /// Where to if not.
        next: u64,
    },
    /// BR.
    Br {
        /// The register with the address.
        reg: Reg,
    },
    /// RET.
    Ret {
        /// The register with the address.
        reg: Reg,
    },
    /// BLR.
    Blr {
        /// The register with the address.
        reg: Reg,
        /// Address behind it.
        next: u64,
    },
    /// MOV of a register: ORR with the zero register and no shift.
    MovReg {
        /// Register to write.
        reg: Reg,
        /// Register to read.
        from: Reg,
        /// How much of it is moved; zeros go above.
        width: Width,
        /// Address behind it.
        next: u64,
    },
    /// MOVZ, MOVN, ADR, ADRP: a value that depends on nothing but the address.
    Const {
        /// Register to write.
        reg: Reg,
        /// What all 64 bits become.
        value: u64,
        /// Address behind it.
        next: u64,
    },
    /// MOVK.
    MovKeep {
        /// Register to change.
        reg: Reg,
        /// The new 16 bits.
        imm: u16,
        /// Where they go: 0, 16, 32 or 48 bits from the right.
        shift: u8,
        /// How much of the register is kept; zeros go above.
        width: Width,
        /// Address behind it.
        next: u64,
    },
}

/// A condition code, 0 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cond(u8);

impl Cond {
    /// The condition with this encoding; `None` above 15.
    pub const fn new(code: u8) -> Option<Self> {
        if code < 16 { Some(Self(code)) } else { None }
    }

    /// The encoding.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// Evaluates the condition on PSTATE as it is saved, with N, Z, C, V in bits 31 to 28 (Arm ARM DDI 0487, "Condition code").
    pub const fn holds(self, flags: u64) -> bool {
        let (n, z) = (flags >> 31 & 1 != 0, flags >> 30 & 1 != 0);
        let (c, v) = (flags >> 29 & 1 != 0, flags >> 28 & 1 != 0);
        let plain = match self.0 >> 1 {
            0 => z,
            1 => c,
            2 => n,
            3 => v,
            4 => c && !z,
            5 => n == v,
            6 => n == v && !z,
            // AL, and NV which means the same.
            _ => return true,
        };
        plain != (self.0 & 1 == 1)
    }
}

/// Decodes the one instruction that fills `bytes`.
///
/// An instruction that never falls through (B, BR, RET) may be shorter when our BRK fills the rest.
pub(super) fn decode(addr: u64, bytes: &[u8]) -> Option<Insn> {
    let (first, rest) = bytes.split_first_chunk::<4>()?;
    let insn = one(addr, u32::from_le_bytes(*first))?;
    let stays = matches!(insn, Insn::B { .. } | Insn::Br { .. } | Insn::Ret { .. });
    (rest.is_empty() || (stays && rest.chunks(4).all(|w| w == Aarch64::TRAP))).then_some(insn)
}

fn one(addr: u64, insn: u32) -> Option<Insn> {
    if !addr.is_multiple_of(4) {
        return None;
    }
    let next = addr.wrapping_add(4);
    let reg = Reg::take(insn, 0);
    let width = if insn >> 31 == 1 { Width::X } else { Width::W };
    // The signed field of `bits` bits from bit `low` on, in words.
    let target = |low: u32, bits: u32| addr.wrapping_add_signed(signed(insn >> low, bits) << 2);
    Some(match insn >> 24 {
        _ if insn == 0xd503_201f => Insn::Nop { next },
        0x14..=0x17 => Insn::B { target: target(0, 26) },
        0x94..=0x97 => Insn::Bl { target: target(0, 26), next },
        // With bit 4 it is BC.cond, which CPUs without FEAT_HBC do not know.
        0x54 if insn & 0x10 == 0 => Insn::BCond { cond: Cond((insn & 15) as u8), target: target(5, 19), next },
        op @ (0x34 | 0x35 | 0xb4 | 0xb5) => Insn::Cb { reg, width, nonzero: op & 1 == 1, target: target(5, 19), next },
        op @ (0x36 | 0x37 | 0xb6 | 0xb7) => {
            let bit = (insn >> 31 << 5 | insn >> 19 & 31) as u8;
            Insn::Tb { reg, bit, set: op & 1 == 1, target: target(5, 14), next }
        }
        // No authentication, so that bits 11 and 10 and the lowest register field are zero.
        0xd6 if insn & 0xffff_fc1f == 0xd61f_0000 => Insn::Br { reg: Reg::take(insn, 5) },
        0xd6 if insn & 0xffff_fc1f == 0xd63f_0000 => Insn::Blr { reg: Reg::take(insn, 5), next },
        0xd6 if insn & 0xffff_fc1f == 0xd65f_0000 => Insn::Ret { reg: Reg::take(insn, 5) },
        0x2a | 0xaa if insn & 0x7fe0_ffe0 == 0x2a00_03e0 => {
            Insn::MovReg { reg, from: Reg::take(insn, 16), width, next }
        }
        0x12 | 0x52 | 0x72 | 0x92 | 0xd2 | 0xf2 if insn >> 23 & 1 == 1 => move_wide(insn, reg, width, next)?,
        0x10 | 0x30 | 0x50 | 0x70 => Insn::Const { reg, value: addr.wrapping_add_signed(page_or_byte(insn)), next },
        0x90 | 0xb0 | 0xd0 | 0xf0 => {
            Insn::Const { reg, value: (addr & !0xfff).wrapping_add_signed(page_or_byte(insn) << 12), next }
        }
        _ => return None,
    })
}

/// The lowest `bits` bits as a signed number.
fn signed(field: u32, bits: u32) -> i64 {
    i64::from((field << (32 - bits)) as i32 >> (32 - bits))
}

/// The immediate of ADR and ADRP: two low bits far left, 19 high ones.
fn page_or_byte(insn: u32) -> i64 {
    signed(insn >> 5, 19) << 2 | i64::from(insn >> 29 & 3)
}

/// MOVN, MOVZ, MOVK: bits 30 and 29 tell which; W registers have no shift by 32 or 48.
fn move_wide(insn: u32, reg: Reg, width: Width, next: u64) -> Option<Insn> {
    let imm = (insn >> 5 & 0xffff) as u16;
    let shift = (insn >> 21 & 3) as u8 * 16;
    if width == Width::W && shift > 16 {
        return None;
    }
    let value = u64::from(imm) << shift;
    Some(match insn >> 29 & 3 {
        0 => Insn::Const { reg, value: width.of(!value), next },
        2 => Insn::Const { reg, value, next },
        3 => Insn::MovKeep { reg, imm, shift, width, next },
        _ => return None,
    })
}
