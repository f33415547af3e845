//! What is said of AArch64 functions, on literal words.

use super::analyse;
use crate::testfile::{CODE, File};
use crate::{Ends, ExitEvent, ExitKind, Function, Jump, Obstacle, Reason, Way};
use textpoke_core::Kind;

const RET: u32 = 0xd65f_03c0;
const NOP: u32 = 0xd503_201f;
const BTI_C: u32 = 0xd503_245f;
const PACIASP: u32 = 0xd503_233f;
/// `stp x29, x30, [sp, #-16]!`
const PUSH: u32 = 0xa9bf_7bfd;
/// `mov w0, #1`
const ONE: u32 = 0x5280_0020;

fn function(code: &[u32]) -> Function {
    let file = File::aarch64(code);
    let len = file.code_len();
    analyse(&file.function("f", 0, len))
}

fn reason(first: u32) -> Reason {
    function(&[first, ONE, RET]).entry.expect_err("not patched")
}

#[test]
fn a_site_is_one_word_behind_the_landing_mark() {
    for (marks, skipped) in [(&[][..], 0), (&[BTI_C], 4), (&[PACIASP], 4), (&[0xd503_237f], 4), (&[0xd503_24df], 4)] {
        let f = function(&[marks, &[PUSH, ONE, RET]].concat());
        let site = f.entry.unwrap();
        assert_eq!((site.vaddr, site.len(), site.patched(), site.inner), (CODE + skipped, 4, 4, 0));
        assert_eq!((site.jump, site.ends, site.red_zone), (Jump::One, Ends::FallsThrough, false));
        assert_eq!(site.protocol(), Ok(Kind::Park), "STP is not in the list");
        assert_eq!(
            f.exits.iter().map(|e| (e.site.vaddr, e.event)).collect::<Vec<_>>(),
            [(CODE + skipped + 8, ExitEvent::Return)]
        );
        assert_eq!(f.exit, ExitKind::Patched);
    }
}

#[test]
fn two_marks_stay() {
    assert_eq!(function(&[BTI_C, PACIASP, PUSH, ONE, RET]).entry.unwrap().vaddr, CODE + 8);
}

#[test]
fn what_the_compiler_left_changes_live() {
    for marks in [&[][..], &[BTI_C]] {
        let site = function(&[marks, &[NOP, NOP, PUSH, RET]].concat()).entry.unwrap();
        assert_eq!((site.way, site.protocol()), (Way::Sled, Ok(Kind::Word)));
        assert_eq!(site.vaddr, CODE + 4 * marks.len() as u64);
    }
}

#[test]
fn the_jump_reaches_as_far_as_a_branch() {
    let site = function(&[PUSH, RET]).entry.unwrap();
    let from = site.vaddr;
    assert_eq!(site.jump_to(0, from + (1 << 27) - 4).unwrap().bytes, 0x15ff_ffff_u32.to_le_bytes());
    assert_eq!(site.jump_to(0, from + (1 << 27)), Err(Reason::OutOfRange));
    assert_eq!(site.jump_to(0, from + 6), Err(Reason::OutOfRange), "between two instructions");
    assert_eq!(site.jump_to(0x1000_0000, 0x1000_0000 + from + 8).unwrap().new_inner, 0);
}

#[test]
fn every_kind_of_exit() {
    // RETAA; B to g; BR X16.
    for (last, event) in
        [(0xd65f_0bff, ExitEvent::Return), (0x1400_0001, ExitEvent::TailJump), (0xd61f_0200, ExitEvent::TailJump)]
    {
        let file = File::aarch64(&[PUSH, ONE, last, RET]).function("f", 0, 12).function("g", 12, 4);
        let f = analyse(&file);
        assert_eq!(f.exits.iter().map(|e| (e.site.vaddr, e.event)).collect::<Vec<_>>(), [(CODE + 8, event)]);
        assert_eq!(f.exits[0].site.len(), 4);
    }
    // CBZ W0 to g.
    let f = analyse(&File::aarch64(&[PUSH, 0x3400_0040, RET, RET]).function("f", 0, 12).function("g", 12, 4));
    assert_eq!(f.blocked_exits, [(CODE + 4, Reason::ConditionalExit)]);
}

#[test]
fn a_function_that_is_one_instruction_is_left_where_it_is_entered() {
    let f = function(&[RET]);
    assert_eq!((f.entry.unwrap().ends, f.exit_in_entry()), (Ends::Return, Some(ExitEvent::Return)));
}

