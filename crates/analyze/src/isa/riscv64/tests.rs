//! The decoder beside another one, and copies that are executed by what `core` knows of each instruction.

use raki::{BaseIOpcode as Base, COpcode as C, Decode as _, OpcodeKind};
use textpoke_core::isa::{self as core_isa, Isa as _};
use textpoke_core::trap::{Effect, Regs};

use super::decode::{Op, Word};
use super::{Arch as _, Flow, Riscv64};
use crate::site::{Jump, Site};

const AT: u64 = 0x3f_1234_5676;
const FAR: u64 = AT + 0x4000_0000;
const NEAR: u64 = AT + 0x2_0002;

fn op(bytes: &[u8]) -> (Flow, Op) {
    let insn = Riscv64::decoder(bytes, AT).next().expect("an instruction");
    (insn.flow, insn.raw.op(AT))
}

/// The registers that the other disassembler says are written (x0 left out) and the target of its jump or branch.
fn theirs(insn: &raki::Instruction) -> (u32, Option<u64>) {
    use OpcodeKind::{BaseI, C as Small};
    let stores =
        matches!(insn.opc, BaseI(Base::SB | Base::SH | Base::SW | Base::SD) | Small(C::SW | C::SD | C::SWSP | C::SDSP));
    let jumps = match insn.opc {
        BaseI(Base::JAL | Base::BEQ | Base::BNE | Base::BLT | Base::BGE | Base::BLTU | Base::BGEU)
        | Small(C::J | C::BEQZ | C::BNEZ) => insn.imm.map(|imm| AT.wrapping_add_signed(i64::from(imm))),
        _ => None,
    };
    let link = if insn.opc == Small(C::JALR) { Some(1) } else { None };
    let quiet = stores || matches!(insn.opc, Small(C::JR | C::J | C::BEQZ | C::BNEZ | C::JALR));
    let rd = link.or(insn.rd.filter(|_| !quiet)).map_or(0, |rd| 1u32 << rd & !1);
    (rd, jumps)
}

#[test]
fn all_compressed_instructions_agree_with_another_disassembler() {
    let mut compared = 0;
    for parcel in (0..=u16::MAX).filter(|p| p & 3 != 3) {
        let Ok(insn) = parcel.decode(raki::Isa::Rv64) else { continue };
        let (flow, _) = op(&parcel.to_le_bytes());
        if flow == Flow::Invalid {
            // What they take although it is reserved.
            assert!(matches!(insn.rd, None | Some(0)) || insn.imm == Some(0), "{parcel:#06x} {insn:?}");
            continue;
        }
        let (written, target) = theirs(&insn);
        let word = Word(u32::from(parcel));
        // Of the shadow stack's they name what is pushed; the rest of Zcmop is LUI of nothing to them.
        let operation = insn.opc == OpcodeKind::C(C::LUI) && insn.imm == Some(0);
        if !matches!(insn.opc, OpcodeKind::Zicfiss(_)) && !operation {
            assert_eq!(word.written(), written, "{parcel:#06x} {insn:?}");
        }
        let ours = match flow {
            Flow::Jump(to) | Flow::Branch(to) => Some(to),
            _ => None,
        };
        assert_eq!(ours, target, "{parcel:#06x} {insn:?}");
        let expected = match insn.opc {
            OpcodeKind::C(C::JR) if word.0 >> 7 & 31 == 1 => Flow::Return,
            OpcodeKind::C(C::JR) => Flow::JumpIndirect,
            OpcodeKind::C(C::JALR) => Flow::CallIndirect,
            // They take additions to x0, which are hints, for it.
            OpcodeKind::C(C::EBREAK) if parcel == 0x9002 => Flow::Stop,
            _ => ours.map_or(Flow::Next, |_| flow),
        };
        assert_eq!(flow, expected, "{parcel:#06x} {insn:?}");
        compared += 1;
    }
    // Quadrants 0 to 2, without what is reserved, what extensions took, and hints that the other does not know.
    assert!(compared > 38_000, "{compared}");
}

/// The same numbers on every run.
fn numbers() -> impl Iterator<Item = u32> {
    let mut state = 7u64;
    core::iter::repeat_with(move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 32) as u32
    })
}

#[test]
fn full_instructions_agree_with_another_disassembler() {
    let mut compared = 0;
    for (word, index) in numbers().zip(0..1u32 << 18) {
        let word = word & !0x707f | (index & 7) << 12 | (index >> 3 & 31) << 2 | 3;
        let Ok(insn) = word.decode(raki::Isa::Rv64) else { continue };
        // They take any function for JALR and FENCE.
        if word & 0x7f == 0x67 && word >> 12 & 7 != 0 || word & 0x7f == 0x0f {
            continue;
        }
        let (flow, _) = op(&word.to_le_bytes());
        let (written, target) = theirs(&insn);
        let ours = match flow {
            Flow::Jump(to) | Flow::Branch(to) | Flow::Call(to) => Some(to),
            _ => None,
        };
        assert_eq!(ours, target, "{word:#010x} {insn:?}");
        // They do not tell the registers of floating point apart, nor look at all bits of the shadow stack's.
        if !insn.opc.to_string().starts_with('f') && !matches!(insn.opc, OpcodeKind::Zicfiss(_)) {
            assert_eq!(Word(word).written(), written, "{word:#010x} {insn:?}");
        }
        compared += 1;
    }
    assert!(compared > 50_000, "{compared}");
}

