//! What is said of RISC-V functions, on literal instructions.

use crate::testfile::{CODE, File};
use crate::{Ends, ExitEvent, ExitKind, Function, Image, Jump, Obstacle, Options, Reason, Way};
use textpoke_core::Kind;

/// `c.jr ra`
const RET: u32 = 0x8082;
/// `c.addi sp, -16`
const DOWN: u32 = 0x1141;
/// `c.sdsp ra, 8(sp)`
const SAVE: u32 = 0xe406;
/// `c.ldsp ra, 8(sp)`
const RESTORE: u32 = 0x60a2;
/// `c.addi sp, 16`
const UP: u32 = 0x0141;
/// `c.li a0, 1`
const ONE: u32 = 0x4505;
/// `c.li t1, 1`
const T1: u32 = 0x4305;
/// `addi a0, a0, 1`, as it would be without compression.
const LONG: u32 = 0x0015_0513;
const PAIR: Jump = Jump::Pair { by: 6 };

fn with(file: &File, near: bool) -> Function {
    let bytes = file.build();
    let functions = Image::parse(&bytes).unwrap().functions_with(&Options { near, ..Options::default() });
    functions.into_iter().find(|f| f.names().any(|n| n == "f")).expect("there is a function f")
}

fn file(code: &[u32]) -> File {
    let file = File::riscv64(code);
    let len = file.code_len();
    file.function("f", 0, len)
}

fn reason(first: &[u32]) -> Reason {
    with(&file(&[first, &[ONE, ONE, RET]].concat()), true).entry.expect_err("not patched")
}

#[test]
fn eight_bytes_where_a_register_is_free_and_four_elsewhere() {
    let code = [DOWN, SAVE, T1, ONE, RESTORE, UP, ONE, RET];
    let far = with(&file(&code), false);
    let site = far.entry.unwrap();
    // The register that the run itself writes is of no use; the next one is not written by anybody.
    assert_eq!((site.jump, site.len()), (Jump::One, 4));
    let code = [DOWN, SAVE, ONE, ONE, T1, RESTORE, UP, ONE, ONE, RET];
    let far = with(&file(&code), false);
    let site = far.entry.unwrap();
    assert_eq!((site.jump, site.len(), site.patched(), site.inner), (PAIR, 8, 8, 0b101_0100));
    assert_eq!(far.exits[0].site.jump, PAIR);
    assert_eq!(far.exits[0].site.len(), 8);
    let near = with(&file(&code), true);
    let site = near.entry.unwrap();
    assert_eq!((site.jump, site.len(), site.inner), (Jump::One, 4, 0b100));
    assert_eq!(near.exits[0].site.vaddr, CODE + 16);
    // Nobody writes t1: whoever calls may count on it.
    assert_eq!(with(&file(&[DOWN, SAVE, ONE, ONE, RET]), false).entry.unwrap().jump, Jump::One);
}

/// GCC's `-fipa-ra`: what a callee of known code leaves alone, the caller may use across the call.
#[test]
fn a_callee_that_writes_the_register_frees_it() {
    // f calls g by JAL behind eight bytes; g writes t1, or not.
    let call = 0x00a0_00ef;
    for (first, jump) in [(T1, PAIR), (ONE, Jump::One)] {
        let code = [DOWN, SAVE, ONE, ONE, call, RESTORE, UP, RET, first, RET];
        let file = File::riscv64(&code).function("f", 0, 18).function("g", 18, 4);
        assert_eq!(with(&file, false).entry.unwrap().jump, jump);
    }
    // What is called through a register follows the ABI: `c.jalr a5`.
    assert_eq!(with(&file(&[DOWN, SAVE, ONE, ONE, 0x9782, RESTORE, UP, RET]), false).entry.unwrap().jump, PAIR);
    // Read before it is written: `c.mv a0, t1`, behind the run.
    let reads = [DOWN, SAVE, ONE, ONE, 0x851a, T1, RET];
    assert_eq!(with(&file(&reads), false).entry.unwrap().jump, Jump::One);
}

#[test]
fn millicode_has_no_register() {
    let code = [DOWN, SAVE, ONE, ONE, T1, RET];
    let named = |name: &str| {
        let file = File::riscv64(&code);
        let len = file.code_len();
        file.function("f", 0, len).function(name, 0, len)
    };
    assert_eq!(with(&named("plain"), false).entry.unwrap().jump, PAIR);
    assert_eq!(with(&named("__riscv_save_4"), false).entry.unwrap().jump, Jump::One);
}