/// What the linker does about an erratum: `b stub`, and in the stub the instruction that was there and `b` back.
#[test]
fn a_detour_is_no_exit() {
    let file = File::aarch64(&[PUSH, 0x1400_0003, ONE, RET, ONE, 0x17ff_fffd]).function("f", 0, 16);
    let f = analyse(&file);
    assert_eq!((f.exits.len(), f.blocked_exits.len()), (1, 0), "{f:?}");
}

#[test]
fn what_cannot_be_moved() {
    let cannot = |what| Reason::NotRelocatable(what);
    assert_eq!(reason(0xd420_0000), Reason::TrapInstruction);
    assert_eq!(reason(0xd400_0001), Reason::SyscallInside);
    assert_eq!(reason(0xd440_0000), cannot(Obstacle::Fault), "HLT");
    assert_eq!(reason(0xd69f_03e0), cannot(Obstacle::FarTransfer), "ERET");
    assert_eq!(reason(0xd63f_03c0), cannot(Obstacle::CallThroughLink), "BLR X30");
    assert_eq!(reason(0xd523_3060), cannot(Obstacle::Transaction), "TSTART");
    assert_eq!(reason(0x0420_bc20), cannot(Obstacle::Sequence), "MOVPRFX");
    assert_eq!(reason(0x1d01_0443), cannot(Obstacle::Sequence), "CPYP");
    assert_eq!(reason(0xdac1_a3fe), cannot(Obstacle::SignsAddress), "PACIASPPC");
    assert_eq!(reason(0x7400_0000), cannot(Obstacle::OddBranch), "CBGT");
    assert_eq!(reason(0), Reason::Undecodable, "UDF");
    assert_eq!(function(&[BTI_C, BTI_C, RET]).entry, Err(cannot(Obstacle::LandingMark)));
}

#[test]
fn nothing_comes_between_a_load_exclusive_and_its_store() {
    // again: ldxr w1, [x0]; add w1, w1, #1; stxr w2, w1, [x0]; cbnz w2, again; ret
    let swap = [0x885f_7c01, 0x1100_0421, 0x8802_7c01, 0x35ff_ffa2, RET];
    assert_eq!(function(&swap).entry, Err(Reason::NotRelocatable(Obstacle::Sequence)));
    let behind = function(&[&[ONE][..], &swap].concat());
    assert!(behind.entry.is_ok() && behind.exits.len() == 1);
    // Without a store there is no sequence: a thread waits until it is woken.
    assert!(function(&[0x885f_7c01, 0xd503_205f, RET]).entry.is_ok());
    // CASP has the encoding of a pair, and is none.
    assert!(function(&[0x4820_7c82, RET]).entry.is_ok());
}

#[test]
fn data_between_the_code_is_known_by_its_mapping_symbol() {
    // ldr w0, literal; ret; the literal, which is no instruction.
    let code = [0x1800_0040, RET, 0x0000_1234];
    let file = || File::aarch64(&code).function("f", 0, 12);
    assert_eq!(analyse(&file()).entry, Err(Reason::Undecodable));
    let mapped = file().symbol("$x", 0, 0, 0).symbol("$d", 8, 0, 0);
    let f = analyse(&mapped);
    assert!(f.entry.is_ok() && f.exits.len() == 1, "{f:?}");
}

/// `switch`: cmp w0, #2; b.hi; adrp x1; add x1; ldrb w1, [x1, w0, uxtw]; adr x2; add x1, x2, w1, sxtb #2; br x1
#[test]
fn a_switch_leads_to_its_cases() {
    let adrp = u32::from_le_bytes(
        textpoke_core::isa::aarch64::adrp(textpoke_core::isa::Reg::new(1).unwrap(), CODE + 8, crate::testfile::DATA)
            .unwrap(),
    );
    let code = [
        0x7100_081f,
        0x5400_0148,
        adrp,
        0x9100_0021,
        0x3860_4821,
        0x1000_0062,
        0x8b21_8841,
        0xd61f_0020,
        ONE,
        RET,
        RET,
        RET,
    ];
    let file = File::aarch64(&code).function("f", 0, 48).data(&[0, 2, 3, 0x7f, 0x7f]);
    let f = analyse(&file);
    assert!(f.entry.is_ok(), "{f:?}");
    // The three cases end with a return each; the bound keeps what is behind the table out.
    assert_eq!((f.exits.len(), f.exit), (3, ExitKind::Patched), "{f:?}");
}
