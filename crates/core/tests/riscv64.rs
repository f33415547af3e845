//! What is encoded decodes to itself, what decodes can be encoded, and another disassembler agrees.

mod numbers;

use numbers::{Numbers, distances};
use raki::{BaseIOpcode as Base, COpcode as C, Decode, Instruction, OpcodeKind};
use textpoke_core::Refusal;
use textpoke_core::isa::riscv64::{self as rv, Cond, Insn, RA, T0, ZERO};
use textpoke_core::isa::{Isa, Reg, Riscv64};
use textpoke_core::trap::{Effect, Regs};

const AT: u64 = 0x3f_1234_5676;

fn reg(n: u32) -> Reg {
    Reg::new(n as u8).unwrap()
}

fn to(distance: i64) -> u64 {
    AT.wrapping_add_signed(distance)
}

fn decode(bytes: &[u8]) -> Option<Insn> {
    Riscv64::decode(AT, bytes)
}

#[test]
fn every_branch_offset_goes_there_and_back() {
    for target in (-1 << 11..1 << 11).map(|halves| to(halves * 2)) {
        for cond in [Cond::Eq, Cond::Ne, Cond::Lt, Cond::Ge, Cond::Ltu, Cond::Geu] {
            let branch = Insn::Branch { cond, a: reg(17), b: reg(30), target, next: AT + 4 };
            assert_eq!(decode(&rv::branch(cond, reg(17), reg(30), AT, target).unwrap()), Some(branch));
        }
    }
    for target in (-1 << 10..1 << 10).map(|halves| to(halves * 2)) {
        let jump = Insn::Jump { link: ZERO, target, next: AT + 2 };
        assert_eq!(decode(&rv::c_j(AT, target).unwrap()), Some(jump));
    }
    for target in (-1 << 19..1 << 19).map(|halves| to(halves * 2)) {
        assert_eq!(decode(&rv::jal(RA, AT, target).unwrap()), Some(Insn::Jump { link: RA, target, next: AT + 4 }));
    }
}

#[test]
fn every_immediate_goes_there_and_back() {
    for imm in -2048..2048 {
        let add = Insn::AddImm { reg: reg(10), base: reg(11), imm, next: AT + 4 };
        assert_eq!(decode(&rv::addi(reg(10), reg(11), imm).unwrap()), Some(add));
        let jump = Insn::JumpReg { link: T0, base: reg(31), offset: imm, next: AT + 4 };
        assert_eq!(decode(&rv::jalr(T0, reg(31), imm).unwrap()), Some(jump));
    }
    for upper in (-1 << 19..1 << 19).map(|pages: i32| pages << 12) {
        let value = i64::from(upper) as u64;
        let lui = Insn::Const { reg: reg(5), value, next: AT + 4 };
        assert_eq!(decode(&rv::lui(reg(5), upper).unwrap()), Some(lui));
        let auipc = Insn::Const { reg: reg(5), value: AT.wrapping_add(value), next: AT + 4 };
        assert_eq!(decode(&rv::auipc(reg(5), upper).unwrap()), Some(auipc));
    }
}

