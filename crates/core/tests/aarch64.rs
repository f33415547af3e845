//! What is encoded decodes to itself, what decodes can be encoded, and another disassembler agrees.

mod numbers;

use numbers::{Numbers, distances};
use textpoke_core::Refusal;
use textpoke_core::isa::aarch64::{self as a64, Cond, Insn, Width, XZR};
use textpoke_core::isa::{Aarch64, Isa, Reg};
use textpoke_core::trap::{Effect, Regs};
use yaxpeax_arch::{Decoder, U8Reader};
use yaxpeax_arm::armv8::a64::{InstDecoder, Opcode, Operand, ShiftStyle, SizeCode};

const AT: u64 = 0x7f12_3456_7890;
const NEXT: u64 = AT + 4;

fn reg(n: u32) -> Reg {
    Reg::new(n as u8).unwrap()
}

fn to(distance: i64) -> u64 {
    AT.wrapping_add_signed(distance)
}

fn decode(word: [u8; 4]) -> Option<Insn> {
    Aarch64::decode(AT, &word)
}

#[test]
fn every_branch_offset_goes_there_and_back() {
    for target in (-1 << 18..1 << 18).map(|words| to(words * 4)) {
        let cond = Cond::new(11).unwrap();
        let word = a64::b_cond(cond, AT, target).unwrap();
        assert_eq!(decode(word), Some(Insn::BCond { cond, target, next: NEXT }));
        for (width, nonzero) in [(Width::W, false), (Width::X, true)] {
            let word = if nonzero { a64::cbnz(width, reg(5), AT, target) } else { a64::cbz(width, reg(5), AT, target) };
            assert_eq!(decode(word.unwrap()), Some(Insn::Cb { reg: reg(5), width, nonzero, target, next: NEXT }));
        }
    }
    for target in (-1 << 13..1 << 13).map(|words| to(words * 4)) {
        for bit in [0, 1, 31, 32, 62, 63] {
            let tbz = Insn::Tb { reg: reg(30), bit, set: false, target, next: NEXT };
            let tbnz = Insn::Tb { reg: XZR, bit, set: true, target, next: NEXT };
            assert_eq!(decode(a64::tbz(reg(30), bit, AT, target).unwrap()), Some(tbz));
            assert_eq!(decode(a64::tbnz(XZR, bit, AT, target).unwrap()), Some(tbnz));
        }
    }
    for target in distances(26).map(|words| to(words * 4)) {
        assert_eq!(decode(a64::b(AT, target).unwrap()), Some(Insn::B { target }));
        assert_eq!(decode(a64::bl(AT, target).unwrap()), Some(Insn::Bl { target, next: NEXT }));
    }
}

#[test]
fn every_address_offset_goes_there_and_back() {
    for distance in -1 << 20..1 << 20 {
        let value = to(distance);
        assert_eq!(decode(a64::adr(reg(9), AT, value).unwrap()), Some(Insn::Const { reg: reg(9), value, next: NEXT }));
        let page = (AT & !0xfff).wrapping_add_signed(distance << 12);
        let word = a64::adrp(reg(9), AT, page | 0xabc).unwrap();
        assert_eq!(decode(word), Some(Insn::Const { reg: reg(9), value: page, next: NEXT }));
    }
}

