//! What stands at sites where each is one instruction of four bytes, at a multiple of four.
//!
//! | | AArch64 | RISC-V |
//! |---|---|---|
//! | branch that goes on | `NOP` | `NOP` |
//! | branch that jumps | `B` | `JAL x0` |
//! | call | `BL`; without a function `NOP`, or `BL` to its trampoline if it returns something | the same with `JAL ra` |
//! | call from C (*tail*: its trampoline) | `B`; without a function to the code behind it that loads it | `JAL x0` |
//!
//! All of these may change into each other while other CPUs execute them, by one store. There are no immediates: no
//! instruction that holds a number may be changed so on AArch64, and on RISC-V a number takes several.

use textpoke_core::isa::{Aarch64, Isa, Riscv64, aarch64, riscv64};
use textpoke_core::{Refusal, Site};

use super::{Forms, How, jumps};
use crate::abi::{Entry, Kind, TAIL, ZERO};

/// What stands at a site.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    Nop,
    Jump(u64),
    Call(u64),
}

/// Such an instruction set.
trait Words: Isa {
    /// The instruction at `at`.
    fn encode(stands: Stands, at: u64) -> Result<[u8; 4], Refusal>;

    /// What it is, if it is one of these.
    fn recognise(now: &[u8], at: u64) -> Option<Stands>;
}

impl Words for Aarch64 {
    fn encode(stands: Stands, at: u64) -> Result<[u8; 4], Refusal> {
        match stands {
            Stands::Nop => Ok(aarch64::NOP),
            Stands::Jump(to) => aarch64::b(at, to),
            Stands::Call(to) => aarch64::bl(at, to),
        }
    }

    fn recognise(now: &[u8], at: u64) -> Option<Stands> {
        match Self::decode(at, now)? {
            aarch64::Insn::Nop { .. } => Some(Stands::Nop),
            aarch64::Insn::B { target } => Some(Stands::Jump(target)),
            aarch64::Insn::Bl { target, .. } => Some(Stands::Call(target)),
            _ => None,
        }
    }
}

impl Words for Riscv64 {
    fn encode(stands: Stands, at: u64) -> Result<[u8; 4], Refusal> {
        match stands {
            Stands::Nop => Ok(riscv64::NOP),
            Stands::Jump(to) => riscv64::jal(riscv64::ZERO, at, to),
            Stands::Call(to) => riscv64::jal(riscv64::RA, at, to),
        }
    }

    fn recognise(now: &[u8], at: u64) -> Option<Stands> {
        match Self::decode(at, now)? {
            riscv64::Insn::Nop { .. } => Some(Stands::Nop),
            riscv64::Insn::Jump { link: riscv64::ZERO, target, .. } => Some(Stands::Jump(target)),
            riscv64::Insn::Jump { link: riscv64::RA, target, .. } => Some(Stands::Call(target)),
            _ => None,
        }
    }
}

impl Forms for Aarch64 {
    fn fits(entry: &Entry) -> bool {
        fits(entry)
    }

    fn change(entry: &Entry, now: &[u8], value: u64, _: How) -> Result<Option<Site>, Refusal> {
        change::<Self>(entry, now, value)
    }

    fn mend(entry: &Entry, now: &[u8], value: u64) -> Result<Option<Site>, Refusal> {
        mend::<Self>(entry, now, value)
    }
}

impl Forms for Riscv64 {
    fn fits(entry: &Entry) -> bool {
        fits(entry)
    }

    fn change(entry: &Entry, now: &[u8], value: u64, _: How) -> Result<Option<Site>, Refusal> {
        change::<Self>(entry, now, value)
    }

    fn mend(entry: &Entry, now: &[u8], value: u64) -> Result<Option<Site>, Refusal> {
        mend::<Self>(entry, now, value)
    }
}

fn fits(entry: &Entry) -> bool {
    entry.kind != Kind::Imm && entry.len == 4 && entry.code.is_multiple_of(4)
}

fn change<I: Words>(entry: &Entry, now: &[u8], value: u64) -> Result<Option<Site>, Refusal> {
    let now = now.get(..4).filter(|_| fits(entry)).ok_or(Refusal::OldNotEmulated)?;
    let tail = entry.flags & TAIL != 0;
    let good = match (entry.kind, I::recognise(now, entry.code)) {
        (Kind::Branch, Some(Stands::Nop)) => true,
        (Kind::Branch, Some(Stands::Jump(to))) => to == entry.target,
        (Kind::Call, Some(Stands::Nop)) => !tail && entry.flags & ZERO == 0,
        (Kind::Call, Some(Stands::Call(_))) => !tail,
        (Kind::Call, Some(Stands::Jump(_))) => tail,
        _ => false,
    };
    let wants = wanted::<I>(entry, value)?;
    if !good {
        return Err(Refusal::OldNotEmulated);
    }
    Ok(Site::single(entry.code, now, &wants).filter(|_| now != wants))
}

