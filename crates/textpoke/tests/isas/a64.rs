//! AArch64.

use textpoke::core::Site;
use textpoke::core::isa::aarch64::{Cond, LR, NOP, Width, X9, b, b_cond, bl, brk, cbz, mov_reg, movz, tbnz};
use textpoke::core::isa::{Reg, aarch64};

use crate::{Arena, Function, Isa};

pub const ISA: Isa = Isa { singles, pairs, switch, entry, guarded };

const RET: u32 = 0xd65f_03c0;
const RET_X10: u32 = 0xd65f_0140;
/// MOV X10, X30
const KEEP_LINK: u32 = 0xaa1e_03ea;

/// ADD X0, X0, #n
const fn add(n: u32) -> u32 {
    0x9100_0000 | n << 10
}

fn x(n: u8) -> Reg {
    Reg::new(n).unwrap()
}

fn word(bytes: [u8; 4]) -> u32 {
    u32::from_le_bytes(bytes)
}

/// The forms at `at`, where two places to branch to and one to call are, with what the function returns for 0 and 1.
fn forms(at: u64, id: u64) -> Vec<([u8; 4], [u64; 2])> {
    let (first, second, called) = (at + 12, at + 20, at + 28);
    vec![
        (NOP, [id + 1; 2]),
        (b(at, first).unwrap(), [id + 2; 2]),
        (b(at, second).unwrap(), [id + 3; 2]),
        (bl(at, called).unwrap(), [id + 17; 2]),
        (cbz(Width::X, x(1), at, first).unwrap(), [id + 2, id + 1]),
        (tbnz(x(1), 0, at, second).unwrap(), [id + 1, id + 3]),
        (b_cond(Cond::new(1).unwrap(), at, first).unwrap(), [id + 1, id + 2]),
        (movz(Width::X, x(0), 0x8000, 0).unwrap(), [0x8001; 2]),
        (add(64).to_le_bytes(), [id + 65; 2]),
    ]
}

fn singles(arena: &mut Arena) -> Vec<Function> {
    let count = forms(0x1000, 0).len();
    let pairs = (0..count).flat_map(|i| (i + 1..count).map(move |j| (i, j)));
    let place = |(old, new): (usize, usize)| {
        // Every position in an aligned word of 8 bytes.
        let entry = arena.next(64, if (old + new) % 2 == 0 { 0 } else { 4 });
        let (at, id) = (entry + 16, 100 + 16 * old as u64 + 256 * new as u64);
        // MOV X1, X0; then the flags of the argument.
        arena.words(entry, &[KEEP_LINK, 0xaa00_03e1, word(movz(Width::X, x(0), id as u16, 0).unwrap()), 0xf100_003f]);
        let forms = forms(at, id);
        arena.put(at, &forms[old].0);
        arena.words(at + 4, &[add(1), RET_X10, add(2), RET_X10, add(3), RET_X10, add(16), RET]);
        let site = Site::single(at, &forms[old].0, &forms[new].0).unwrap();
        Function { entry, site, old: forms[old].1, new: forms[new].1, rounds: 1 }
    };
    pairs.map(place).collect()
}

/// Where the code of a pair stands, what it may call, and where it goes on.
struct Spot {
    at: u64,
    /// Makes X4 1.
    called: u64,
    /// Makes X4 1, and X5 too if X9 was not planted.
    tracer: u64,
    next: u64,
}

type Pair = fn(&Spot) -> [u32; 2];

