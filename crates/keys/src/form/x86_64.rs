//! What stands at sites on x86-64.

use textpoke_core::isa::x86_64::{Insn, call, jmp};
use textpoke_core::isa::{Isa, X86_64};
use textpoke_core::{Refusal, Site};

use super::{Forms, How, MAX_LEN, jumps};
use crate::abi::{Entry, Kind, TAIL, ZERO};

/// NOP of five bytes.
const NOP5: [u8; 5] = [0x0f, 0x1f, 0x44, 0, 0];
/// `mov eax, 0`, which has the length of a call, and which a trap handler can act as.
const ZERO5: [u8; 5] = [MOV32, 0, 0, 0, 0];
/// `mov eax, imm32`.
const MOV32: u8 = 0xb8;
/// `mov rax, imm64`.
const MOV64: [u8; 2] = [0x48, 0xb8];

/// The third byte of a branch that jumps, and of ones that do not, whose jump is short or near.
const JUMPS: u8 = 0xc0;
const SHORT: u8 = 0x44;
const NEAR: u8 = 0x84;

impl Forms for X86_64 {
    fn fits(entry: &Entry) -> bool {
        match entry.kind {
            Kind::Branch => matches!(entry.len, 5 | 8),
            Kind::Call => entry.len == 5,
            Kind::Imm => matches!(entry.len, 5 | 10),
        }
    }

    fn change(entry: &Entry, now: &[u8], value: u64, how: How) -> Result<Option<Site>, Refusal> {
        change(entry, now, value, how)
    }

    fn mend(entry: &Entry, now: &[u8], value: u64) -> Result<Option<Site>, Refusal> {
        mend(entry, now, value)
    }
}

fn change(entry: &Entry, now: &[u8], value: u64, how: How) -> Result<Option<Site>, Refusal> {
    let now = now.get(..usize::from(entry.len)).ok_or(Refusal::OldNotEmulated)?;
    match entry.kind {
        Kind::Branch => branch(entry, now, value != 0, how),
        Kind::Call => call_site(entry, now, value),
        Kind::Imm => immediate(entry, now, value, how),
    }
}

fn mend(entry: &Entry, now: &[u8], value: u64) -> Result<Option<Site>, Refusal> {
    if now.first() != Some(&X86_64::TRAP[0]) {
        let how = if entry.kind == Kind::Imm && entry.len == 10 { How::Store } else { How::Head };
        return change(entry, now, value, how);
    }
    let mut whole = [0; MAX_LEN];
    let whole = whole.get_mut(..now.len()).ok_or(Refusal::OldNotEmulated)?;
    whole.copy_from_slice(now);
    match entry.kind {
        Kind::Branch => {
            whole[0] = 0x0f;
            // The one that it shall not be, so that there is something to do.
            if let (Some(third), Some(&jump)) = (whole.get(2).copied(), whole.get(3)) {
                let rests = if jump == 0xeb { SHORT } else { NEAR };
                let wants = if jumps(entry, value != 0) { JUMPS } else { rests };
                if third == wants {
                    whole[2] = if wants == JUMPS { rests } else { JUMPS };
                }
            }
        }
        // Whatever it was: any other form than the one it shall be.
        Kind::Call => {
            let other = match value {
                _ if entry.flags & TAIL != 0 => jmp(entry.code, entry.code)?,
                0 => call(entry.code, entry.code)?,
                _ => NOP5,
            };
            whole.get_mut(..5).ok_or(Refusal::OldNotEmulated)?.copy_from_slice(&other);
        }
        Kind::Imm => {
            whole[0] = MOV32;
            if let Some(low) = whole.get_mut(1) {
                *low = !(value as u8);
            }
        }
    }
    change(entry, whole, value, How::Head)
}

