//! Patchable function entries of two instructions: the first is planted once, the second toggles
//! ([`prepared_pair`](crate::protocol::prepared_pair)).

use super::{Aarch64, Isa, Riscv64, aarch64, riscv64};
use crate::refusal::Refusal;
use crate::site::MAX_SITE;

/// Two instructions.
pub type Pair = [u8; MAX_SITE];

/// An instruction set in which a call at a function's entry takes two instructions of four bytes.
pub trait Entry: Isa {
    /// Two NOPs, as a compiler leaves them.
    const BARE: Pair;

    /// How many bytes in front of the two a function begins with that stay: a landing pad.
    fn landing_pad(bytes: &[u8]) -> usize;

    /// The first instruction of a call of `tracer` from an entry whose two instructions begin at `at`.
    fn first(at: u64, tracer: u64) -> Result<[u8; 4], Refusal>;

    /// The second, to be executed.
    fn second(at: u64, tracer: u64) -> Result<[u8; 4], Refusal>;

    /// The two with the second a NOP.
    fn off(at: u64, tracer: u64) -> Result<Pair, Refusal> {
        Ok(with_first(Self::BARE, Self::first(at, tracer)?))
    }

    /// The two with the second in force.
    fn on(at: u64, tracer: u64) -> Result<Pair, Refusal> {
        let mut pair = Self::off(at, tracer)?;
        pair[4..].copy_from_slice(&Self::second(at, tracer)?);
        Ok(pair)
    }
}

fn with_first(mut pair: Pair, first: [u8; 4]) -> Pair {
    pair[..4].copy_from_slice(&first);
    pair
}

/// `MOV X9, X30; BL tracer`: the tracer finds its own return address in X30 and the function's in X9 (gcc and clang,
/// `-fpatchable-function-entry=2`).
impl Entry for Aarch64 {
    const BARE: Pair = [0x1f, 0x20, 0x03, 0xd5, 0x1f, 0x20, 0x03, 0xd5];

    /// BTI, which compilers put in front of the NOPs. PACIASP comes behind them, so that a pair in front of it signs
    /// nothing twice.
    fn landing_pad(bytes: &[u8]) -> usize {
        let word = bytes.first_chunk().map(|&word| u32::from_le_bytes(word));
        if word.is_some_and(|word| word & 0xffff_ff3f == 0xd503_241f) { 4 } else { 0 }
    }

    fn first(at: u64, _tracer: u64) -> Result<[u8; 4], Refusal> {
        if at.is_multiple_of(4) {
            Ok(aarch64::mov_reg(aarch64::Width::X, aarch64::X9, aarch64::LR))
        } else {
            Err(Refusal::Misaligned { addr: at, align: 4 })
        }
    }

    fn second(at: u64, tracer: u64) -> Result<[u8; 4], Refusal> {
        aarch64::bl(at.wrapping_add(4), tracer)
    }
}

/// `AUIPC t0, hi(tracer); JALR t0, lo(tracer)(t0)`: the tracer finds its own return address in t0, and the function's in ra
/// as ever. Which tracer it is decides the first instruction, too.
impl Entry for Riscv64 {
    const BARE: Pair = [0x13, 0, 0, 0, 0x13, 0, 0, 0];

    /// LPAD, which is AUIPC to x0.
    fn landing_pad(bytes: &[u8]) -> usize {
        let word = bytes.first_chunk().map(|&word| u32::from_le_bytes(word));
        if word.is_some_and(|word| word & 0xfff == 0x17) { 4 } else { 0 }
    }

    fn first(at: u64, tracer: u64) -> Result<[u8; 4], Refusal> {
        Ok(far(at, tracer)?[0])
    }

    fn second(at: u64, tracer: u64) -> Result<[u8; 4], Refusal> {
        Ok(far(at, tracer)?[1])
    }
}

fn far(at: u64, tracer: u64) -> Result<[[u8; 4]; 2], Refusal> {
    // Each of the two must lie in one piece that is fetched at once (Ziccif).
    if !at.is_multiple_of(4) {
        return Err(Refusal::Misaligned { addr: at, align: 4 });
    }
    riscv64::far(riscv64::T0, riscv64::T0, at, tracer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_differs_in_the_second_only() {
        fn check<I: Entry>(tracer: u64) {
            let (off, on) = (I::off(0x1000, tracer).unwrap(), I::on(0x1000, tracer).unwrap());
            assert_eq!((&off[..4], &off[4..]), (&on[..4], &I::BARE[4..]));
            assert_ne!(off[4..], on[4..]);
            assert_ne!(off[..4], I::BARE[..4]);
            assert!(I::off(0x1002, tracer).is_err());
        }
        check::<Aarch64>(0x8_0000);
        check::<Riscv64>(0x8_0802);
    }

    #[test]
    fn landing_pads_stay() {
        // BTI, BTI c, BTI j, BTI jc; PACIASP and NOP are none.
        for bti in [0xd503_241f_u32, 0xd503_245f, 0xd503_249f, 0xd503_24df] {
            assert_eq!(Aarch64::landing_pad(&bti.to_le_bytes()), 4);
        }
        assert_eq!(Aarch64::landing_pad(&0xd503_233f_u32.to_le_bytes()), 0);
        assert_eq!(Aarch64::landing_pad(&Aarch64::BARE), 0);
        assert_eq!((Riscv64::landing_pad(&[0x17, 0, 0, 0]), Riscv64::landing_pad(&[0x97, 0, 0, 0])), (4, 0));
    }
}