/// Where the pair goes, by executing both halves.
fn arrives(pair: [[u8; 4]; 2]) -> u64 {
    let mut regs = Regs::default();
    let Effect::Set { reg, value, pc } = Riscv64::effect(decode(&pair[0]).unwrap(), &regs) else { panic!("no AUIPC") };
    regs.x[usize::from(reg)] = value;
    let second = Riscv64::decode(pc, &pair[1]).unwrap();
    match Riscv64::effect(second, &regs) {
        Effect::Set { reg: 1, value, pc } if value == AT + 8 => pc,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_pair_reaches_its_target() {
    for distance in distances(32).filter(|d| d % 2 == 0 && *d < (1 << 31) - 0x800).chain((-10_000..10_000).step_by(2)) {
        assert_eq!(arrives(rv::far(RA, T0, AT, to(distance)).unwrap()), to(distance), "{distance:#x}");
    }
    let (lowest, highest) = (-(1 << 31) - 0x800, (1 << 31) - 0x802);
    for distance in [lowest, highest] {
        assert_eq!(arrives(rv::far(RA, T0, AT, to(distance)).unwrap()), to(distance), "{distance:#x}");
    }
    for distance in [lowest - 2, highest + 2, i64::MAX - 1, i64::MIN] {
        let beyond = Refusal::OutOfRange { from: AT, to: to(distance) };
        assert_eq!(rv::far(RA, T0, AT, to(distance)), Err(beyond), "{distance:#x}");
    }
    assert_eq!(rv::far(RA, ZERO, AT, AT), Err(Refusal::Operand { value: 0 }), "that is LPAD");
}

#[test]
fn ranges_end_where_the_manual_says() {
    type Encode = fn(u64) -> Result<(), Refusal>;
    let branches: [(Encode, i64); 3] = [
        (|to| rv::jal(RA, AT, to).map(drop), 1 << 20),
        (|to| rv::branch(Cond::Eq, RA, RA, AT, to).map(drop), 1 << 12),
        (|to| rv::c_j(AT, to).map(drop), 1 << 11),
    ];
    for (encode, reach) in branches {
        for distance in [-reach, reach - 2] {
            assert_eq!(encode(to(distance)), Ok(()), "{distance:#x}");
        }
        for distance in [-reach - 2, reach, i64::MIN, i64::MAX - 1] {
            assert_eq!(encode(to(distance)), Err(Refusal::OutOfRange { from: AT, to: to(distance) }));
        }
        assert_eq!(encode(to(1)), Err(Refusal::Misaligned { addr: to(1), align: 2 }));
    }
    assert_eq!(rv::far(RA, T0, AT, AT + 1), Err(Refusal::Misaligned { addr: AT + 1, align: 2 }));
    assert_eq!(rv::c_j(1, 2), Err(Refusal::Misaligned { addr: 1, align: 2 }));
    for imm in [-2049, 2048, i16::MIN, i16::MAX] {
        assert_eq!(rv::addi(RA, RA, imm), Err(Refusal::Operand { value: imm.into() }));
        assert_eq!(rv::jalr(RA, RA, imm), Err(Refusal::Operand { value: imm.into() }));
    }
    assert_eq!(rv::lui(RA, 0x1001), Err(Refusal::Operand { value: 0x1001 }));
    assert_eq!(rv::auipc(RA, -1), Err(Refusal::Operand { value: -1 }));
}

/// The same instruction by the other disassembler; `None` for those that are not ours to act as.
fn theirs(insn: &Instruction) -> Option<Insn> {
    let r = |field: Option<usize>| reg(field.unwrap() as u32);
    let imm = || insn.imm.unwrap() as i16;
    let target = || to(insn.imm.unwrap().into());
    // It gives the 20 bits as a number.
    let upper = || i64::from(insn.imm.unwrap() << 12);
    let next = AT + if insn.is_compressed { 2 } else { 4 };
    let branch = |cond, b| Insn::Branch { cond, a: r(insn.rs1), b, target: target(), next };
    let add = |base| Insn::AddImm { reg: r(insn.rd), base, imm: imm(), next };
    let sp = reg(2);
    Some(match &insn.opc {
        OpcodeKind::BaseI(op) => match op {
            Base::ADDI if (insn.rd, insn.rs1, insn.imm) == (Some(0), Some(0), Some(0)) => Insn::Nop { next },
            Base::ADDI => add(r(insn.rs1)),
            Base::LUI => Insn::Const { reg: r(insn.rd), value: upper() as u64, next },
            Base::AUIPC if insn.rd == Some(0) => return None,
            Base::AUIPC => Insn::Const { reg: r(insn.rd), value: to(upper()), next },
            Base::JAL => Insn::Jump { link: r(insn.rd), target: target(), next },
            Base::JALR => Insn::JumpReg { link: r(insn.rd), base: r(insn.rs1), offset: imm(), next },
            Base::BEQ => branch(Cond::Eq, r(insn.rs2)),
            Base::BNE => branch(Cond::Ne, r(insn.rs2)),
            Base::BLT => branch(Cond::Lt, r(insn.rs2)),
            Base::BGE => branch(Cond::Ge, r(insn.rs2)),
            Base::BLTU => branch(Cond::Ltu, r(insn.rs2)),
            Base::BGEU => branch(Cond::Geu, r(insn.rs2)),
            _ => return None,
        },
        OpcodeKind::C(op) => match op {
            C::NOP if insn.imm == Some(0) => Insn::Nop { next },
            C::NOP => Insn::AddImm { reg: ZERO, base: ZERO, imm: imm(), next },
            C::ADDI => add(r(insn.rs1)),
            C::LI => add(ZERO),
            // The manual ("C") reserves these, which the other disassembler does not look at.
            C::ADDI4SPN | C::ADDI16SP | C::LUI if insn.imm == Some(0) => return None,
            C::JR if insn.rs1 == Some(0) => return None,
            C::ADDI4SPN | C::ADDI16SP => add(sp),
            C::LUI => Insn::Const { reg: r(insn.rd), value: i64::from(insn.imm?) as u64, next },
            C::MV => Insn::AddImm { reg: r(insn.rd), base: r(insn.rs2), imm: 0, next },
            C::J => Insn::Jump { link: ZERO, target: target(), next },
            C::JR => Insn::JumpReg { link: ZERO, base: r(insn.rs1), offset: 0, next },
            C::JALR => Insn::JumpReg { link: RA, base: r(insn.rs1), offset: 0, next },
            C::BEQZ => branch(Cond::Eq, ZERO),
            C::BNEZ => branch(Cond::Ne, ZERO),
            _ => return None,
        },
        _ => return None,
    })
}

#[test]
fn all_compressed_instructions_agree_with_another_disassembler() {
    let mut acted_as = 0;
    for parcel in 0..=u16::MAX {
        let bytes = parcel.to_le_bytes();
        let compressed = parcel & 3 != 3;
        assert_eq!(rv::length(parcel) == Some(2), compressed);
        let ours = decode(&bytes);
        if !compressed {
            assert_eq!(ours, None, "half an instruction");
            continue;
        }
        let insn = parcel.decode(raki::Isa::Rv64).ok();
        assert_eq!(ours, insn.as_ref().and_then(theirs), "{parcel:#06x}: {insn:?}");
        acted_as += u32::from(ours.is_some());
    }
    // C.J 2^11, branches 2 * 2^11, and ADDI4SPN, ADDI, LI, LUI, ADDI16SP, MV, JR, JALR.
    let immediates = 8 * 255 + 2048 + 2048 + (32 * 64 - 32);
    assert_eq!(acted_as, 2048 + 2 * 2048 + immediates + 32 * 31 + 31 + 31);
}

#[test]
fn each_compressed_instruction_is_one_of_those_that_expand_to_it() {
    for parcel in (0..=u16::MAX).filter(|p| p & 3 != 3) {
        if let Some(insn) = decode(&parcel.to_le_bytes()) {
            assert!(compressions(insn).contains(&parcel), "{parcel:#06x}: {insn:?}");
        }
    }
}

/// Every compressed encoding of an instruction: fields by the tables of the manual, put together the other way round than
/// the decoder takes them apart.
fn compressions(insn: Insn) -> Vec<u16> {
    let n = |reg: Reg| u16::from(reg.number());
    let scatter = |value: i64, places: &[(u32, u16)]| {
        places.iter().map(|&(bit, place)| ((value >> bit & 1) as u16) << place).fold(0, |all, bit| all | bit)
    };
    let six = |imm: i64| scatter(imm, &[(5, 12), (4, 6), (3, 5), (2, 4), (1, 3), (0, 2)]);
    match insn {
        Insn::Nop { .. } => vec![1],
        Insn::Jump { target, .. } => vec![u16::from_le_bytes(rv::c_j(AT, target).unwrap())],
        Insn::JumpReg { link, base, .. } => vec![0x8002 | n(link) << 12 | n(base) << 7],
        Insn::Branch { cond, a, target, .. } => {
            let places = [(8, 12), (4, 11), (3, 10), (7, 6), (6, 5), (2, 4), (1, 3), (5, 2)];
            let op = if cond == Cond::Eq { 0xc001 } else { 0xe001 };
            vec![op | (n(a) - 8) << 7 | scatter(target.wrapping_sub(AT) as i64, &places)]
        }
        Insn::Const { reg, value, .. } => vec![0x6001 | n(reg) << 7 | six(value as i64 >> 12)],
        Insn::AddImm { reg, base, imm, .. } => {
            let imm = i64::from(imm);
            let spn = [(5, 12), (4, 11), (9, 10), (8, 9), (7, 8), (6, 7), (2, 6), (3, 5)];
            let sp16 = [(9, 12), (4, 6), (6, 5), (8, 4), (7, 3), (5, 2)];
            let mut all = vec![0x4001 | n(reg) << 7 | six(imm), 0x0001 | n(reg) << 7 | six(imm)];
            all.push(0x8002 | n(reg) << 7 | n(base) << 2);
            all.push(0x6101 | scatter(imm, &sp16));
            all.push(n(reg).wrapping_sub(8) << 2 | scatter(imm, &spn));
            all
        }
    }
}

#[test]
fn full_instructions_agree_with_another_disassembler_and_encode_to_themselves() {
    let mut numbers = Numbers(2);
    let mut acted_as = 0;
    for opcode in 0..1 << 5 {
        for funct3 in 0..1 << 3 {
            for _ in 0..1 << 13 {
                let random = numbers.next() as u32;
                let word = random & !0x707f | funct3 << 12 | opcode << 2 | 3;
                let bytes = word.to_le_bytes();
                let ours = decode(&bytes);
                let expected = match word.decode(raki::Isa::Rv64) {
                    // It takes any `funct3` for JALR; the manual has zero.
                    Ok(insn) if insn.opc == OpcodeKind::BaseI(Base::JALR) && funct3 != 0 => None,
                    Ok(insn) => theirs(&insn),
                    Err(_) => None,
                };
                assert_eq!(ours, expected, "{word:#010x}");
                if let Some(insn) = ours {
                    assert!(encodings(insn).contains(&bytes), "{word:#010x}: {insn:?}");
                    acted_as += 1;
                }
            }
        }
    }
    // LUI, AUIPC and JAL with every `funct3`, six branches, JALR, ADDI; a thirty-second of AUIPC is not.
    let all = (3 * 8 + 6 + 1 + 1) << 13;
    assert!(acted_as <= all && acted_as > all - all / 64, "{acted_as} of {all}");
}

/// Every four-byte encoding of an instruction that ours writes.
fn encodings(insn: Insn) -> Vec<[u8; 4]> {
    match insn {
        Insn::Nop { .. } => vec![rv::NOP],
        Insn::Jump { link, target, .. } => vec![rv::jal(link, AT, target).unwrap()],
        Insn::JumpReg { link, base, offset, .. } => vec![rv::jalr(link, base, offset).unwrap()],
        Insn::Branch { cond, a, b, target, .. } => vec![rv::branch(cond, a, b, AT, target).unwrap()],
        Insn::AddImm { reg, base, imm, .. } => vec![rv::addi(reg, base, imm).unwrap()],
        Insn::Const { reg, value, .. } => {
            let auipc = i32::try_from(value.wrapping_sub(AT) as i64).ok().and_then(|d| rv::auipc(reg, d).ok());
            let lui = i32::try_from(value as i64).ok().and_then(|v| rv::lui(reg, v).ok());
            auipc.into_iter().chain(lui).collect()
        }
    }
}

#[test]
fn what_checks_something_or_is_longer_is_refused() {
    for (word, name) in [
        (0x0000_0017_u32, "LPAD"),
        (0x0010_0073, "EBREAK"),
        (0x0000_100f, "FENCE.I"),
        (0x0000_2013, "SLTI to x0"),
        (0x0000_001f, "48 bits"),
        (0x0000_0000, "two illegal instructions"),
    ] {
        assert_eq!(decode(&word.to_le_bytes()), None, "{name}");
    }
    for (parcel, name) in [
        (0x0000_u16, "illegal"),
        (0x6081, "C.MOP.1, which is C.SSPUSH"),
        (0x6281, "C.MOP.5, which is C.SSPOPCHK"),
        (0x9002, "C.EBREAK"),
        (0x8002, "C.JR to x0, reserved"),
        (0x2001, "C.ADDIW, and C.JAL on RV32"),
        (0x9006, "C.ADD to x0: a hint of Zihintntl"),
    ] {
        assert_eq!(decode(&parcel.to_le_bytes()), None, "{name}");
    }
    assert_eq!(Riscv64::decode(AT + 1, &rv::NOP), None, "no instruction is there");
    assert_eq!((rv::length(0x001f), rv::length(0x003f), rv::length(0x007f)), (None, None, None));
    assert_eq!((decode(&[]), decode(&rv::NOP[..1]), decode(&rv::NOP[..3])), (None, None, None));
}

#[test]
fn only_what_never_falls_through_may_be_padded() {
    let c_j = rv::c_j(AT, AT).unwrap();
    let jump = Some(Insn::Jump { link: ZERO, target: AT, next: AT + 2 });
    assert_eq!(decode(&[&c_j[..], &rv::C_EBREAK].concat()), jump);
    assert_eq!(decode(&[&c_j[..], &rv::C_EBREAK, &rv::EBREAK].concat()), jump);
    assert_eq!(decode(&[&c_j[..], &rv::EBREAK[..2]].concat()), None, "half a breakpoint");
    assert_eq!(decode(&[&c_j[..], &rv::C_NOP].concat()), None);
    assert_eq!(decode(&[&rv::jal(RA, AT, AT).unwrap()[..], &rv::EBREAK].concat()), None, "comes back");
    assert_eq!(decode(&[&rv::C_NOP[..], &rv::C_EBREAK].concat()), None);
    assert!(decode(&[&rv::jal(ZERO, AT, AT).unwrap()[..], &rv::EBREAK].concat()).is_some());
    assert!(Riscv64::is_trap(&rv::EBREAK) && Riscv64::is_trap(&rv::C_EBREAK) && !Riscv64::is_trap(&rv::NOP));
    assert!(!Riscv64::is_trap(&rv::EBREAK[..3]) && !Riscv64::is_trap(&[]) && Riscv64::is_trap(Riscv64::TRAP));
}

#[test]
fn each_instruction_has_its_effect() {
    let mut regs = Regs::default();
    for n in 0..32 {
        regs.x[n] = 0x1000 * (n as u64 + 1) + 1;
    }
    regs.x[8] = u64::MAX;
    let effect = |bytes: &[u8]| Riscv64::effect(decode(bytes).unwrap(), &regs);
    let goto = |pc| Effect::Goto { pc };
    let far = AT + 0x100;
    assert_eq!(effect(&rv::NOP), goto(AT + 4));
    assert_eq!(effect(&rv::C_NOP), goto(AT + 2));
    assert_eq!(effect(&rv::jal(RA, AT, far).unwrap()), Effect::Set { reg: 1, value: AT + 4, pc: far });
    assert_eq!(effect(&rv::jal(ZERO, AT, far).unwrap()), goto(far));
    assert_eq!(effect(&rv::c_j(AT, far).unwrap()), goto(far));
    // The lowest bit is dropped, and the base is read before the same register is written.
    assert_eq!(effect(&rv::jalr(T0, T0, 2).unwrap()), Effect::Set { reg: 5, value: AT + 4, pc: 0x6002 });
    assert_eq!(effect(&rv::jalr(ZERO, ZERO, -2).unwrap()), goto(-2_i64 as u64));
    assert_eq!(effect(&[0x82, 0x80]), goto(0x2000), "c.jr ra");
    assert_eq!(effect(&[0x82, 0x92]), Effect::Set { reg: 1, value: AT + 2, pc: 0x6000 }, "c.jalr t0");
    assert_eq!(effect(&rv::lui(T0, -0x1000).unwrap()), Effect::Set { reg: 5, value: -0x1000_i64 as u64, pc: AT + 4 });
    assert_eq!(effect(&rv::auipc(T0, -0x1000).unwrap()), Effect::Set { reg: 5, value: AT - 0x1000, pc: AT + 4 });
    assert_eq!(effect(&rv::addi(T0, ZERO, -1).unwrap()), Effect::Set { reg: 5, value: u64::MAX, pc: AT + 4 });
    assert_eq!(effect(&rv::addi(T0, reg(8), 1).unwrap()), Effect::Set { reg: 5, value: 0, pc: AT + 4 });
    assert_eq!(effect(&rv::addi(ZERO, T0, 1).unwrap()), goto(AT + 4));
    assert_eq!(effect(&[0x41, 0x11]), Effect::Set { reg: 2, value: 0x3001 - 16, pc: AT + 2 }, "c.addi sp, -16");
    assert_eq!(effect(&[0x39, 0x71]), Effect::Set { reg: 2, value: 0x3001 - 64, pc: AT + 2 }, "c.addi16sp -64");
}

#[test]
fn branches_compare_as_they_say() {
    let values = [0, 1, u64::MAX, 1 << 63, (1 << 63) - 1];
    for a in values {
        for b in values {
            let mut regs = Regs::default();
            (regs.x[11], regs.x[12]) = (a, b);
            let (signed_a, signed_b) = (a as i64, b as i64);
            for (cond, holds) in [
                (Cond::Eq, a == b),
                (Cond::Ne, a != b),
                (Cond::Lt, signed_a < signed_b),
                (Cond::Ge, signed_a >= signed_b),
                (Cond::Ltu, a < b),
                (Cond::Geu, a >= b),
            ] {
                let branch = decode(&rv::branch(cond, reg(11), reg(12), AT, AT).unwrap()).unwrap();
                let pc = if holds { AT } else { AT + 4 };
                assert_eq!(Riscv64::effect(branch, &regs), Effect::Goto { pc }, "{cond:?} {a:#x} {b:#x}");
            }
            // What x0's slot holds is not looked at.
            regs.x[0] = 77;
            let zero = decode(&rv::branch(Cond::Eq, reg(11), ZERO, AT, AT).unwrap()).unwrap();
            assert_eq!(Riscv64::effect(zero, &regs), Effect::Goto { pc: if a == 0 { AT } else { AT + 4 } });
        }
    }
}
