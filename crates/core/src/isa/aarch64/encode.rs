//! The instructions that textpoke writes (Arm ARM DDI 0487, C6.2).

use super::{Cond, Width, word};
use crate::isa::Reg;
use crate::refusal::Refusal;

/// NOP.
pub const NOP: [u8; 4] = word(0xd503_201f);

/// `B` at `from` to `to`. Refused beyond −128 MiB to +128 MiB − 4, or unless both are multiples of 4.
pub fn b(from: u64, to: u64) -> Result<[u8; 4], Refusal> {
    Ok(word(0x1400_0000 | offset::<26>(from, to)?))
}

/// `BL` at `from` to `to`. Reaches as far as [`b`].
pub fn bl(from: u64, to: u64) -> Result<[u8; 4], Refusal> {
    Ok(word(0x9400_0000 | offset::<26>(from, to)?))
}

/// `B.cond` at `from` to `to`. Refused beyond −1 MiB to +1 MiB − 4, or unless both are multiples of 4.
pub fn b_cond(cond: Cond, from: u64, to: u64) -> Result<[u8; 4], Refusal> {
    Ok(word(0x5400_0000 | offset::<19>(from, to)? << 5 | cond.code() as u32))
}

/// `CBZ` at `from` to `to`. Reaches as far as [`b_cond`].
pub fn cbz(width: Width, reg: Reg, from: u64, to: u64) -> Result<[u8; 4], Refusal> {
    Ok(word(0x3400_0000 | width.bit() | offset::<19>(from, to)? << 5 | reg.put(0)))
}

/// `CBNZ` at `from` to `to`. Reaches as far as [`b_cond`].
pub fn cbnz(width: Width, reg: Reg, from: u64, to: u64) -> Result<[u8; 4], Refusal> {
    Ok(word(0x3500_0000 | width.bit() | offset::<19>(from, to)? << 5 | reg.put(0)))
}

/// `TBZ` at `from` to `to` by bit `bit` (0 to 63). Refused beyond −32 KiB to +32 KiB − 4, or unless both are multiples
/// of 4.
pub fn tbz(reg: Reg, bit: u8, from: u64, to: u64) -> Result<[u8; 4], Refusal> {
    Ok(word(0x3600_0000 | test(reg, bit, from, to)?))
}

/// `TBNZ` at `from` to `to` by bit `bit` (0 to 63). Reaches as far as [`tbz`].
pub fn tbnz(reg: Reg, bit: u8, from: u64, to: u64) -> Result<[u8; 4], Refusal> {
    Ok(word(0x3700_0000 | test(reg, bit, from, to)?))
}

fn test(reg: Reg, bit: u8, from: u64, to: u64) -> Result<u32, Refusal> {
    if bit > 63 {
        return Err(Refusal::Operand { value: bit.into() });
    }
    let bit = u32::from(bit);
    Ok(bit >> 5 << 31 | (bit & 31) << 19 | offset::<14>(from, to)? << 5 | reg.put(0))
}

/// `ADR` at `from`: the register becomes `to`. Refused beyond −1 MiB to +1 MiB − 1, or unless `from` is a multiple of 4.
pub fn adr(reg: Reg, from: u64, to: u64) -> Result<[u8; 4], Refusal> {
    aligned(from)?;
    let distance = to.wrapping_sub(from) as i64;
    Ok(word(0x1000_0000 | pieces(distance).ok_or(Refusal::OutOfRange { from, to })? | reg.put(0)))
}

/// `ADRP` at `from`: the register becomes the start of the 4 KiB page that `to` is in. Refused if that page is beyond
/// −4 GiB to +4 GiB − 4 KiB of the one that `from` is in, or unless `from` is a multiple of 4.
pub fn adrp(reg: Reg, from: u64, to: u64) -> Result<[u8; 4], Refusal> {
    aligned(from)?;
    let pages = (to & !0xfff).wrapping_sub(from & !0xfff) as i64 >> 12;
    Ok(word(0x9000_0000 | pieces(pages).ok_or(Refusal::OutOfRange { from, to })? | reg.put(0)))
}

/// The immediate of ADR and ADRP, 21 signed bits: the two low ones far left.
fn pieces(value: i64) -> Option<u32> {
    let field = field::<21>(value)?;
    Some((field & 3) << 29 | field >> 2 << 5)
}

/// `MOV` from a register: ORR with the zero register.
pub fn mov_reg(width: Width, reg: Reg, from: Reg) -> [u8; 4] {
    word(0x2a00_03e0 | width.bit() | from.put(16) | reg.put(0))
}

/// `MOVZ`: the register becomes `imm`, `shift` bits to the left. Refused unless `shift` is 0 or 16, or for an X register
/// 32 or 48.
pub fn movz(width: Width, reg: Reg, imm: u16, shift: u8) -> Result<[u8; 4], Refusal> {
    move_wide(0x5280_0000, width, reg, imm, shift)
}

/// `MOVN`: like [`movz`], with every bit inverted.
pub fn movn(width: Width, reg: Reg, imm: u16, shift: u8) -> Result<[u8; 4], Refusal> {
    move_wide(0x1280_0000, width, reg, imm, shift)
}

/// `MOVK`: like [`movz`], but the other bits of the register stay.
pub fn movk(width: Width, reg: Reg, imm: u16, shift: u8) -> Result<[u8; 4], Refusal> {
    move_wide(0x7280_0000, width, reg, imm, shift)
}

fn move_wide(opcode: u32, width: Width, reg: Reg, imm: u16, shift: u8) -> Result<[u8; 4], Refusal> {
    let most = if width == Width::X { 48 } else { 16 };
    if shift > most || !shift.is_multiple_of(16) {
        return Err(Refusal::Operand { value: shift.into() });
    }
    Ok(word(opcode | width.bit() | u32::from(shift / 16) << 21 | u32::from(imm) << 5 | reg.put(0)))
}

/// `BRK`.
pub const fn brk(imm: u16) -> [u8; 4] {
    word(0xd420_0000 | (imm as u32) << 5)
}

/// `BR`.
pub const fn br(reg: Reg) -> [u8; 4] {
    word(0xd61f_0000 | reg.put(5))
}

/// `BLR`.
pub const fn blr(reg: Reg) -> [u8; 4] {
    word(0xd63f_0000 | reg.put(5))
}

/// `RET`.
pub const fn ret(reg: Reg) -> [u8; 4] {
    word(0xd65f_0000 | reg.put(5))
}

/// The distance in words as a field of `BITS` signed bits.
fn offset<const BITS: u32>(from: u64, to: u64) -> Result<u32, Refusal> {
    aligned(from)?;
    aligned(to)?;
    field::<BITS>(to.wrapping_sub(from) as i64 >> 2).ok_or(Refusal::OutOfRange { from, to })
}

/// The lowest `BITS` bits of a number that they can hold, sign included.
fn field<const BITS: u32>(value: i64) -> Option<u32> {
    let half = 1 << (BITS - 1);
    (-half..half).contains(&value).then_some(value as u32 & ((1 << BITS) - 1))
}

fn aligned(addr: u64) -> Result<(), Refusal> {
    if addr.is_multiple_of(4) { Ok(()) } else { Err(Refusal::Misaligned { addr, align: 4 }) }
}