/// Executes code at `dest` until control leaves it. Starts with registers that are all different.
fn execute(code: &[u8], dest: u64, seed: u32) -> (Regs, u64) {
    let mut regs = Regs::default();
    for (register, value) in regs.x.iter_mut().skip(1).zip(numbers().skip(seed as usize)) {
        *register = u64::from(value & 3);
    }
    let mut pc = dest;
    for _ in 0..64 {
        let Some(rest) = code.get(pc.wrapping_sub(dest) as usize..).filter(|r| !r.is_empty()) else { break };
        let len = Riscv64::decoder(rest, pc).next().expect("an instruction").len;
        let insn = core_isa::Riscv64::decode(pc, &rest[..usize::from(len)]).expect("one that core knows");
        match core_isa::Riscv64::effect(insn, &regs) {
            Effect::Goto { pc: to } => pc = to,
            Effect::Set { reg, value, pc: to } => {
                regs.x[usize::from(reg)] = value;
                pc = to;
            }
            other => panic!("{other:?}"),
        }
    }
    (regs, pc)
}

/// The copy at `dest` does what the original does, but for the register that holds nothing.
fn same(code: &[u8], dest: u64, jump: Jump) {
    let insns: Vec<_> = Riscv64::decoder(code, AT).collect();
    // What leads into the copy by chance would not leave it.
    let reach = if jump == Jump::One { (1 << 20) - 64 } else { 1 << 30 };
    if insns.iter().filter_map(|i| i.target()).any(|to| !(64..reach).contains(&to.abs_diff(dest))) {
        return;
    }
    let site = Site::new::<Riscv64>(&insns, code, jump);
    let copy = site.relocate(0, dest).unwrap_or_else(|e| panic!("{code:x?}: {e}"));
    for seed in 0..8 {
        let (mut before, from) = execute(code, AT, seed);
        let (mut after, to) = execute(&copy.bytes, dest, seed);
        if let Jump::Pair { by } = jump {
            (before.x[usize::from(by)], after.x[usize::from(by)]) = (0, 0);
        }
        assert_eq!((before.x, from), (after.x, to), "{code:x?} -> {:x?}", copy.bytes);
    }
    assert!(copy.bytes.len() <= crate::MAX_COPY);
}

fn both(code: &[u8]) {
    same(code, NEAR, Jump::One);
    same(code, FAR, Jump::Pair { by: 31 });
    same(code, NEAR, Jump::Pair { by: 31 });
}

#[test]
fn every_branch_does_the_same_from_elsewhere() {
    use core_isa::riscv64::{Cond, branch, c_j};
    let reg = |n| core_isa::Reg::new(n).unwrap();
    for to in (-1 << 11..1 << 11).map(|halves: i64| AT.wrapping_add_signed(halves * 2)) {
        // A branch to the second half of itself would not leave.
        if (AT..AT + 4).contains(&to) {
            continue;
        }
        for cond in [Cond::Eq, Cond::Ne, Cond::Lt, Cond::Ge, Cond::Ltu, Cond::Geu] {
            both(&branch(cond, reg(10), reg(11), AT, to).unwrap());
        }
        if let Ok(small) = c_j(AT, to) {
            both(&small);
        }
    }
    // C.BEQZ and C.BNEZ with every offset and register.
    for parcel in (0xc001u16..=0xfffd).step_by(4) {
        let Flow::Branch(to) = op(&parcel.to_le_bytes()).0 else { panic!("{parcel:#x}") };
        if !(AT..AT + 2).contains(&to) {
            both(&parcel.to_le_bytes());
        }
    }
}

#[test]
fn jumps_and_addresses_do_the_same_from_elsewhere() {
    let word = |insn: u32| insn.to_le_bytes();
    for random in numbers().take(4000) {
        // JAL to a0, AUIPC of a0, JALR a1 through a0, and the last two as a pair: calls and jumps.
        let (jal, auipc) = (random & !0xfff | 0x56f, random & 0x0fff_f000 | 0x517);
        let jalr = (random << 20) | 10 << 15 | 0x5e7;
        let (call, tail) = (jalr & !0xf80 | 10 << 7, jalr & !0xf80);
        if matches!(op(&word(jal)).0, Flow::Call(to) if (AT..AT + 4).contains(&to)) {
            continue;
        }
        both(&word(jal));
        both(&word(auipc));
        both(&word(jalr));
        both(&[word(auipc), word(call)].concat());
        both(&[word(auipc), word(jalr)].concat());
        both(&[word(auipc), word(tail)].concat());
    }
    // C.JALR a5, C.JR a5, C.LI, ADDI and C.NOP in a row.
    both(&[0x82, 0x97]);
    both(&[0x82, 0x87]);
    both(&[0x01, 0x45, 0x13, 0x05, 0x15, 0x00, 0x01, 0x00]);
}

#[test]
fn what_only_jal_reaches_is_refused_further_away() {
    let code = [0x01, 0x45, 0x01, 0x00];
    let insns: Vec<_> = Riscv64::decoder(&code, AT).collect();
    let site = Site::new::<Riscv64>(&insns, &code, Jump::One);
    assert_eq!(site.relocate(0, FAR), Err(crate::Reason::OutOfRange));
    assert_eq!(site.jump_to(0, AT + (1 << 20)), Err(crate::Reason::OutOfRange));
    assert_eq!(site.jump_to(0, AT + (1 << 20) - 2).map(|j| j.bytes.len()), Ok(4));
}
