//! Which protocol a site gets, or why it gets none.

use crate::isa::Isa;
use crate::plan::{Plan, PlanError};
use crate::protocol::Kind;
use crate::refusal::Refusal;
use crate::site::Site;

/// What is known about a site and the threads that may execute it.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Address of the first byte.
    pub addr: u64,
    /// The bytes there now.
    pub old: &'a [u8],
    /// The bytes to put there.
    pub new: &'a [u8],
    /// Bit `i`: an old instruction begins at `addr + i` (`i` ≥ 1).
    pub inner: u8,
    /// The same for the new instructions; 0 if the new bytes are one instruction, or one that never falls through and
    /// padding.
    pub new_inner: u8,
    /// Where code stands that does what the old bytes do; 0 if nowhere.
    pub copy: u64,
    /// Where code stands that does what the new bytes do; 0 if the trap side should emulate them.
    pub stand_in: u64,
    /// Whether bytes below the stack pointer may be in use at the site.
    pub red_zone: bool,
    /// Whether every thread that may come by can take the trap.
    pub traps: bool,
    /// Whether one aligned 8-byte store over running code is good on this CPU: AMD documents it, for others it is the
    /// caller's assumption. The other instruction sets say so themselves.
    pub word: bool,
    /// Whether everybody else can be parked while text changes.
    pub park: bool,
}

/// Picks the protocol.
///
/// x86-64: traps where threads can take them, because every vendor's rules cover that way; otherwise one store, where that
/// is sound. Elsewhere: one store where the architecture lets the instruction change live ([`Isa::live`]). Everything else
/// goes by parking, where that is possible.
pub fn choose<I: Isa>(c: &Choice<'_>) -> Result<Kind, Refusal> {
    let lengths = Refusal::Length { old: c.old.len(), new: c.new.len() };
    let mut site = Site::single(c.addr, c.old, c.new).ok_or(lengths)?;
    (site.inner, site.new_inner, site.copy, site.stand_in) = (c.inner, c.new_inner, c.copy, c.stand_in);
    if c.old == c.new {
        return Err(Refusal::Same);
    }
    if I::is_trap(c.old) {
        return Err(Refusal::ForeignTrap);
    }
    if I::TRAP.len() == 1 { by_bytes::<I>(c, &site) } else { by_words::<I>(c, &site) }
}

/// Instructions of any length, a trap of one byte.
fn by_bytes<I: Isa>(c: &Choice<'_>, site: &Site) -> Result<Kind, Refusal> {
    let new = I::decode(c.addr, c.new);
    if c.stand_in == 0 && new.is_none() {
        return Err(Refusal::NewNotEmulated);
    }
    let pushes = new.is_some_and(|n| matches!(I::effect(n, &Default::default()), crate::trap::Effect::Call { .. }));
    if c.red_zone && pushes {
        return Err(Refusal::RedZone);
    }
    let several = c.inner != 0 || c.new_inner != 0;
    if !c.traps {
        return match site.in_one_word() {
            _ if several => Err(Refusal::SeveralInstructions),
            true if c.word => Ok(Kind::Word),
            _ if c.park => Ok(Kind::Park),
            false if c.word => Err(Refusal::Straddles),
            _ => Err(Refusal::TrapBlocked),
        };
    }
    match (several, c.copy) {
        (false, 0) if I::decode(c.addr, c.old).is_none() => Err(Refusal::OldNotEmulated),
        (false, _) => Ok(Kind::Breakpoint),
        (true, 0) => Err(Refusal::NoCopy),
        (true, _) if c.new_inner != 0 => Ok(Kind::Pair),
        (true, _) => Ok(Kind::Displace),
    }
}

/// Aligned instructions, and a list of those that may change live.
fn by_words<I: Isa>(c: &Choice<'_>, site: &Site) -> Result<Kind, Refusal> {
    let fits = |kind: &Kind| kind.admits::<I>(site).is_ok() && (c.park || !kind.parks());
    if c.inner == 0 && c.new_inner == 0 {
        return [Kind::Word, Kind::Park].into_iter().find(fits).ok_or(Refusal::NotLive);
    }
    if fits(&Kind::PreparedPair) {
        return Ok(Kind::PreparedPair);
    }
    let acts = c.stand_in != 0 || c.new_inner == 0 && I::decode(c.addr, c.new).is_some();
    let by_trap = [Kind::Displace, Kind::Pair].into_iter().find(fits).filter(|_| c.traps && c.copy != 0 && acts);
    if let Some(kind) = by_trap.or(Some(Kind::Plant).filter(fits)) {
        return Ok(kind);
    }
    match () {
        () if !c.traps => Err(Refusal::SeveralInstructions),
        () if c.copy == 0 => Err(Refusal::NoCopy),
        () if !acts => Err(Refusal::NewNotEmulated),
        () if fits(&Kind::ParkTwice) => Ok(Kind::ParkTwice),
        () => Err(Refusal::NotLive),
    }
}