fn branch(entry: &Entry, now: &[u8], on: bool, how: How) -> Result<Option<Site>, Refusal> {
    let rests = match now {
        [0x0f, 0x1f, _, 0xeb, _] => SHORT,
        [0x0f, 0x1f, _, 0xe9, ..] if now.len() == 8 => NEAR,
        _ => return Err(Refusal::OldNotEmulated),
    };
    let (has, wants) = (now[2], if jumps(entry, on) { JUMPS } else { rests });
    if has != JUMPS && has != rests {
        return Err(Refusal::OldNotEmulated);
    }
    if has == wants {
        return Ok(None);
    }
    if how == How::Store {
        return Ok(Site::single(entry.code + 2, &[has], &[wants]));
    }
    // What jumps is a NOP of three bytes with the jump behind it. What does not is the head of a longer NOP, so that
    // somebody who acts as it goes on behind all of it.
    let past = |byte: u8| if byte == JUMPS { 3 } else { u64::from(entry.len) };
    Ok(Site::single(entry.code, &[0x0f, 0x1f, has], &[0x0f, 0x1f, wants]).map(|mut site| {
        site.copy = entry.code + past(has);
        site.stand_in = entry.code + past(wants);
        site
    }))
}

fn call_site(entry: &Entry, now: &[u8], function: u64) -> Result<Option<Site>, Refusal> {
    let tail = entry.flags & TAIL != 0;
    let to = if tail { jmp } else { call };
    let wants = match function {
        0 if tail => jmp(entry.code, entry.target)?,
        0 if entry.flags & ZERO != 0 => ZERO5,
        0 => NOP5,
        // A library is mapped further from the program than a CALL reaches; the trampoline loads the function.
        function => to(entry.code, function).or_else(|_| to(entry.code, entry.target))?,
    };
    if now == wants {
        return Ok(None);
    }
    let good = match X86_64::decode(entry.code, now) {
        Some(Insn::Jmp { .. }) => tail,
        Some(Insn::Call { .. }) => !tail,
        _ => !tail && (now == NOP5 || now == ZERO5),
    };
    if now.len() != 5 || !good {
        return Err(Refusal::OldNotEmulated);
    }
    Ok(Site::single(entry.code, now, &wants))
}

