//! The copy of the displaced instruction.
//!
//! It uses no register but the one that the instruction writes itself: the address of a literal goes where the literal
//! goes, and a call's return address into X30. A conditional branch whose target is too far hops over a B.

use textpoke_core::Refusal;
use textpoke_core::isa::Reg;
use textpoke_core::isa::aarch64::{LR, NOP, Width, adr, adrp, b, movk, movz, word};

use super::decode::{Load, Relative, Word};
use super::{Aarch64, movable};
use crate::isa::{Arch as _, Flow, Insn};
use crate::reason::Reason;
use crate::relocate::{Copy, Relocated};
use crate::site::{Ends, Site};

pub(super) fn relocate(site: &Site, origin: u64, dest: u64) -> Result<Relocated, Reason> {
    let mut copy = Copy::new(dest);
    for insn in Aarch64::decoder(site.code(), origin) {
        movable::movable(&insn)?;
        copy.begin((insn.ip - origin) as usize)?;
        one(&mut copy, &insn)?;
    }
    if site.ends == Ends::FallsThrough {
        jump(&mut copy, origin.wrapping_add(site.code().len() as u64))?;
    }
    Ok(copy.done())
}

fn one(copy: &mut Copy, insn: &Insn<Word>) -> Result<(), Reason> {
    let raw = insn.raw;
    match insn.flow {
        Flow::Jump(to) => jump(copy, to),
        Flow::Branch(to) => branch(copy, raw, to),
        Flow::Call(to) => {
            address(copy, LR, insn.next_ip())?;
            jump(copy, to)
        }
        Flow::CallIndirect => {
            address(copy, LR, insn.next_ip())?;
            // BLR and its authenticating forms without bit 21 are BR and its forms.
            copy.put(word(raw.0 & !(1 << 21)));
            Ok(())
        }
        _ => match raw.relative(insn.ip) {
            None => {
                copy.put(word(raw.0));
                Ok(())
            }
            Some(Relative::Adr { rd, to }) => value(copy, rd, to),
            Some(Relative::Adrp { rd, page }) => value(copy, rd, page),
            Some(Relative::Literal { load, rt, at }) => literal(copy, raw, load, rt, at),
        },
    }
}

fn far<T>(encoded: Result<T, Refusal>) -> Result<T, Reason> {
    encoded.map_err(|_| Reason::OutOfRange)
}

fn jump(copy: &mut Copy, to: u64) -> Result<(), Reason> {
    let insn = far(b(copy.here(), to))?;
    copy.put(insn);
    Ok(())
}

/// The branch itself where it reaches, else over a B around a B. Nothing is inverted, because AL has no inverse.
fn branch(copy: &mut Copy, raw: Word, to: u64) -> Result<(), Reason> {
    // The field begins at bit 5 in all of them; TBZ and TBNZ have five bits fewer.
    let bits = if raw.is(0x7e00_0000, 0x3600_0000) { 14 } else { 19 };
    let with = |words: i64| {
        let half = 1i64 << (bits - 1);
        let field = ((1u32 << bits) - 1) << 5;
        (-half..half).contains(&words).then(|| word(raw.0 & !field | (words as u32) << 5 & field))
    };
    let distance = to.wrapping_sub(copy.here()).cast_signed();
    if let Some(near) = with(distance >> 2) {
        copy.put(near);
        return Ok(());
    }
    copy.put(with(2).ok_or(Reason::OutOfRange)?);
    jump(copy, copy.here().wrapping_add(8))?;
    jump(copy, to)
}

/// Makes an address, or what else ADR or ADRP would have made; in register 31 it would vanish.
fn value(copy: &mut Copy, rd: u8, to: u64) -> Result<(), Reason> {
    match Reg::new(rd).filter(|_| rd != 31) {
        Some(reg) => address(copy, reg, to),
        None => {
            copy.put(NOP);
            Ok(())
        }
    }
}

/// One instruction where it reaches, else two, else four that need no reach at all.
fn address(copy: &mut Copy, reg: Reg, to: u64) -> Result<(), Reason> {
    let here = copy.here();
    if let Ok(near) = adr(reg, here, to) {
        copy.put(near);
    } else if let Ok(page) = adrp(reg, here, to) {
        copy.put(page);
        copy.put(add(reg, (to & 0xfff) as u32));
    } else {
        copy.put(far(movz(Width::X, reg, to as u16, 0))?);
        for shift in [16, 32, 48] {
            copy.put(far(movk(Width::X, reg, (to >> shift) as u16, shift))?);
        }
    }
    Ok(())
}

/// ADD of 0 to 4095 to a register.
fn add(reg: Reg, imm: u32) -> [u8; 4] {
    let n = u32::from(reg.number());
    word(0x9100_0000 | imm << 10 | n << 5 | n)
}

/// The load itself where it reaches. Else, of a general register, from an address that is made in it; a hint is left
/// out; a vector has no address of its own.
fn literal(copy: &mut Copy, raw: Word, load: Load, rt: u8, at: u64) -> Result<(), Reason> {
    let words = at.wrapping_sub(copy.here()).cast_signed() >> 2;
    if (-(1 << 18)..1 << 18).contains(&words) {
        copy.put(word(raw.0 & !(0x7_ffff << 5) | (words as u32 & 0x7_ffff) << 5));
        return Ok(());
    }
    // From [rt] to rt.
    let n = u32::from(rt) << 5 | u32::from(rt);
    let opcode = match load {
        Load::W => 0xb940_0000,
        Load::X => 0xf940_0000,
        Load::Signed => 0xb980_0000,
        Load::Prefetch => {
            copy.put(NOP);
            return Ok(());
        }
        Load::Vector(_) => return Err(Reason::OutOfRange),
    };
    // A load to the zero register is there for the access alone.
    let reg = Reg::new(rt).filter(|_| rt != 31).ok_or(Reason::OutOfRange)?;
    address(copy, reg, at)?;
    copy.put(word(opcode | n));
    Ok(())
}
