//! The instructions that a trap handler can act as (Arm ARM DDI 0487, C4.1 and C6.2).

use crate::isa::{Aarch64, Isa};

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
        reg: u8,
        /// All 64 bits of it, or the lower 32.
        wide: bool,
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
        reg: u8,
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
        reg: u8,
    },
    /// RET.
    Ret {
        /// The register with the address.
        reg: u8,
    },
    /// BLR.
    Blr {
        /// The register with the address.
        reg: u8,
        /// Address behind it.
        next: u64,
    },
    /// MOV of a register: ORR with the zero register and no shift.
    MovReg {
        /// Register to write.
        reg: u8,
        /// Register to read.
        from: u8,
        /// All 64 bits, or the lower 32 and zeros.
        wide: bool,
        /// Address behind it.
        next: u64,
    },
    /// MOVZ, MOVN, ADR, ADRP: a value that depends on nothing but the address.
    Const {
        /// Register to write.
        reg: u8,
        /// What all 64 bits become.
        value: u64,
        /// Address behind it.
        next: u64,
    },
    /// MOVK.
    MovKeep {
        /// Register to change.
        reg: u8,
        /// The new 16 bits.
        imm: u16,
        /// Where they go: 0, 16, 32 or 48 bits from the right.
        shift: u8,
        /// All 64 bits, or the lower 32 and zeros.
        wide: bool,
        /// Address behind it.
        next: u64,
    },
}

/// A condition code, 0 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cond(pub(super) u8);

impl Cond {
    /// The condition with this encoding; `None` above 15.
    pub const fn new(code: u8) -> Option<Self> {
        if code < 16 { Some(Self(code)) } else { None }
    }

    /// Evaluates the condition on PSTATE as it is saved, with N, Z, C, V in bits 31 to 28 (C1.2.4).
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
    let reg = (insn & 31) as u8;
    let second = (insn >> 5 & 31) as u8;
    let wide = insn >> 31 == 1;
    // The signed field of `bits` bits from bit `low` on, in words.
    let target = |low: u32, bits: u32| addr.wrapping_add_signed(signed(insn >> low, bits) << 2);
    Some(match insn >> 24 {
        _ if insn == 0xd503_201f => Insn::Nop { next },
        0x14..=0x17 => Insn::B { target: target(0, 26) },
        0x94..=0x97 => Insn::Bl { target: target(0, 26), next },
        // Bit 4 makes it BC.cond, a hint to the predictor of later architectures: refused.
        0x54 if insn & 0x10 == 0 => Insn::BCond { cond: Cond((insn & 15) as u8), target: target(5, 19), next },
        op @ (0x34 | 0x35 | 0xb4 | 0xb5) => Insn::Cb { reg, wide, nonzero: op & 1 == 1, target: target(5, 19), next },
        op @ (0x36 | 0x37 | 0xb6 | 0xb7) => {
            let bit = (insn >> 31 << 5 | insn >> 19 & 31) as u8;
            Insn::Tb { reg, bit, set: op & 1 == 1, target: target(5, 14), next }
        }
        // No authentication, so that bits 11 and 10 and the lowest register field are zero.
        0xd6 if insn & 0xffff_fc1f == 0xd61f_0000 => Insn::Br { reg: second },
        0xd6 if insn & 0xffff_fc1f == 0xd63f_0000 => Insn::Blr { reg: second, next },
        0xd6 if insn & 0xffff_fc1f == 0xd65f_0000 => Insn::Ret { reg: second },
        0x2a | 0xaa if insn & 0x7fe0_ffe0 == 0x2a00_03e0 => {
            Insn::MovReg { reg, from: (insn >> 16 & 31) as u8, wide, next }
        }
        0x12 | 0x52 | 0x72 | 0x92 | 0xd2 | 0xf2 if insn >> 23 & 1 == 1 => move_wide(insn, reg, wide, next)?,
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
fn move_wide(insn: u32, reg: u8, wide: bool, next: u64) -> Option<Insn> {
    let imm = (insn >> 5 & 0xffff) as u16;
    let shift = (insn >> 21 & 3) as u8 * 16;
    if !wide && shift > 16 {
        return None;
    }
    let value = u64::from(imm) << shift;
    Some(match insn >> 29 & 3 {
        0 => Insn::Const { reg, value: super::narrow(!value, wide), next },
        2 => Insn::Const { reg, value, next },
        3 => Insn::MovKeep { reg, imm, shift, wide, next },
        _ => return None,
    })
}