#[test]
fn ranges_end_where_the_manual_says() {
    type Encode = fn(u64) -> Result<[u8; 4], Refusal>;
    let branches: [(Encode, i64); 4] = [
        (|to| a64::b(AT, to), 1 << 27),
        (|to| a64::bl(AT, to), 1 << 27),
        (|to| a64::cbz(Width::X, reg(0), AT, to), 1 << 20),
        (|to| a64::tbnz(reg(0), 0, AT, to), 1 << 15),
    ];
    for (encode, reach) in branches {
        for distance in [-reach, reach - 4] {
            assert!(encode(to(distance)).is_ok(), "{distance:#x}");
        }
        for distance in [-reach - 4, reach, i64::MIN, i64::MAX & !3] {
            assert_eq!(encode(to(distance)), Err(Refusal::OutOfRange { from: AT, to: to(distance) }));
        }
        for odd in 1..4 {
            assert_eq!(encode(to(odd)), Err(Refusal::Misaligned { addr: to(odd), align: 4 }));
        }
    }
    assert_eq!(a64::b(AT + 2, AT), Err(Refusal::Misaligned { addr: AT + 2, align: 4 }));
    assert!(a64::adr(reg(0), AT, to(-1 << 20)).is_ok() && a64::adr(reg(0), AT, to((1 << 20) - 1)).is_ok());
    assert!(a64::adr(reg(0), AT, to((-1 << 20) - 1)).is_err() && a64::adr(reg(0), AT, to(1 << 20)).is_err());
    let page = AT & !0xfff;
    assert!(a64::adrp(reg(0), AT, page + (1 << 32) - 1).is_ok() && a64::adrp(reg(0), AT, page - (1 << 32)).is_ok());
    assert!(a64::adrp(reg(0), AT, page + (1 << 32)).is_err() && a64::adrp(reg(0), AT, page - (1 << 32) - 1).is_err());
    assert_eq!(a64::adr(reg(0), 1, 1), Err(Refusal::Misaligned { addr: 1, align: 4 }));
    assert_eq!(a64::adrp(reg(0), 2, 2), Err(Refusal::Misaligned { addr: 2, align: 4 }));
    assert_eq!(a64::tbz(reg(0), 64, AT, AT), Err(Refusal::Operand { value: 64 }));
    for (width, shift) in [(Width::W, 32), (Width::X, 64), (Width::X, 8)] {
        assert_eq!(a64::movz(width, reg(0), 1, shift), Err(Refusal::Operand { value: shift.into() }));
    }
    assert_eq!((Reg::new(31), Reg::new(32), Cond::new(16)), (Some(XZR), None, None));
}

/// Every encoding of an instruction that ours writes.
fn encodings(insn: Insn) -> Vec<[u8; 4]> {
    let shifts = |width| if width == Width::X { 0..4 } else { 0..2 };
    let one = |word: Result<[u8; 4], Refusal>| vec![word.unwrap()];
    match insn {
        Insn::Nop { .. } => vec![a64::NOP],
        Insn::B { target } => one(a64::b(AT, target)),
        Insn::Bl { target, .. } => one(a64::bl(AT, target)),
        Insn::BCond { cond, target, .. } => one(a64::b_cond(cond, AT, target)),
        Insn::Cb { reg, width, nonzero: false, target, .. } => one(a64::cbz(width, reg, AT, target)),
        Insn::Cb { reg, width, nonzero: true, target, .. } => one(a64::cbnz(width, reg, AT, target)),
        Insn::Tb { reg, bit, set: false, target, .. } => one(a64::tbz(reg, bit, AT, target)),
        Insn::Tb { reg, bit, set: true, target, .. } => one(a64::tbnz(reg, bit, AT, target)),
        Insn::Br { reg } => vec![a64::br(reg)],
        Insn::Blr { reg, .. } => vec![a64::blr(reg)],
        Insn::Ret { reg } => vec![a64::ret(reg)],
        Insn::MovReg { reg, from, width, .. } => vec![a64::mov_reg(width, reg, from)],
        Insn::MovKeep { reg, imm, shift, width, .. } => one(a64::movk(width, reg, imm, shift)),
        Insn::Const { reg, value, .. } => {
            let mut all: Vec<_> = [a64::adr(reg, AT, value), a64::adrp(reg, AT, value)].into_iter().flatten().collect();
            for width in [Width::W, Width::X] {
                for shift in shifts(width).map(|half| half * 16) {
                    all.push(a64::movz(width, reg, (value >> shift) as u16, shift).unwrap());
                    all.push(a64::movn(width, reg, (!value >> shift) as u16, shift).unwrap());
                }
            }
            all
        }
    }
}

