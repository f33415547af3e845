//! The instructions that a breakpoint handler can act as (SDM vol. 2; AMD APM vol. 3).

/// An instruction with its addresses worked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insn {
    /// One NOP of any length.
    Nop {
        /// Address behind it.
        next: u64,
    },
    /// JMP rel8 or rel32.
    Jmp {
        /// Where to.
        target: u64,
    },
    /// CALL rel32.
    Call {
        /// Where to.
        target: u64,
        /// Address behind it.
        next: u64,
    },
    /// RET, with or without an immediate.
    Ret {
        /// Bytes to drop behind the return address.
        extra: u16,
    },
    /// Jcc rel8 or rel32.
    Jcc {
        /// The condition.
        cond: Cond,
        /// Where to if it holds.
        target: u64,
        /// Where to if not.
        next: u64,
    },
    /// MOV of an immediate to a 32- or 64-bit register.
    MovImm {
        /// Register number, 0 (RAX) to 15 (R15).
        reg: u8,
        /// What all 64 bits become.
        value: u64,
        /// Address behind it.
        next: u64,
    },
}

/// A condition code: the low four bits of a Jcc opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cond(u8);

impl Cond {
    /// Evaluates the condition on RFLAGS (SDM vol. 1, appendix B).
    pub const fn holds(self, flags: u64) -> bool {
        let (cf, pf, zf) = (flags & 1 != 0, flags >> 2 & 1 != 0, flags >> 6 & 1 != 0);
        let (sf, of) = (flags >> 7 & 1 != 0, flags >> 11 & 1 != 0);
        let plain = match self.0 >> 1 {
            0 => of,
            1 => cf,
            2 => zf,
            3 => cf || zf,
            4 => sf,
            5 => pf,
            6 => sf != of,
            _ => zf || sf != of,
        };
        plain != (self.0 & 1 == 1)
    }
}

/// Decodes the one instruction that fills `bytes`.
///
/// An instruction that never falls through (JMP, RET) may be shorter when INT3 fills the rest.
pub(super) fn decode(addr: u64, bytes: &[u8]) -> Option<Insn> {
    let (insn, len) = prefix(addr, bytes)?;
    let rest = bytes.get(len..)?;
    let stays = matches!(insn, Insn::Jmp { .. } | Insn::Ret { .. });
    (rest.is_empty() || (stays && rest.iter().all(|&b| b == 0xcc))).then_some(insn)
}