/// A loop of eight rounds around a site of two instructions.
///
/// X4 is 0 when a round begins, and what it is at the end counts; X5 must be 0 at the end; X9 and X11 are the same.
fn around(arena: &mut Arena, old: Pair, new: Pair, one: bool) -> Function {
    let entry = arena.next(64, 0);
    let at = entry + 32;
    let spot = |at: u64| Spot { at, called: entry + 80, tracer: entry + 128, next: entry + 40 };
    let (copy, code) = (entry + 96, entry + 112);
    let mov = |reg, n| word(movz(Width::X, x(reg), n, 0).unwrap());
    // X6 collects what must be 0. From ADR on it is the loop: ADR X9, entry; MOV X11, X9.
    let adr = word(aarch64::adr(X9, entry + 16, entry).unwrap());
    arena.words(entry, &[KEEP_LINK, mov(0, 0), mov(2, 8), mov(6, 0), adr, 0xaa09_03eb, mov(4, 0), mov(5, 0)]);
    arena.words(at, &old(&spot(at)));
    // ORR X6, X6, X5; ADD X0, X0, X4; SUBS X2, X2, #1; B.NE back; ORR X0, X0, X6, LSL #32; RET X10
    let back = word(b_cond(Cond::new(1).unwrap(), at + 20, entry + 16).unwrap());
    arena.words(at + 8, &[0xaa05_00c6, 0x8b04_0000, 0xf100_0442, back, 0xaa06_8000, RET_X10]);
    arena.words(entry + 80, &[mov(4, 1), RET]);
    for (place, form) in [(copy, old), (code, new)] {
        arena.words(place, &form(&spot(place)));
        arena.put(place + 8, &b(place + 8, at + 8).unwrap());
    }
    // SUBS XZR, X9, X11; CSET X5, EQ; MOVZ X4, #1; RET
    arena.words(entry + 128, &[0xeb0b_013f, 0x9a9f_17e5, mov(4, 1), RET]);
    let bytes = |[a, b]: [u32; 2]| (u64::from(a) | u64::from(b) << 32).to_le_bytes();
    let trap = word(brk(aarch64::BRK_IMMEDIATE));
    let in_place = if one { [word(b(at, code).unwrap()), trap] } else { new(&spot(at)) };
    let mut site = Site::single(at, &bytes(old(&spot(at))), &bytes(in_place)).unwrap();
    (site.inner, site.copy, site.copy_at[4], site.stand_in) = (16, copy, 4, code);
    site.new_inner = if one { 0 } else { 16 };
    Function { entry, site, old: [0; 2], new: [8; 2], rounds: 8 }
}

/// SUB X5, X4, #n: 0 if the first instruction of the same form was executed.
const fn sub(n: u32) -> u32 {
    0xd100_0085 | n << 10
}

fn pairs(arena: &mut Arena) -> Vec<Function> {
    const NOP_: u32 = 0xd503_201f;
    // Two in the list, and a second that is in none.
    let nop_sub: Pair = |_| [NOP_, sub(0)];
    let call_sub: Pair = |spot| [word(bl(spot.at, spot.called).unwrap()), sub(1)];
    // Both first instructions are in no list.
    let zero_sub: Pair = |_| [word(movz(Width::X, x(4), 0, 0).unwrap()), sub(0)];
    let one_sub: Pair = |_| [word(movz(Width::X, x(4), 1, 0).unwrap()), sub(1)];
    // Two live NOPs become MOV X9, X30 and BL.
    let nops: Pair = |_| [NOP_, NOP_];
    let planted: Pair = |spot| [word(mov_reg(Width::X, X9, LR)), word(bl(spot.at + 4, spot.tracer).unwrap())];
    // Old instructions that may all be trapped live.
    let nop_b: Pair = |spot| [NOP_, word(b(spot.at + 4, spot.next).unwrap())];
    let forms =
        [(nop_sub, call_sub, false), (zero_sub, one_sub, false), (nops, planted, false), (nop_b, call_sub, true)];
    (0..24).flat_map(|_| forms).map(|(old, new, one)| around(arena, old, new, one)).collect()
}

fn switch(arena: &mut Arena) -> [u64; 3] {
    // MOV X10, X30; MOVZ X0, #1; the site; RET X10
    let entry = arena.next(64, 0);
    let mov = |n| word(movz(Width::X, x(0), n, 0).unwrap());
    arena.words(entry, &[KEEP_LINK, mov(1), word(NOP), RET_X10]);
    let jumped = arena.next(64, 0);
    arena.words(jumped, &[mov(2), RET_X10]);
    let called = arena.next(64, 0);
    arena.words(called, &[add(3), RET]);
    [entry + 8, jumped, called]
}

fn entry(arena: &mut Arena) -> Option<[u64; 2]> {
    // BTI c; NOP; NOP; ADD X0, X0, #5; RET
    let function = arena.next(64, 0);
    arena.words(function, &[0xd503_245f, word(NOP), word(NOP), add(5), RET]);
    // ADD X0, X0, #100; MOV X16, X30; MOV X30, X9; MOVZ X9, #0; BR X16
    let tracer = arena.next(64, 0);
    let mov = |to, from| word(mov_reg(Width::X, to, from));
    arena.words(tracer, &[add(100), mov(x(16), LR), mov(LR, X9), word(movz(Width::X, X9, 0, 0).unwrap()), 0xd61f_0200]);
    Some([function, tracer])
}

fn guarded(open: &mut Arena, guarded: &mut Arena) -> Option<Function> {
    let mov = |n| word(movz(Width::X, x(0), n, 0).unwrap());
    let target = guarded.next(64, 0);
    guarded.words(target, &[mov(2), RET]);
    let at = open.next(64, 0);
    open.words(at, &[word(NOP), mov(1), RET]);
    let site = Site::single(at, &NOP, &b(at, target).ok()?).unwrap();
    Some(Function { entry: at, site, old: [1; 2], new: [2; 2], rounds: 1 })
}