/// What shall stand there.
fn wanted<I: Words>(entry: &Entry, value: u64) -> Result<[u8; 4], Refusal> {
    let encode = |stands| I::encode(stands, entry.code);
    if entry.kind == Kind::Branch {
        return encode(if jumps(entry, value != 0) { Stands::Jump(entry.target) } else { Stands::Nop });
    }
    let to = if entry.flags & TAIL != 0 { Stands::Jump } else { Stands::Call };
    match value {
        0 if entry.flags & (TAIL | ZERO) == 0 => encode(Stands::Nop),
        // The trampoline returns 0 then.
        0 => encode(to(entry.target)),
        // A function may be further away than one instruction reaches; the trampoline loads it.
        function => encode(to(function)).or_else(|_| encode(to(entry.target))),
    }
}

fn mend<I: Words>(entry: &Entry, now: &[u8], value: u64) -> Result<Option<Site>, Refusal> {
    if now.get(..4) != Some(I::TRAP) {
        return change::<I>(entry, now, value);
    }
    if !fits(entry) {
        return Err(Refusal::OldNotEmulated);
    }
    Ok(Site::single(entry.code, I::TRAP, &wanted::<I>(entry, value)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::LIKELY;

    fn entry(kind: Kind, flags: u8) -> Entry {
        Entry { code: 0x1000, target: 0x1040, slot: 0, index: 0, kind, flags, len: 4 }
    }

    fn all<I: Words + Forms>(reach: u64) {
        let word = |stands| I::encode(stands, 0x1000).unwrap();
        let (nop, jump) = (word(Stands::Nop), word(Stands::Jump(0x1040)));
        let becomes = |entry: &Entry, now: [u8; 4], value| {
            let site = I::change(entry, &now, value, How::Store);
            site.map(|site| site.map(|site| (site.addr, site.old[..4].to_vec(), site.new[..4].to_vec())))
        };
        let changed = |now: [u8; 4], new: [u8; 4]| Ok(Some((0x1000, now.to_vec(), new.to_vec())));
        for (flags, on) in [(0, 1), (LIKELY, 0)] {
            let branch = entry(Kind::Branch, flags);
            assert_eq!(becomes(&branch, nop, on), changed(nop, jump));
            assert_eq!(becomes(&branch, jump, 1 - on), changed(jump, nop));
            assert_eq!((becomes(&branch, nop, 1 - on), becomes(&branch, jump, on)), (Ok(None), Ok(None)));
            for bad in [word(Stands::Jump(0x1044)), word(Stands::Call(0x1040)), I::TRAP.try_into().unwrap(), [0; 4]] {
                assert_eq!(becomes(&branch, bad, on), Err(Refusal::OldNotEmulated), "{bad:x?}");
            }
            for (value, wants) in [(on, jump), (1 - on, nop)] {
                let mended = I::mend(&branch, I::TRAP, value).unwrap().unwrap();
                assert_eq!(mended.new[..4], wants);
                assert!(I::live(0x1000, &mended.old[..4], &wants), "one store does it");
                assert_eq!(I::mend(&branch, &wants, value), Ok(None));
            }
            assert!(I::live(0x1000, &nop, &jump) && I::live(0x1000, &jump, &nop));
        }
        let (to, slow) = (word(Stands::Call(0x2000)), word(Stands::Call(0x1040)));
        let (plain, zero) = (entry(Kind::Call, 0), entry(Kind::Call, ZERO));
        assert_eq!(becomes(&plain, slow, 0x2000), changed(slow, to));
        assert_eq!(becomes(&plain, to, 0), changed(to, nop));
        assert_eq!(becomes(&zero, to, 0), changed(to, slow));
        assert_eq!(becomes(&plain, nop, 0x1000 + reach), changed(nop, slow), "out of reach");
        assert_eq!(becomes(&zero, nop, 0), Err(Refusal::OldNotEmulated), "nobody left a NOP there");
        let far = Entry { target: 1 << 40, ..plain };
        assert!(matches!(becomes(&far, to, 0x1000 + reach), Err(Refusal::OutOfRange { .. })));
        let tail = entry(Kind::Call, TAIL);
        let fast = word(Stands::Jump(0x2000));
        assert_eq!(becomes(&tail, jump, 0x2000), changed(jump, fast));
        assert_eq!(becomes(&tail, fast, 0), changed(fast, jump));
        assert_eq!(becomes(&tail, to, 0), Err(Refusal::OldNotEmulated));
        for odd in [Entry { code: 0x1002, ..plain }, Entry { len: 5, ..plain }, entry(Kind::Imm, 0)] {
            assert!(
                !I::fits(&odd) && I::change(&odd, &nop, 1, How::Head).is_err() && I::mend(&odd, I::TRAP, 1).is_err()
            );
        }
    }

    #[test]
    fn on_aarch64() {
        all::<Aarch64>(128 << 20);
    }

    #[test]
    fn on_riscv() {
        all::<Riscv64>(1 << 20);
    }
}
