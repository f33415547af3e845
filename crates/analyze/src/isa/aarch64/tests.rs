//! The decoder beside another one, and copies that are executed.

use textpoke_core::isa::aarch64::{self as a64, Cond, Width};
use textpoke_core::isa::{Aarch64 as Core, Isa as _, Reg};
use textpoke_core::trap::{Effect, Regs};
use yaxpeax_arch::{Decoder as _, U8Reader};
use yaxpeax_arm::armv8::a64::{InstDecoder, Instruction, Opcode, Operand};

use super::decode::{Relative, Word};
use super::{Aarch64, Arch as _, Flow};
use crate::Reason;
use crate::site::{Jump, Site};

const AT: u64 = 0x7f12_3456_7890;
const NEAR: u64 = AT + 0x4000;
const FAR: u64 = AT + 0x600_0000;

/// The same numbers on every run.
fn numbers() -> impl Iterator<Item = u32> {
    let mut state = 3u64;
    core::iter::repeat_with(move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 32) as u32
    })
}

fn theirs(word: u32) -> Option<Instruction> {
    let bytes = word.to_le_bytes();
    InstDecoder::default().decode(&mut U8Reader::new(&bytes)).ok()
}

fn distance(insn: &Instruction) -> Option<i64> {
    insn.operands.iter().find_map(|operand| match operand {
        Operand::PCOffset(offset) => Some(*offset),
        _ => None,
    })
}

/// Every opcode with random operands, and each word that has a neighbour with another meaning.
#[test]
fn flow_and_relative_operands_agree_with_another_disassembler() {
    let mut relative = 0;
    let mut flows = 0;
    for (random, top) in numbers().zip((0..1u32 << 11).cycle()).take(1 << 19) {
        let word = top << 21 | random >> 11;
        let Some(insn) = theirs(word) else { continue };
        let ours = Word(word);
        // RETAASPPC and its like have addresses of their own, and are never copied.
        if ours.signs_address() {
            continue;
        }
        let flow = ours.flow(AT);
        let to = distance(&insn).map(|d| AT.wrapping_add_signed(d));
        let expected = match insn.opcode {
            Opcode::B => to.map(Flow::Jump),
            Opcode::BL => to.map(Flow::Call),
            Opcode::Bcc(_) | Opcode::CBZ | Opcode::CBNZ | Opcode::TBZ | Opcode::TBNZ => to.map(Flow::Branch),
            Opcode::BR | Opcode::BRAA | Opcode::BRAB | Opcode::BRAAZ | Opcode::BRABZ => Some(Flow::JumpIndirect),
            Opcode::BLR | Opcode::BLRAA | Opcode::BLRAB | Opcode::BLRAAZ | Opcode::BLRABZ => Some(Flow::CallIndirect),
            Opcode::RET | Opcode::RETAA | Opcode::RETAB => Some(Flow::Return),
            Opcode::SVC | Opcode::HVC | Opcode::SMC => Some(Flow::Other(None)),
            Opcode::BRK | Opcode::HLT | Opcode::DCPS1 | Opcode::DCPS2 | Opcode::DCPS3 => Some(Flow::Stop),
            Opcode::ERET | Opcode::ERETAA | Opcode::ERETAB | Opcode::DRPS => Some(Flow::Stop),
            Opcode::UDF => Some(Flow::Invalid),
            _ if insn.to_string().starts_with("bc.") => to.map(Flow::Branch),
            _ => Some(Flow::Next),
        };
        assert_eq!(Some(flow), expected, "{word:#010x} {insn}");
        flows += u32::from(flow != Flow::Next);
        let made = match (insn.opcode, ours.relative(AT)) {
            (Opcode::ADR, Some(Relative::Adr { to, .. })) => Some(to),
            (Opcode::ADRP, Some(Relative::Adrp { page, .. })) => Some(page | AT & 0xfff),
            (_, Some(Relative::Literal { at, .. })) => Some(at),
            (_, other) => {
                assert_eq!(other, None, "{word:#010x} {insn}");
                None
            }
        };
        let named = if flow == Flow::Next { to } else { None };
        assert_eq!(made, named, "{word:#010x} {insn}");
        relative += u32::from(made.is_some());
    }
    assert!(flows > 30_000 && relative > 30_000, "{flows} {relative}");
}

/// What the instruction reads and writes, as `core` has it, and the ADD and loads that copies use.
fn step(word: u32, pc: u64, regs: &mut Regs) -> u64 {
    if word & 0xff80_0000 == 0x9100_0000 {
        let (rd, rn) = ((word & 31) as usize, (word >> 5 & 31) as usize);
        regs.x[rd] = regs.x[rn] + u64::from(word >> 10 & 0xfff);
        return pc + 4;
    }
    let insn = Core::decode(pc, &word.to_le_bytes()).unwrap_or_else(|| panic!("{word:#x}"));
    match Core::effect(insn, regs) {
        Effect::Goto { pc } => pc,
        Effect::Set { reg, value, pc } => {
            if reg < 31 {
                regs.x[usize::from(reg)] = value;
            }
            pc
        }
        other => panic!("{other:?}"),
    }
}

fn execute(code: &[u8], dest: u64, seed: u32) -> (Regs, u64) {
    let mut regs = Regs::default();
    for (register, value) in regs.x.iter_mut().zip(numbers().skip(seed as usize)) {
        // Zero now and then, and with single bits, for the branches.
        *register = u64::from(value & value >> 3 & value >> 7);
        *register &= if seed.is_multiple_of(2) { 0 } else { u64::MAX };
    }
    regs.flags = u64::from(seed) << 28;
    let mut pc = dest;
    for _ in 0..32 {
        let Some(bytes) = code.get(pc.wrapping_sub(dest) as usize..).and_then(|rest| rest.first_chunk::<4>()) else {
            break;
        };
        pc = step(u32::from_le_bytes(*bytes), pc, &mut regs);
    }
    (regs, pc)
}