/// The same instruction by the other disassembler; `None` for those that are not ours to act as.
fn theirs(word: [u8; 4]) -> Option<Insn> {
    use Operand::{ControlReg, Imm16, ImmShift, Immediate, Nothing, PCOffset, RegShift, Register};
    let insn = InstDecoder::default().decode(&mut U8Reader::new(&word)).ok()?;
    let r = |number: u16| reg(number.into());
    let w = |size| if size == SizeCode::X { Width::X } else { Width::W };
    let next = NEXT;
    Some(match (insn.opcode, insn.operands) {
        (Opcode::HINT, [ControlReg(0), Immediate(0), ..]) => Insn::Nop { next },
        (Opcode::B, [PCOffset(d), ..]) => Insn::B { target: to(d) },
        (Opcode::BL, [PCOffset(d), ..]) => Insn::Bl { target: to(d), next },
        (Opcode::Bcc(code), [PCOffset(d), ..]) => Insn::BCond { cond: Cond::new(code)?, target: to(d), next },
        (op @ (Opcode::CBZ | Opcode::CBNZ), [Register(size, n), PCOffset(d), ..]) => {
            Insn::Cb { reg: r(n), width: w(size), nonzero: op == Opcode::CBNZ, target: to(d), next }
        }
        (op @ (Opcode::TBZ | Opcode::TBNZ), [Register(_, n), Imm16(bit), PCOffset(d), ..]) => {
            Insn::Tb { reg: r(n), bit: bit as u8, set: op == Opcode::TBNZ, target: to(d), next }
        }
        (Opcode::BR, [Register(_, n), ..]) => Insn::Br { reg: r(n) },
        (Opcode::BLR, [Register(_, n), ..]) => Insn::Blr { reg: r(n), next },
        (Opcode::RET, [Register(_, n), ..]) => Insn::Ret { reg: r(n) },
        (Opcode::ORR, [Register(size, n), Register(_, 31), RegShift(ShiftStyle::LSL, 0, _, from), Nothing]) => {
            Insn::MovReg { reg: r(n), from: r(from), width: w(size), next }
        }
        (Opcode::ADR, [Register(_, n), PCOffset(d), ..]) => Insn::Const { reg: r(n), value: to(d), next },
        (Opcode::ADRP, [Register(_, n), PCOffset(d), ..]) => {
            Insn::Const { reg: r(n), value: (AT & !0xfff).wrapping_add_signed(d), next }
        }
        // It lets W registers be shifted by 32 and 48, which the manual leaves unallocated (C6.2 "MOVZ").
        (Opcode::MOVZ | Opcode::MOVN | Opcode::MOVK, [Register(SizeCode::W, _), ImmShift(_, 32..), ..]) => return None,
        (Opcode::MOVZ, [Register(_, n), ImmShift(imm, shift), ..]) => {
            Insn::Const { reg: r(n), value: u64::from(imm) << shift, next }
        }
        (Opcode::MOVN, [Register(size, n), ImmShift(imm, shift), ..]) => {
            let all = !(u64::from(imm) << shift);
            Insn::Const { reg: r(n), value: if size == SizeCode::X { all } else { all & 0xffff_ffff }, next }
        }
        (Opcode::MOVK, [Register(size, n), ImmShift(imm, shift), ..]) => {
            Insn::MovKeep { reg: r(n), imm, shift, width: w(size), next }
        }
        _ => return None,
    })
}

#[test]
fn what_decodes_encodes_to_itself_and_another_disassembler_agrees() {
    let mut numbers = Numbers(1);
    let mut decoded = [0; 13];
    // Every value of the upper byte, which is most of the opcode; of the next bits all, too, and the rest by chance.
    for upper in 0..1 << 11 {
        for _ in 0..1 << 10 {
            let low = numbers.next() as u32 & 0x1f_ffff;
            // Some classes have fixed fields that chance alone hits once in thousands.
            for low in [low, low & 0x1f_03ff | 0x3e0, low & 0x1f_03e0 | 0x1f_0000] {
                let word = (upper << 21 | low).to_le_bytes();
                let ours = decode(word);
                assert_eq!(ours, theirs(word), "{:#010x}", u32::from_le_bytes(word));
                if let Some(insn) = ours {
                    assert!(encodings(insn).contains(&word), "{insn:?}");
                    decoded[class(insn)] += 1;
                }
            }
        }
    }
    assert!(decoded[1..].iter().all(|&n| n > 100), "{decoded:?}");
}

/// Chance meets the few plain forms among those that authenticate too seldom.
#[test]
fn all_branches_to_registers_agree() {
    let mut plain = 0;
    for opcode in 0..1 << 4 {
        for fixed in 0..1 << 11 {
            for n in [0, 1, 30, 31] {
                let word = 0xd61f_0000_u32 | opcode << 21 | fixed >> 5 << 10 | n << 5 | fixed & 31;
                let ours = decode(word.to_le_bytes());
                assert_eq!(ours, theirs(word.to_le_bytes()), "{word:#010x}");
                plain += u32::from(ours.is_some());
            }
        }
    }
    assert_eq!(plain, 3 * 4, "BR, BLR, RET");
}

