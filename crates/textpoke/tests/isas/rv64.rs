//! RISC-V.

use textpoke::core::isa::Reg;
use textpoke::core::isa::riscv64::{C_NOP, Cond, EBREAK, NOP, RA, ZERO, addi, branch, c_j, far, jal, jalr};
use textpoke::core::{Direction, Site};

use crate::{Arena, Function, Isa};

pub const ISA: Isa = Isa { singles, pairs, switch, entry, guarded: |_, _| None };

fn x(n: u8) -> Reg {
    Reg::new(n).unwrap()
}

fn word(bytes: [u8; 4]) -> u32 {
    u32::from_le_bytes(bytes)
}

/// ADDI reg, base, imm
fn add(reg: u8, base: u8, imm: i16) -> u32 {
    word(addi(x(reg), x(base), imm).unwrap())
}

/// JR reg
fn jr(reg: u8) -> u32 {
    word(jalr(ZERO, x(reg), 0).unwrap())
}

/// One form of a site and what the function returns for 0 and 1.
type Form = (Vec<u8>, [u64; 2]);

/// Forms of four bytes at `at`, where two places to branch to and one to call are.
fn wide(at: u64, next: u64, id: u64) -> Vec<Form> {
    let (first, second, called) = (next + 8, next + 16, next + 24);
    let forms = [
        (NOP, [id + 1; 2]),
        (jal(ZERO, at, first).unwrap(), [id + 2; 2]),
        (jal(ZERO, at, second).unwrap(), [id + 3; 2]),
        (jal(RA, at, called).unwrap(), [id + 17; 2]),
        (branch(Cond::Eq, x(11), ZERO, at, first).unwrap(), [id + 2, id + 1]),
        (branch(Cond::Ne, x(11), ZERO, at, second).unwrap(), [id + 1, id + 3]),
        (addi(x(10), x(10), 64).unwrap(), [id + 65; 2]),
        (addi(x(10), ZERO, 0x7f0).unwrap(), [0x7f1; 2]),
    ];
    forms.into_iter().map(|(bytes, out)| (bytes.to_vec(), out)).collect()
}

/// Forms of two bytes.
fn narrow(at: u64, next: u64, id: u64) -> Vec<Form> {
    let (first, second) = (next + 8, next + 16);
    // C.BEQZ a1, by moving the offset's bits where they belong.
    let d = (first - at) as u16;
    let beqz =
        0xc181 | (d >> 8 & 1) << 12 | (d >> 3 & 3) << 10 | (d >> 6 & 3) << 5 | (d >> 1 & 3) << 3 | (d >> 5 & 1) << 2;
    let forms = [
        (C_NOP, [id + 1; 2]),
        (c_j(at, first).unwrap(), [id + 2; 2]),
        (c_j(at, second).unwrap(), [id + 3; 2]),
        (beqz.to_le_bytes(), [id + 2, id + 1]),
        // C.ADDI a0, 1
        (0x0505_u16.to_le_bytes(), [id + 2; 2]),
    ];
    forms.into_iter().map(|(bytes, out)| (bytes.to_vec(), out)).collect()
}

fn singles(arena: &mut Arena) -> Vec<Function> {
    let mut all = Vec::new();
    for forms in [wide as fn(u64, u64, u64) -> Vec<Form>, narrow] {
        let shapes = forms(0x1000, 0x1000, 0);
        let (count, len) = (shapes.len(), shapes[0].0.len() as u64);
        // At a multiple of 4, where everything of one length may change live, and 2 behind one, where two bytes may.
        let pairs = (0..count).flat_map(|i| (i + 1..count).map(move |j| (i, j)));
        all.extend(pairs.flat_map(|pair| [(pair, 0), (pair, 2)]).map(|((old, new), offset)| {
            let entry = arena.next(64, offset);
            let (at, id) = (entry + 16, 10 + old as u64 + 16 * new as u64);
            let next = at + len;
            arena.words(entry, &[add(28, 1, 0), add(11, 10, 0), add(10, 0, id as i16), word(NOP)]);
            let forms = forms(at, next, id);
            arena.put(at, &forms[old].0);
            arena.words(
                next,
                &[add(10, 10, 1), jr(28), add(10, 10, 2), jr(28), add(10, 10, 3), jr(28), add(10, 10, 16), jr(1)],
            );
            let site = Site::single(at, &forms[old].0, &forms[new].0).unwrap();
            Function { entry, site, old: forms[old].1, new: forms[new].1, rounds: 1 }
        }));
    }
    all
}