/// The protocol for a whole batch: the one that asks least of the other threads among those that can change every site.
/// `park`: whether everybody else can be parked. The last error tells why there is none.
pub fn for_all<I: Isa>(plan: Plan<'_, I>, park: bool) -> Result<Kind, PlanError> {
    const BYTES: &[Kind] = &[Kind::Breakpoint, Kind::Displace, Kind::Pair];
    const WORDS: &[Kind] =
        &[Kind::Word, Kind::PreparedPair, Kind::Displace, Kind::Pair, Kind::Plant, Kind::Park, Kind::ParkTwice];
    let mut error = PlanError::Empty;
    for &kind in if I::TRAP.len() == 1 { BYTES } else { WORDS } {
        match plan.suits(kind) {
            _ if kind.parks() && !park => {}
            Ok(_) => return Ok(kind),
            Err(other) => error = other,
        }
    }
    Err(error)
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
    use crate::isa::{Aarch64, X86_64};

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
            new_inner: 0,
            copy: 0,
            stand_in: 0,
            red_zone: false,
            traps: true,
            word: false,
            park: false,
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
        assert_eq!(pick(Choice { traps: false, park: true, ..base() }), Ok(Kind::Park));
        let pair = Choice { old: ENTRY, inner: 0b1_0010, new_inner: 2, copy: 9, new: ADD, stand_in: 9, ..base() };
        assert_eq!(pick(pair), Ok(Kind::Pair));
    }

    #[test]
    fn a_batch_gets_what_suits_all_of_it() {
        let a64 = |sites: &[Site], park| for_all(Plan::<Aarch64>::new(sites).unwrap(), park);
        let nop = crate::isa::aarch64::NOP;
        let branch = |addr| Site::single(addr, &nop, &crate::isa::aarch64::b(addr, 0x8000).unwrap()).unwrap();
        let mov = Site::single(0x2000, &nop, &0xaa1e_03e9_u32.to_le_bytes()).unwrap();
        assert_eq!(a64(&[branch(0x1000), branch(0x1004)], false), Ok(Kind::Word));
        assert_eq!(a64(&[branch(0x1000), mov], true), Ok(Kind::Park));
        assert_eq!(a64(&[branch(0x1000), mov], false), Err(PlanError::NotLive(1)));
        let x86 = |site: Site| for_all(Plan::<X86_64>::new(&[site]).unwrap(), true);
        let single = Site::single(0x1000, NOP5, JMP).unwrap();
        assert_eq!(x86(single), Ok(Kind::Breakpoint));
        assert_eq!(x86(Site { inner: 2, copy: 9, ..single }), Ok(Kind::Displace));
        assert_eq!(x86(Site { inner: 2, ..single }), Err(PlanError::NoCopy(0)));
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

    const A64_NOP: [u8; 4] = 0xd503_201f_u32.to_le_bytes();
    const A64_B: [u8; 4] = 0x1400_0040_u32.to_le_bytes();
    const A64_MOV: [u8; 4] = 0xaa1e_03e9_u32.to_le_bytes();

    fn pair(a: [u8; 4], b: [u8; 4]) -> [u8; 8] {
        core::array::from_fn(|i| if i < 4 { a[i] } else { b[i - 4] })
    }

    /// Seed 003: without stopping where the list allows it, else by stopping, and several words never in one go.
    #[test]
    fn words_go_by_the_list() {
        let pick = |c: Choice<'_>| choose::<Aarch64>(&c);
        let one = |old, new| Choice { old, new, ..base() };
        assert_eq!(pick(one(&A64_NOP, &A64_B)), Ok(Kind::Word));
        assert_eq!(pick(one(&A64_MOV, &A64_B)), Err(Refusal::NotLive));
        assert_eq!(pick(Choice { park: true, ..one(&A64_MOV, &A64_B) }), Ok(Kind::Park));
        let brk = 0xd420_0000_u32.to_le_bytes();
        assert_eq!(pick(one(&brk, &A64_B)), Err(Refusal::ForeignTrap), "a debugger's");

        let nothing = pair(A64_NOP, A64_NOP);
        let (planted, active) = (pair(A64_MOV, A64_NOP), pair(A64_MOV, A64_B));
        let two = |old, new| Choice { old, new, inner: 16, new_inner: 16, copy: 9, stand_in: 9, park: true, ..base() };
        assert_eq!(pick(two(&nothing, &planted)), Ok(Kind::Plant));
        assert_eq!(pick(two(&planted, &active)), Ok(Kind::PreparedPair));
        assert_eq!(pick(two(&nothing, &active)), Ok(Kind::ParkTwice), "MOV is not in the list");
        assert_eq!(pick(Choice { park: false, ..two(&nothing, &active) }), Err(Refusal::NotLive));
        let (jump, calls) = (pair(A64_B, A64_NOP), pair(A64_B, A64_B));
        assert_eq!(pick(Choice { new_inner: 0, ..two(&nothing, &jump) }), Ok(Kind::Displace));
        assert_eq!(pick(two(&nothing, &calls)), Ok(Kind::Pair));
        assert_eq!(pick(Choice { traps: false, ..two(&nothing, &active) }), Err(Refusal::SeveralInstructions));
    }
}