#[test]
fn a_landing_pad_stays() {
    // LPAD 0, which is AUIPC x0.
    let f = with(&file(&[0x0000_1017, DOWN, SAVE, ONE, RET]), true);
    assert_eq!(f.entry.unwrap().vaddr, CODE + 4);
    let second = with(&file(&[0x0000_1017, 0x0000_1017, RET]), true);
    assert_eq!(second.entry, Err(Reason::NotRelocatable(Obstacle::LandingMark)));
}

#[test]
fn one_aligned_instruction_of_four_bytes_changes_live() {
    let aligned = with(&file(&[LONG, LONG, RET]), true).entry.unwrap();
    assert_eq!((aligned.protocol(), aligned.way), (Ok(Kind::Word), Way::Displace));
    let sled = with(&file(&[0x0000_0013, LONG, RET]), true).entry.unwrap();
    assert_eq!((sled.protocol(), sled.way), (Ok(Kind::Word), Way::Sled));
    // At 2 behind a multiple of 4, and two small ones.
    let file = File::riscv64(&[RET, LONG, LONG, RET]).function("f", 2, 10);
    assert_ne!(with(&file, true).entry.unwrap().protocol(), Ok(Kind::Word));
    assert_ne!(with(&self::file(&[DOWN, SAVE, RET]), true).entry.unwrap().protocol(), Ok(Kind::Word));
}

#[test]
fn every_kind_of_exit() {
    // C.JR ra; JAL x0 to g; AUIPC t1 and JALR x0 to g; C.JR a5.
    let ways: [(&[u32], ExitEvent); 4] = [
        (&[RET], ExitEvent::Return),
        (&[0x0040_006f], ExitEvent::TailJump),
        (&[0x0000_0317, 0x0083_0067], ExitEvent::TailJump),
        (&[0x8782], ExitEvent::TailJump),
    ];
    for (last, event) in ways {
        let file = File::riscv64(&[&[LONG, LONG, LONG][..], last].concat());
        let len = file.code_len();
        let code = [&[LONG, LONG, LONG][..], last, &[RET]].concat();
        let file = File::riscv64(&code).function("f", 0, len).function("g", len, 2);
        let f = with(&file, true);
        assert_eq!(f.exits.iter().map(|e| e.event).collect::<Vec<_>>(), [event], "{last:x?} {f:?}");
        assert_eq!(f.exit, ExitKind::Patched);
    }
    // C.BEQZ a0 to g.
    let f = with(&File::riscv64(&[LONG, 0xc111, RET, RET]).function("f", 0, 8).function("g", 8, 2), true);
    assert_eq!(f.blocked_exits[0].1, Reason::ConditionalExit);
}

#[test]
fn what_cannot_be_moved() {
    let cannot = |what| Reason::NotRelocatable(what);
    assert_eq!(reason(&[0x9002]), Reason::TrapInstruction);
    assert_eq!(reason(&[0x0000_0073]), Reason::SyscallInside);
    assert_eq!(reason(&[0x3020_0073]), cannot(Obstacle::FarTransfer), "MRET");
    assert_eq!(reason(&[0x0000_000b]), cannot(Obstacle::Vendor));
    assert_eq!(reason(&[0x0000_80e7]), cannot(Obstacle::CallThroughLink), "JALR ra, ra");
    assert_eq!(reason(&[0x9782]), Reason::CallNotLast, "C.JALR and something behind it");
    assert_eq!(reason(&[0]), Reason::Undecodable);
    // again: lr.w a1, (a0); c.addi a1, 1; sc.w a2, a1, (a0); c.bnez a2, again
    let swap = [0x1005_25af, 0x0585, 0x18b5_262f, 0xfa7d];
    assert_eq!(reason(&swap), cannot(Obstacle::Sequence));
    let behind = with(&file(&[&[LONG][..], &swap, &[ONE, RET]].concat()), true);
    assert!(behind.entry.is_ok() && behind.exits.len() == 1, "{behind:?}");
}

#[test]
fn a_displaced_call_ends_the_site() {
    let call = 0x0040_00ef;
    let f = with(&file(&[DOWN, SAVE, call, T1, RESTORE, UP, RET]), false);
    let site = f.entry.unwrap();
    assert_eq!((site.ends, site.len()), (Ends::Call, 8));
}