/// A loop of eight rounds around two NOPs that become AUIPC and JALR, or a jump.
///
/// a4 is 0 when a round begins and counts at its end. t1 leads to a bomb, so that a JALR without its AUIPC goes off.
fn around(arena: &mut Arena, new: fn(u64, u64) -> [u32; 2], one: bool) -> Function {
    let entry = arena.next(64, 0);
    let at = entry + 32;
    let (called, copy, code, bomb) = (entry + 80, entry + 96, entry + 112, entry + 128);
    // t3: return address; a0: sum; a2: rounds. The loop: t1: the bomb, less what JALR adds; a4.
    let lo = (new(at, called)[1] as i32 >> 20) as i16;
    let [hi, low] = far(ZERO, x(6), entry + 16, bomb.wrapping_add_signed(-i64::from(lo))).unwrap();
    let low = (u32::from_le_bytes(low) as i32 >> 20) as i16;
    arena.words(
        entry,
        &[add(28, 1, 0), add(10, 0, 0), add(12, 0, 8), word(NOP), word(hi), add(6, 6, low), add(14, 0, 0), word(NOP)],
    );
    arena.words(at, &[word(NOP); 2]);
    // ADD a0, a0, a4; ADDI a2, a2, -1; BNE a2, x0, back; JR t3
    let back = word(branch(Cond::Ne, x(12), ZERO, at + 16, entry + 16).unwrap());
    arena.words(at + 8, &[0x00e5_0533, add(12, 12, -1), back, jr(28)]);
    arena.words(called, &[add(14, 0, 1), jr(1)]);
    arena.words(copy, &[word(NOP), word(NOP), word(jal(ZERO, copy + 8, at + 8).unwrap())]);
    arena.words(code, &new(code, called));
    arena.put(code + 8, &jal(ZERO, code + 8, at + 8).unwrap());
    arena.words(bomb, &[add(10, 0, 0x7de), jr(28)]);
    let bytes = |[a, b]: [u32; 2]| (u64::from(a) | u64::from(b) << 32).to_le_bytes();
    let in_place = if one { [word(jal(ZERO, at, code).unwrap()), word(EBREAK)] } else { new(at, called) };
    let mut site = Site::single(at, &bytes([word(NOP); 2]), &bytes(in_place)).unwrap();
    (site.inner, site.copy, site.copy_at[4], site.stand_in) = (16, copy, 4, code);
    site.new_inner = if one { 0 } else { 16 };
    assert_eq!(site.before(Direction::Install).len(), 8);
    Function { entry, site, old: [0; 2], new: [8; 2], rounds: 8 }
}

fn pairs(arena: &mut Arena) -> Vec<Function> {
    let call = |at, to| far(RA, x(6), at, to).unwrap().map(word);
    (0..24).flat_map(|_| [around(arena, call, false), around(arena, call, true)]).collect()
}

fn switch(arena: &mut Arena) -> [u64; 3] {
    // MV t3, ra; LI a0, 1; the site; JR t3
    let entry = arena.next(64, 0);
    arena.words(entry, &[add(28, 1, 0), add(10, 0, 1), word(NOP), jr(28)]);
    let jumped = arena.next(64, 0);
    arena.words(jumped, &[add(10, 0, 2), jr(28)]);
    let called = arena.next(64, 0);
    arena.words(called, &[add(10, 10, 3), jr(1)]);
    [entry + 8, jumped, called]
}

fn entry(arena: &mut Arena) -> Option<[u64; 2]> {
    // NOP; NOP; ADDI a0, a0, 5; RET
    let function = arena.next(64, 0);
    arena.words(function, &[word(NOP), word(NOP), add(10, 10, 5), jr(1)]);
    // ADDI a0, a0, 100; MV t1, t0; LI t0, 0; JR t1
    let tracer = arena.next(64, 0);
    arena.words(tracer, &[add(10, 10, 100), add(6, 5, 0), add(5, 0, 0), jr(6)]);
    Some([function, tracer])
}