fn class(insn: Insn) -> usize {
    match insn {
        Insn::Nop { .. } => 0,
        Insn::B { .. } => 1,
        Insn::Bl { .. } => 2,
        Insn::BCond { .. } => 3,
        Insn::Cb { nonzero, .. } => 4 + usize::from(nonzero),
        Insn::Tb { set, .. } => 6 + usize::from(set),
        Insn::Br { .. } | Insn::Blr { .. } => 8,
        Insn::Ret { .. } => 9,
        Insn::MovReg { .. } => 10,
        Insn::Const { .. } => 11,
        Insn::MovKeep { .. } => 12,
    }
}

#[test]
fn of_all_hints_only_nop_is_one() {
    for hint in 0..128 {
        let word = (0xd503_201f_u32 | hint << 5).to_le_bytes();
        assert_eq!(decode(word).is_some(), hint == 0, "HINT #{hint}");
        assert_eq!(decode(word), theirs(word));
    }
}

#[test]
fn what_needs_a_key_or_memory_is_refused() {
    for (word, name) in [
        (0xd503_233f_u32, "PACIASP"),
        (0xd503_245f, "BTI c"),
        (0xd65f_0bff, "RETAA"),
        (0xd61f_081f, "BRAAZ X0"),
        (0x5800_0000, "LDR X0, literal"),
        (0x9100_03e0, "MOV X0, SP: an ADD, whose 31 is SP"),
        (0x5400_0010, "BC.EQ"),
        (0xd280_0000 & !(1 << 23), "not a wide move"),
        (0xd420_0000, "BRK"),
    ] {
        assert_eq!(decode(word.to_le_bytes()), None, "{name}");
    }
    assert_eq!(Aarch64::decode(AT + 2, &a64::NOP), None, "no instruction is there");
    for cut in 0..4 {
        assert_eq!(Aarch64::decode(AT, &a64::NOP[..cut]), None);
    }
}

#[test]
fn only_what_never_falls_through_may_be_padded() {
    let padded = |word: [u8; 4], pad: [u8; 4]| Aarch64::decode(AT, &[word, pad].concat());
    let ours: [u8; 4] = Aarch64::TRAP.try_into().unwrap();
    assert_eq!(padded(a64::b(AT, AT).unwrap(), ours), Some(Insn::B { target: AT }));
    assert_eq!(padded(a64::ret(a64::LR), ours), Some(Insn::Ret { reg: a64::LR }));
    assert_eq!(padded(a64::ret(a64::LR), a64::brk(0)), None, "a debugger's");
    assert_eq!(padded(a64::bl(AT, AT).unwrap(), ours), None);
    assert_eq!(padded(a64::NOP, a64::NOP), None, "two instructions");
    assert_eq!(Aarch64::decode(AT, &[&a64::br(XZR)[..], &ours[..3]].concat()), None);
}

#[test]
fn the_trap_is_our_own_brk() {
    assert_eq!(Aarch64::TRAP, [0x00, 0x8e, 0x2e, 0xd4], "brk #0x7470");
    for imm in 0..=u16::MAX {
        assert!(Aarch64::is_trap(&a64::brk(imm)));
        assert_eq!(a64::brk(imm) == Aarch64::TRAP, imm == a64::BRK_IMMEDIATE);
    }
    let hlt = 0xd440_0000_u32.to_le_bytes();
    assert!(!Aarch64::is_trap(&a64::NOP) && !Aarch64::is_trap(&hlt) && !Aarch64::is_trap(&a64::brk(0)[..3]));
}

fn effect(word: [u8; 4], regs: &Regs) -> Effect {
    Aarch64::effect(decode(word).unwrap(), regs)
}