fn immediate(entry: &Entry, now: &[u8], value: u64, how: How) -> Result<Option<Site>, Refusal> {
    let bytes = value.to_le_bytes();
    match now {
        [MOV32, has @ ..] if now.len() == 5 => {
            let old = [MOV32, has[0], has[1], has[2], has[3]];
            let new = [MOV32, bytes[0], bytes[1], bytes[2], bytes[3]];
            Ok(Site::single(entry.code, &old, &new).filter(|_| old != new))
        }
        [a, b, has @ ..] if [*a, *b] == MOV64 && has.len() == 8 => match how {
            How::Store => Ok(Site::single(entry.code + 2, has, &bytes).filter(|_| has != bytes)),
            How::Head if has == bytes => Ok(None),
            How::Head => Err(Refusal::Length { old: 10, new: 10 }),
        },
        _ => Err(Refusal::OldNotEmulated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::LIKELY;

    const NEAR_OFF: [u8; 8] = [0x0f, 0x1f, NEAR, 0xe9, 1, 2, 3, 4];
    const SHORT_ON: [u8; 5] = [0x0f, 0x1f, JUMPS, 0xeb, 7];

    fn entry(kind: Kind, flags: u8, len: u8) -> Entry {
        Entry { code: 0x1000, target: 0, slot: 0, index: 0, kind, flags, len }
    }

    #[test]
    fn a_branch_changes_one_byte_and_is_what_it_should_be() {
        for (flags, on) in [(0, true), (LIKELY, false)] {
            let near = entry(Kind::Branch, flags, 8);
            let site = change(&near, &NEAR_OFF, u64::from(on), How::Store).unwrap().unwrap();
            assert_eq!((site.addr, site.len, site.old[0], site.new[0]), (0x1002, 1, NEAR, JUMPS));
            assert_eq!(change(&near, &NEAR_OFF, u64::from(!on), How::Store), Ok(None));
            let short = entry(Kind::Branch, flags, 5);
            let site = change(&short, &SHORT_ON, u64::from(!on), How::Head).unwrap().unwrap();
            assert_eq!(
                (site.addr, site.old, site.new),
                (0x1000, [0x0f, 0x1f, JUMPS, 0, 0, 0, 0, 0], [0x0f, 0x1f, SHORT, 0, 0, 0, 0, 0])
            );
            assert_eq!((site.copy, site.stand_in), (0x1003, 0x1005));
        }
        for bad in [[0xcc, 0x1f, JUMPS, 0xeb, 7], [0x0f, 0x1f, 0x45, 0xeb, 7], [0x0f, 0x1f, NEAR, 0xeb, 7], NOP5] {
            let short = entry(Kind::Branch, 0, 5);
            assert_eq!(change(&short, &bad, 0, How::Store), Err(Refusal::OldNotEmulated));
        }
    }

    #[test]
    fn what_a_dead_patcher_left_is_mended() {
        let near = entry(Kind::Branch, 0, 8);
        for third in [NEAR, JUMPS] {
            let mut left = NEAR_OFF;
            (left[0], left[2]) = (0xcc, third);
            for (value, wants) in [(0, NEAR), (1, JUMPS)] {
                let site = mend(&near, &left, value).unwrap().unwrap();
                assert_eq!((site.new[0], site.new[2], site.len), (0x0f, wants, 3));
            }
        }
        let plain = entry(Kind::Call, 0, 5);
        let site = mend(&plain, &[0xcc, 1, 2, 3, 4], 0).unwrap().unwrap();
        assert_eq!(site.new[..5], NOP5);
        assert_eq!(mend(&plain, &NOP5, 0), Ok(None));
    }

    #[test]
    fn a_call_becomes_another_or_nothing_or_zero() {
        let (plain, zero) = (entry(Kind::Call, 0, 5), entry(Kind::Call, ZERO, 5));
        let to = call(0x1000, 0x2000).unwrap();
        assert_eq!(change(&plain, &NOP5, 0x2000, How::Head).unwrap().unwrap().new[..5], to);
        assert_eq!(change(&plain, &to, 0, How::Head).unwrap().unwrap().new[..5], NOP5);
        assert_eq!(change(&zero, &to, 0, How::Head).unwrap().unwrap().new[..5], ZERO5);
        // Out of reach: the trampoline.
        let far = change(&Entry { target: 0x3000, ..plain }, &to, 1 << 40, How::Store).unwrap().unwrap();
        assert_eq!(far.new[..5], call(0x1000, 0x3000).unwrap());
        assert!(matches!(
            change(&Entry { target: 1 << 50, ..plain }, &to, 1 << 40, How::Store),
            Err(Refusal::OutOfRange { .. })
        ));
    }

    #[test]
    fn a_tail_call_is_always_a_jump() {
        let tail = Entry { target: 0x3000, ..entry(Kind::Call, TAIL, 5) };
        let (slow, fast) = (jmp(0x1000, 0x3000).unwrap(), jmp(0x1000, 0x2000).unwrap());
        let new = |now: &[u8], value| change(&tail, now, value, How::Head).unwrap().map(|site| site.new[..5].to_vec());
        assert_eq!(new(&slow, 0), None);
        assert_eq!(new(&slow, 1 << 40), None);
        assert_eq!(new(&slow, 0x2000), Some(fast.to_vec()));
        assert_eq!(new(&fast, 0), Some(slow.to_vec()));
        assert_eq!(mend(&tail, &[0xcc, 0, 0, 0, 0], 0x2000).unwrap().unwrap().new[..5], fast);
        for bad in [call(0x1000, 0x2000).unwrap(), NOP5, ZERO5] {
            assert_eq!(change(&tail, &bad, 0, How::Head), Err(Refusal::OldNotEmulated));
        }
    }

    #[test]
    fn an_immediate_of_eight_bytes_takes_one_store() {
        let short = entry(Kind::Imm, 0, 5);
        let site = change(&short, &[MOV32, 1, 0, 0, 0], 0x1_0000_0002, How::Head).unwrap().unwrap();
        assert_eq!(site.new[..5], [MOV32, 2, 0, 0, 0]);
        let long = entry(Kind::Imm, 0, 10);
        let now = [0x48, 0xb8, 1, 0, 0, 0, 0, 0, 0, 0];
        let site = change(&long, &now, u64::MAX, How::Store).unwrap().unwrap();
        assert_eq!((site.addr, site.len), (0x1002, 8));
        assert!(matches!(change(&long, &now, 2, How::Head), Err(Refusal::Length { .. })));
    }
}