fn prefix(addr: u64, bytes: &[u8]) -> Option<(Insn, usize)> {
    let next = |len: usize| addr.wrapping_add(len as u64);
    let rel8 = |at: usize| bytes.get(at).map(|&b| next(at + 1).wrapping_add_signed(i64::from(b as i8)));
    let imm32 = |at: usize| Some(i32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let rel32 = |at: usize| imm32(at).map(|d| next(at + 4).wrapping_add_signed(i64::from(d)));
    Some(match *bytes {
        [0xe9, ..] => (Insn::Jmp { target: rel32(1)? }, 5),
        [0xeb, ..] => (Insn::Jmp { target: rel8(1)? }, 2),
        [0xe8, ..] => (Insn::Call { target: rel32(1)?, next: next(5) }, 5),
        [0xc3, ..] => (Insn::Ret { extra: 0 }, 1),
        [0xf2 | 0xf3, 0xc3, ..] => (Insn::Ret { extra: 0 }, 2),
        [0xc2, lo, hi, ..] => (Insn::Ret { extra: u16::from_le_bytes([lo, hi]) }, 3),
        [op @ 0x70..=0x7f, ..] => (Insn::Jcc { cond: Cond(op & 15), target: rel8(1)?, next: next(2) }, 2),
        [0x0f, op @ 0x80..=0x8f, ..] => (Insn::Jcc { cond: Cond(op & 15), target: rel32(2)?, next: next(6) }, 6),
        [op @ 0xb8..=0xbf, ..] => (mov32(op & 7, imm32(1)?, next(5)), 5),
        [0x41, op @ 0xb8..=0xbf, ..] => (mov32(8 | op & 7, imm32(2)?, next(6)), 6),
        [rex @ (0x48 | 0x49), 0xc7, modrm @ 0xc0..=0xc7, ..] => {
            let value = i64::from(imm32(3)?) as u64;
            (Insn::MovImm { reg: (rex & 1) << 3 | modrm & 7, value, next: next(7) }, 7)
        }
        _ => {
            let len = nop_len(bytes)?;
            (Insn::Nop { next: next(len) }, len)
        }
    })
}

/// A 32-bit move clears the upper half (SDM vol. 1, 3.4.1.1).
fn mov32(reg: u8, imm: i32, next: u64) -> Insn {
    Insn::MovImm { reg, value: u64::from(imm as u32), next }
}

/// Length of the NOP at the start of `bytes`: `90`, or `0F 1F /0` with any memory operand, each with any number of 66.
fn nop_len(bytes: &[u8]) -> Option<usize> {
    let prefixes = bytes.iter().take_while(|&&b| b == 0x66).count();
    let operand = match *bytes.get(prefixes..)? {
        [0x90, ..] => 1,
        [0x0f, 0x1f, modrm, ref rest @ ..] if modrm >> 3 & 7 == 0 && modrm < 0xc0 => {
            let sib = usize::from(modrm & 7 == 4);
            let base = if sib == 1 { rest.first()? & 7 } else { modrm & 7 };
            let disp = match modrm >> 6 {
                0 if base == 5 => 4,
                0 => 0,
                1 => 1,
                _ => 4,
            };
            3 + sib + disp
        }
        _ => return None,
    };
    (prefixes + operand <= bytes.len()).then_some(prefixes + operand)
}

#[cfg(test)]
mod tests {
    use super::super::NOPS;
    use super::*;

    #[test]
    fn every_recommended_nop_is_one_instruction() {
        for (i, nop) in NOPS.iter().enumerate() {
            assert_eq!(decode(0x100, nop), Some(Insn::Nop { next: 0x101 + i as u64 }), "{nop:x?}");
        }
        assert_eq!(decode(0, &[0x90, 0x90]), None, "two NOPs are two instructions");
        assert_eq!(decode(0, &[0x0f, 0x1f, 0x48, 0]), None, "/1 is not the NOP that the manuals name");
        assert_eq!(decode(0, &[0x0f, 0x1f, 0xc0]), None, "register form");
    }

    #[test]
    fn branches_and_moves() {
        assert_eq!(decode(0x1000, &[0xe9, 0xfb, 0xff, 0xff, 0xff]), Some(Insn::Jmp { target: 0x1000 }));
        assert_eq!(decode(0x1000, &[0xeb, 0x7f]), Some(Insn::Jmp { target: 0x1081 }));
        assert_eq!(decode(0x1000, &[0xeb, 0x03, 0xcc, 0xcc, 0xcc]), Some(Insn::Jmp { target: 0x1005 }));
        assert_eq!(decode(0x1000, &[0xeb, 0x03, 0, 0, 0]), None);
        assert_eq!(decode(0x1000, &[0xe8, 0, 0, 0, 0]), Some(Insn::Call { target: 0x1005, next: 0x1005 }));
        assert_eq!(decode(0, &[0xc2, 8, 0]), Some(Insn::Ret { extra: 8 }));
        assert_eq!(decode(0, &[0xc3, 0xcc, 0xcc, 0xcc, 0xcc]), Some(Insn::Ret { extra: 0 }));
        assert_eq!(
            decode(0, &[0xb8, 0xff, 0xff, 0xff, 0xff]),
            Some(Insn::MovImm { reg: 0, value: 0xffff_ffff, next: 5 })
        );
        assert_eq!(
            decode(0, &[0x49, 0xc7, 0xc7, 0xff, 0xff, 0xff, 0xff]),
            Some(Insn::MovImm { reg: 15, value: u64::MAX, next: 7 })
        );
        assert_eq!(
            decode(0x1000, &[0x0f, 0x84, 0, 0, 0, 0]),
            Some(Insn::Jcc { cond: Cond(4), target: 0x1006, next: 0x1006 })
        );
        for cut in 1..5 {
            assert_eq!(decode(0, &[0xe9, 0, 0, 0, 0][..cut]), None);
        }
    }

    #[test]
    fn conditions_follow_the_flags() {
        const CF: u64 = 1;
        const ZF: u64 = 1 << 6;
        const SF: u64 = 1 << 7;
        const OF: u64 = 1 << 11;
        let holds = |cc: u8, flags| Cond(cc).holds(flags);
        assert!(holds(0x4, ZF) && !holds(0x5, ZF));
        assert!(holds(0x7, 0) && !holds(0x7, CF) && !holds(0x7, ZF));
        assert!(holds(0xc, SF) && holds(0xc, OF) && !holds(0xc, SF | OF));
        assert!(holds(0xf, SF | OF) && !holds(0xf, ZF) && !holds(0xf, SF));
        for cc in (0..16).step_by(2) {
            for flags in 0..1 << 12 {
                assert_ne!(holds(cc, flags), holds(cc + 1, flags));
            }
        }
    }
}
