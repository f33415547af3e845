//! The instructions that textpoke writes (Unprivileged ISA, "RV32I", "RV64I", "C").

use super::{Cond, ZERO};
use crate::isa::Reg;
use crate::refusal::Refusal;

/// NOP, which is ADDI to x0.
pub const NOP: [u8; 4] = word(0x0000_0013);
/// C.NOP.
pub const C_NOP: [u8; 2] = 0x0001_u16.to_le_bytes();
/// EBREAK.
pub const EBREAK: [u8; 4] = word(0x0010_0073);
/// C.EBREAK.
pub const C_EBREAK: [u8; 2] = 0x9002_u16.to_le_bytes();

/// An instruction as it stands in memory: parcels of 16 bits, each little-endian, the lowest first ("Base
/// Instruction-Length Encoding").
const fn word(insn: u32) -> [u8; 4] {
    insn.to_le_bytes()
}

/// `JAL` at `from` to `to`; `link` gets the return address, x0 makes it a plain jump. Refused beyond −1 MiB to
/// +1 MiB − 2, or unless both are even.
pub fn jal(link: Reg, from: u64, to: u64) -> Result<[u8; 4], Refusal> {
    let d = offset(from, to, 21)?;
    let field = (d & 0x10_0000) << 11 | (d & 0x7fe) << 20 | (d & 0x800) << 9 | (d & 0xf_f000);
    Ok(word(0x6f | link.put(7) | field))
}

/// `JALR` to `offset` (−2048 to 2047) bytes behind what `base` holds.
pub fn jalr(link: Reg, base: Reg, offset: i16) -> Result<[u8; 4], Refusal> {
    Ok(word(0x67 | link.put(7) | base.put(15) | imm12(offset)?))
}

/// `AUIPC`: the register becomes the instruction's address and `distance`. Refused unless `distance` is a multiple of
/// 4096, or if the register is x0, for that is LPAD.
pub fn auipc(reg: Reg, distance: i32) -> Result<[u8; 4], Refusal> {
    if reg == ZERO {
        return Err(Refusal::Operand { value: 0 });
    }
    Ok(word(0x17 | reg.put(7) | imm20(distance)?))
}

/// `LUI`: the register becomes `value`, sign-extended. Refused unless `value` is a multiple of 4096.
pub fn lui(reg: Reg, value: i32) -> Result<[u8; 4], Refusal> {
    Ok(word(0x37 | reg.put(7) | imm20(value)?))
}

/// `ADDI` with −2048 to 2047.
pub fn addi(reg: Reg, base: Reg, imm: i16) -> Result<[u8; 4], Refusal> {
    Ok(word(0x13 | reg.put(7) | base.put(15) | imm12(imm)?))
}

/// `AUIPC` at `from` and `JALR` behind it, which together reach `to` through the register `by` (not x0).
///
/// JALR's offset is signed, so that AUIPC is rounded to the nearest 4 KiB, and everything is shifted by half of that:
/// refused beyond −2 GiB − 2 KiB to +2 GiB − 2 KiB − 2, or unless both are even.
pub fn far(link: Reg, by: Reg, from: u64, to: u64) -> Result<[[u8; 4]; 2], Refusal> {
    even(from)?;
    even(to)?;
    let distance = to.wrapping_sub(from) as i64;
    let rounded = distance.checked_add(0x800).map(|d| d & !0xfff).and_then(|d| i32::try_from(d).ok());
    let upper = rounded.ok_or(Refusal::OutOfRange { from, to })?;
    Ok([auipc(by, upper)?, jalr(link, by, (distance - i64::from(upper)) as i16)?])
}

/// A conditional branch at `from` to `to`. Refused beyond −4 KiB to +4 KiB − 2, or unless both are even.
pub fn branch(cond: Cond, a: Reg, b: Reg, from: u64, to: u64) -> Result<[u8; 4], Refusal> {
    let d = offset(from, to, 13)?;
    let field = (d & 0x1000) << 19 | (d & 0x7e0) << 20 | (d & 0x1e) << 7 | (d & 0x800) >> 4;
    Ok(word(0x63 | cond.funct3() << 12 | a.put(15) | b.put(20) | field))
}

/// `C.J` at `from` to `to`. Refused beyond −2 KiB to +2 KiB − 2, or unless both are even.
pub fn c_j(from: u64, to: u64) -> Result<[u8; 2], Refusal> {
    let d = offset(from, to, 12)?;
    let upper = (d & 0x800) << 1 | (d & 0x10) << 7 | (d & 0x300) << 1 | (d & 0x400) >> 2;
    let lower = (d & 0x40) << 1 | (d & 0x80) >> 1 | (d & 0xe) << 2 | (d & 0x20) >> 3;
    Ok(((0xa001 | upper | lower) as u16).to_le_bytes())
}

/// The distance in bytes, if it is even and `bits` bits can hold it, sign included.
fn offset(from: u64, to: u64, bits: u32) -> Result<u32, Refusal> {
    even(from)?;
    even(to)?;
    let (distance, half) = (to.wrapping_sub(from) as i64, 1 << (bits - 1));
    if (-half..half).contains(&distance) { Ok(distance as u32) } else { Err(Refusal::OutOfRange { from, to }) }
}

fn even(addr: u64) -> Result<(), Refusal> {
    if addr.is_multiple_of(2) { Ok(()) } else { Err(Refusal::Misaligned { addr, align: 2 }) }
}

fn imm12(imm: i16) -> Result<u32, Refusal> {
    if (-2048..2048).contains(&imm) {
        Ok((i32::from(imm) as u32) << 20)
    } else {
        Err(Refusal::Operand { value: imm.into() })
    }
}

fn imm20(value: i32) -> Result<u32, Refusal> {
    if value & 0xfff == 0 { Ok(value as u32) } else { Err(Refusal::Operand { value: value.into() }) }
}