fn site(word: [u8; 4]) -> Site {
    let insns: Vec<_> = Aarch64::decoder(&word, AT).collect();
    Site::new::<Aarch64>(&insns, &word, Jump::One)
}

fn same(word: [u8; 4], dest: u64) {
    // What leads into the copy by chance would not leave it.
    if distance(&theirs(u32::from_le_bytes(word)).unwrap())
        .is_some_and(|d| AT.wrapping_add_signed(d).abs_diff(dest) < 64)
    {
        return;
    }
    let copy = site(word).relocate(0, dest).unwrap_or_else(|e| panic!("{word:x?}: {e}"));
    assert!(copy.bytes.len() <= crate::MAX_COPY);
    for seed in 0..4 {
        let (before, after) = (execute(&word, AT, seed * 5), execute(&copy.bytes, dest, seed * 5));
        assert_eq!(before, after, "{word:x?} -> {:x?}", copy.bytes);
    }
}

fn reg(n: u8) -> Reg {
    Reg::new(n).unwrap()
}

#[test]
fn every_branch_does_the_same_from_elsewhere() {
    for target in (-1 << 18..1 << 18).filter(|&w| w != 0).map(|words: i64| AT.wrapping_add_signed(words * 4)) {
        let cond = Cond::new((target >> 3 & 15) as u8).unwrap();
        for dest in [NEAR, FAR] {
            same(a64::b_cond(cond, AT, target).unwrap(), dest);
            same(a64::cbz(Width::X, reg(5), AT, target).unwrap(), dest);
        }
    }
    for target in (-1 << 13..1 << 13).filter(|&w| w != 0).map(|words: i64| AT.wrapping_add_signed(words * 4)) {
        for dest in [NEAR, FAR] {
            same(a64::tbz(reg(30), (target >> 2 & 63) as u8, AT, target).unwrap(), dest);
            same(a64::tbnz(reg(9), (target >> 2 & 63) as u8, AT, target).unwrap(), dest);
            same(a64::cbnz(Width::W, reg(1), AT, target).unwrap(), dest);
        }
    }
}

#[test]
fn calls_and_addresses_do_the_same_from_elsewhere() {
    for random in numbers().take(20_000) {
        let to = AT.wrapping_add_signed(i64::from(random.cast_signed() >> 8) & !3);
        for dest in [NEAR, FAR, AT + 0x7fff_f000] {
            if dest.abs_diff(to) < 1 << 27 && to != AT {
                same(a64::b(AT, to).unwrap(), dest);
                same(a64::bl(AT, to).unwrap(), dest);
            }
            if dest.abs_diff(AT) < 1 << 27 {
                same(
                    a64::adrp(reg((random & 31) as u8), AT, AT.wrapping_add_signed(i64::from(random.cast_signed())))
                        .unwrap(),
                    dest,
                );
                same(
                    a64::adr(
                        reg((random & 31) as u8),
                        AT,
                        AT.wrapping_add_signed(i64::from(random.cast_signed() >> 12)),
                    )
                    .unwrap(),
                    dest,
                );
                same(a64::blr(reg((random % 30) as u8)), dest);
                same(a64::br(reg((random & 30) as u8)), dest);
            }
        }
    }
}

/// A literal that is near is loaded from where it was; of a distant one, the address is made in the register.
#[test]
fn literals_keep_their_place() {
    for random in numbers().take(20_000) {
        for top in [0x18, 0x58, 0x98, 0xd8, 0x1c, 0x5c, 0x9cu32] {
            let word = Word(top << 24 | random >> 8 & !31 | random & 31);
            let Some(Relative::Literal { load, rt, at }) = word.relative(AT) else { panic!("{word:?}") };
            for dest in [NEAR, FAR] {
                let copy = match site(word.0.to_le_bytes()).relocate(0, dest) {
                    Ok(copy) => copy.bytes,
                    Err(reason) => {
                        let vector = matches!(load, super::decode::Load::Vector(_));
                        assert!(reason == Reason::OutOfRange && (vector || rt == 31));
                        continue;
                    }
                };
                let first = Word(u32::from_le_bytes(*copy.first_chunk().unwrap()));
                if let Some(Relative::Literal { load: l, rt: r, at: a }) = first.relative(dest) {
                    assert_eq!((l, r, a), (load, rt, at));
                    assert_eq!(copy.len(), 8);
                    continue;
                }
                if first.is_nop() {
                    assert_eq!(word.0 >> 24, 0xd8, "only a hint may go");
                    continue;
                }
                let load_at = copy.len() - 8;
                let (regs, pc) = execute(&copy[..load_at], dest, 1);
                assert_eq!((regs.x[usize::from(rt)], pc), (at, dest + load_at as u64));
                let last = theirs(u32::from_le_bytes(*copy[load_at..].first_chunk().unwrap())).unwrap();
                let original = theirs(word.0).unwrap();
                // LDR and LDRSW of the same register, W or X.
                assert_eq!(
                    (last.opcode, last.operands[0]),
                    (original.opcode, original.operands[0]),
                    "{last} {original}"
                );
            }
        }
    }
}

/// What is in the manual's list may change live, the rest not.
#[test]
fn live_is_what_the_list_says() {
    assert!(site(a64::NOP).live() && site(a64::b(AT, AT + 64).unwrap()).live());
    assert!(!site(0xa9bf_7bfd_u32.to_le_bytes()).live() && !site(a64::ret(reg(30))).live());
}