#[test]
fn each_instruction_has_its_effect() {
    let mut regs = Regs::default();
    for n in 0..32 {
        regs.x[n] = 0x1_0000_0000 * (n as u64 + 1);
    }
    regs.x[7] = 0xffff_0000_1111_2222;
    let goto = |pc| Effect::Goto { pc };
    let set = |reg, value| Effect::Set { reg, value, pc: NEXT };
    let far = to(0x100);
    for (word, expected) in [
        (Ok(a64::NOP), goto(NEXT)),
        (a64::b(AT, far), goto(far)),
        (a64::bl(AT, far), Effect::Set { reg: 30, value: NEXT, pc: far }),
        (Ok(a64::br(reg(7))), goto(regs.x[7])),
        (Ok(a64::br(XZR)), goto(0)),
        (Ok(a64::ret(reg(30))), goto(regs.x[30])),
        (Ok(a64::blr(reg(7))), Effect::Set { reg: 30, value: NEXT, pc: regs.x[7] }),
        // The target is read before the link register is written.
        (Ok(a64::blr(reg(30))), Effect::Set { reg: 30, value: NEXT, pc: regs.x[30] }),
        // Its lower half is zero, and number 31 always is.
        (a64::cbz(Width::W, reg(3), AT, far), goto(far)),
        (a64::cbz(Width::X, reg(3), AT, far), goto(NEXT)),
        (a64::cbz(Width::X, XZR, AT, far), goto(far)),
        (a64::cbnz(Width::W, reg(3), AT, far), goto(NEXT)),
        (a64::cbnz(Width::X, reg(3), AT, far), goto(far)),
        (a64::tbz(reg(7), 47, AT, far), goto(far)),
        (a64::tbz(reg(7), 48, AT, far), goto(NEXT)),
        (a64::tbnz(reg(7), 63, AT, far), goto(far)),
        (a64::tbnz(reg(7), 0, AT, far), goto(NEXT)),
        (a64::tbnz(XZR, 0, AT, far), goto(NEXT)),
        (Ok(a64::mov_reg(Width::X, a64::X9, a64::LR)), set(9, regs.x[30])),
        (Ok(a64::mov_reg(Width::W, reg(9), reg(7))), set(9, 0x1111_2222)),
        (Ok(a64::mov_reg(Width::X, reg(9), XZR)), set(9, 0)),
        (Ok(a64::mov_reg(Width::X, XZR, reg(9))), goto(NEXT)),
        (a64::movz(Width::X, reg(1), 0xabcd, 48), set(1, 0xabcd << 48)),
        (a64::movn(Width::X, reg(1), 0, 0), set(1, u64::MAX)),
        (a64::movn(Width::W, reg(1), 0, 16), set(1, 0xffff_ffff)),
        (a64::movk(Width::X, reg(7), 0xabcd, 16), set(7, 0xffff_0000_abcd_2222)),
        (a64::movk(Width::W, reg(7), 0xabcd, 0), set(7, 0x1111_abcd)),
        (a64::movk(Width::X, XZR, 1, 0), goto(NEXT)),
        (a64::adr(reg(2), AT, AT - 1), set(2, AT - 1)),
        (a64::adrp(reg(2), AT, AT + 0x1000), set(2, (AT + 0x1000) & !0xfff)),
    ] {
        assert_eq!(effect(word.unwrap(), &regs), expected, "{:?}", decode(word.unwrap()));
    }
}

#[test]
fn conditions_follow_the_flags() {
    const N: u64 = 1 << 31;
    const Z: u64 = 1 << 30;
    const C: u64 = 1 << 29;
    const V: u64 = 1 << 28;
    let names = ["EQ", "NE", "CS", "CC", "MI", "PL", "VS", "VC", "HI", "LS", "GE", "LT", "GT", "LE", "AL", "NV"];
    for bits in 0..16 {
        // Other bits of PSTATE, among them BTYPE, do not matter.
        let flags = bits << 28 | 0xfff;
        let (n, z, c, v) = (flags & N != 0, flags & Z != 0, flags & C != 0, flags & V != 0);
        let truth =
            [z, !z, c, !c, n, !n, v, !v, c && !z, !c || z, n == v, n != v, !z && n == v, z || n != v, true, true];
        for (code, name) in names.iter().enumerate() {
            let cond = Cond::new(code as u8).unwrap();
            assert_eq!(cond.holds(flags), truth[code], "{name} on {bits:04b}");
            let taken = effect(a64::b_cond(cond, AT, AT).unwrap(), &Regs { flags, ..Regs::default() });
            assert_eq!(taken, Effect::Goto { pc: if truth[code] { AT } else { NEXT } });
        }
    }
}
