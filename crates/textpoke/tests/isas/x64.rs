//! x86-64.

use textpoke::core::Site;
use textpoke::core::isa::x86_64::{NOPS, call, jmp};

use crate::{Arena, Function, Isa};

pub const ISA: Isa = Isa { singles, pairs, switch, entry, guarded: |_, _| None };

/// ADD EAX, n; RET
const fn add_and_return(n: u8) -> [u8; 4] {
    [0x83, 0xc0, n, 0xc3]
}

/// The forms at `at`, where two places to branch to and one to call are, with what the function returns for 0 and 1.
fn forms(at: u64, id: u64) -> Vec<([u8; 5], [u64; 2])> {
    let (first, second, called) = (at + 9, at + 13, at + 17);
    vec![
        (NOPS[4].try_into().unwrap(), [id + 1; 2]),
        (jmp(at, first).unwrap(), [id + 2; 2]),
        (jmp(at, second).unwrap(), [id + 3; 2]),
        (call(at, called).unwrap(), [id + 17; 2]),
        // MOV EAX, 0x8000
        ([0xb8, 0, 0x80, 0, 0], [0x8001; 2]),
    ]
}

fn singles(arena: &mut Arena) -> Vec<Function> {
    let count = forms(0x1000, 0).len();
    let pairs = (0..count).flat_map(|i| (i + 1..count).map(move |j| (i, j)));
    let place = |((old, new), offset): ((usize, usize), u64)| {
        let entry = arena.next(64, offset);
        let (at, id) = (entry + 5, 100 + 16 * old as u64 + 256 * new as u64);
        arena.put(entry, &[0xb8, id as u8, (id >> 8) as u8, 0, 0]);
        let forms = forms(at, id);
        arena.put(at, &forms[old].0);
        arena.put(at + 5, &[1, 2, 3, 16].map(add_and_return).concat());
        let site = Site::single(at, &forms[old].0, &forms[new].0).unwrap();
        Function { entry, site, old: forms[old].1, new: forms[new].1, rounds: 1 }
    };
    // In one aligned word, and across the end of a cache line.
    pairs.flat_map(|pair| [(pair, 3), (pair, 57)]).map(place).collect()
}

/// A loop of eight rounds around two instructions: the first of either form leaves something in ECX that the second of the
/// same form takes away again, and R8D counts the new rounds.
fn around(arena: &mut Arena, one: bool, offset: u64) -> Function {
    // XOR EAX, EAX; XOR R8D, R8D; MOV EDX, 8; XOR ECX, ECX
    let entry = arena.next(128, offset);
    let at = arena.put(entry, &[0x31, 0xc0, 0x45, 0x31, 0xc0, 0xba, 8, 0, 0, 0, 0x31, 0xc9]);
    // INC ECX; LEA ECX, [RCX-1]: five bytes. The new form: LEA ECX, [RCX+2]; INC and DEC ECX make four more of five.
    let old = [0xff, 0xc1, 0x8d, 0x49, 0xff];
    let new = [0x8d, 0x49, 2, 0xff, 0xc1];
    let behind = arena.put(at, &old);
    // OR EAX, ECX; DEC EDX; JNZ back to XOR ECX, ECX; RET
    let back = (entry + 10).wrapping_sub(behind + 6) as u8;
    let copy = arena.put(behind, &[0x09, 0xc8, 0xff, 0xca, 0x75, back, 0xc3]);
    let from = arena.put(copy, &old);
    let code = arena.put(from, &jmp(from, behind).unwrap());
    let from = arena.put(code, &new);
    let from = if one {
        // SUB ECX, 2, so that 1 is left.
        arena.put(from, &[0x83, 0xe9, 2])
    } else {
        from
    };
    arena.put(from, &jmp(from, behind).unwrap());
    let in_place = if one { jmp(at, code).unwrap() } else { new };
    let mut site = Site::single(at, &old, &in_place).unwrap();
    (site.inner, site.copy, site.copy_at[2], site.stand_in) = (0b100, copy, 2, code);
    site.new_inner = if one { 0 } else { 0b1000 };
    let now = if one { 1 } else { 3 };
    Function { entry, site, old: [0; 2], new: [now; 2], rounds: 1 }
}

fn pairs(arena: &mut Arena) -> Vec<Function> {
    (0..64).map(|i| around(arena, i % 2 == 0, 4 * (i % 16))).collect()
}

fn switch(arena: &mut Arena) -> [u64; 3] {
    // MOV EAX, 1; the site; RET
    let entry = arena.next(64, 0);
    let at = arena.put(entry, &[0xb8, 1, 0, 0, 0]);
    let behind = arena.put(at, NOPS[4]);
    arena.put(behind, &[0xc3]);
    let jumped = arena.next(64, 0);
    arena.put(jumped, &[0xb8, 2, 0, 0, 0, 0xc3]);
    let called = arena.next(64, 0);
    arena.put(called, &add_and_return(3));
    [at, jumped, called]
}

/// A call is one instruction.
fn entry(_: &mut Arena) -> Option<[u64; 2]> {
    None
}
