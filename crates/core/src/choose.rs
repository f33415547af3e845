//! Which protocol a site gets, or why it gets none.

use crate::isa::Isa;
use crate::protocol::Kind;
use crate::refusal::Refusal;
use crate::site::{MAX_SITE, Site};

/// What is known about a site and the threads that may execute it.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Address of the first byte.
    pub addr: u64,
    /// The bytes there now.
    pub old: &'a [u8],
    /// The bytes to put there: one instruction, or one that never falls through and padding.
    pub new: &'a [u8],
    /// Bit `i`: an old instruction begins at `addr + i` (`i` ≥ 1).
    pub inner: u8,
    /// Where code stands that does what the old bytes do; 0 if nowhere.
    pub copy: u64,
    /// Where code stands that does what the new bytes do; 0 if the trap side should emulate them.
    pub stand_in: u64,
    /// Whether bytes below the stack pointer may be in use at the site.
    pub red_zone: bool,
    /// Whether every thread that may come by can take the trap.
    pub traps: bool,
    /// Whether one aligned 8-byte store over running code is good on this CPU: AMD documents it, for others it is the
    /// caller's assumption.
    pub word: bool,
}

/// Picks the protocol: traps where threads can take them, because every vendor's rules cover that way; otherwise one
/// store, where that is sound.
pub fn choose<I: Isa>(c: &Choice<'_>) -> Result<Kind, Refusal> {
    if c.old.len() != c.new.len() || c.old.is_empty() || c.old.len() > MAX_SITE {
        return Err(Refusal::Length { old: c.old.len(), new: c.new.len() });
    }
    if c.old == c.new {
        return Err(Refusal::Same);
    }
    if c.old.starts_with(I::TRAP) {
        return Err(Refusal::ForeignTrap);
    }
    let new = I::decode(c.addr, c.new);
    if c.stand_in == 0 && new.is_none() {
        return Err(Refusal::NewNotEmulated);
    }
    let pushes = new.is_some_and(|n| matches!(I::effect(n, &Default::default()), crate::trap::Effect::Call { .. }));
    if c.red_zone && pushes {
        return Err(Refusal::RedZone);
    }
    if !c.traps {
        return match one_word(c.addr, c.old.len()) {
            _ if c.inner != 0 => Err(Refusal::SeveralInstructions),
            _ if !c.word => Err(Refusal::TrapBlocked),
            false => Err(Refusal::Straddles),
            true => Ok(Kind::Word),
        };
    }
    match (c.inner, c.copy) {
        (0, 0) if I::decode(c.addr, c.old).is_none() => Err(Refusal::OldNotEmulated),
        (0, _) => Ok(Kind::Breakpoint),
        (_, 0) => Err(Refusal::NoCopy),
        (_, _) => Ok(Kind::Displace),
    }
}

/// Whether `len` bytes at `addr` lie in one naturally aligned 8-byte word.
pub const fn one_word(addr: u64, len: usize) -> bool {
    addr % 8 + len as u64 <= 8
}

impl Site {
    /// Whether the site lies in one naturally aligned 8-byte word.
    pub const fn in_one_word(&self) -> bool {
        one_word(self.addr, self.len as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::X86_64;

    const NOP5: &[u8] = &[0x0f, 0x1f, 0x44, 0, 0];
    const CALL: &[u8] = &[0xe8, 0, 1, 0, 0];
    const JMP: &[u8] = &[0xe9, 0, 1, 0, 0];
    /// add eax, 1
    const ADD: &[u8] = &[0x05, 1, 0, 0, 0];
    /// push rbp; mov rbp,rsp; push rbx
    const ENTRY: &[u8] = &[0x55, 0x48, 0x89, 0xe5, 0x53];

    fn base() -> Choice<'static> {
        Choice {
            addr: 0x1000,
            old: NOP5,
            new: JMP,
            inner: 0,
            copy: 0,
            stand_in: 0,
            red_zone: false,
            traps: true,
            word: false,
        }
    }

    fn pick(c: Choice<'_>) -> Result<Kind, Refusal> {
        choose::<X86_64>(&c)
    }

    #[test]
    fn each_protocol_has_its_place() {
        assert_eq!(pick(base()), Ok(Kind::Breakpoint));
        assert_eq!(pick(Choice { old: ENTRY, inner: 0b1_0010, copy: 0x9000, ..base() }), Ok(Kind::Displace));
        assert_eq!(pick(Choice { traps: false, word: true, ..base() }), Ok(Kind::Word));
        assert_eq!(pick(Choice { new: ADD, stand_in: 0x9000, ..base() }), Ok(Kind::Breakpoint));
    }

    #[test]
    fn each_refusal_has_its_case() {
        let cases = [
            (Choice { new: &JMP[..4], ..base() }, Refusal::Length { old: 5, new: 4 }),
            (Choice { new: NOP5, ..base() }, Refusal::Same),
            (Choice { old: &[0xcc, 0x1f, 0x44, 0, 0], ..base() }, Refusal::ForeignTrap),
            (Choice { new: ENTRY, ..base() }, Refusal::NewNotEmulated),
            (Choice { old: &[0x48, 0x31, 0xc0, 0x90, 0x90], ..base() }, Refusal::OldNotEmulated),
            (Choice { old: ENTRY, inner: 0b1_0010, ..base() }, Refusal::NoCopy),
            (Choice { new: CALL, red_zone: true, ..base() }, Refusal::RedZone),
            (Choice { traps: false, ..base() }, Refusal::TrapBlocked),
            (Choice { traps: false, word: true, addr: 0x1004, ..base() }, Refusal::Straddles),
            (
                Choice { old: ENTRY, inner: 0b1_0010, copy: 9, traps: false, word: true, ..base() },
                Refusal::SeveralInstructions,
            ),
        ];
        for (choice, refusal) in cases {
            assert_eq!(pick(choice), Err(refusal));
        }
        assert!(matches!(crate::isa::x86_64::jmp(0, 1 << 40), Err(Refusal::OutOfRange { .. })));
    }
}
