//! Functions that the tests change: each returns [`OLD`] or [`NEW`], and anything else is a torn instruction, or two that do
//! not belong together.

use core::arch::global_asm;

use textpoke_core::isa::Reg;
use textpoke_core::isa::riscv64::{NOP, RA, T0, ZERO, addi, auipc, far, jal, jalr, lui};
use textpoke_core::{Kind, Site};

use crate::arch::Case;

/// What a function returns in its old form: every byte differs from [`NEW`]'s.
pub const OLD: u64 = 0x0505_0505;
/// What it returns in its new form.
pub const NEW: u64 = 0x4646_4646;
/// How many functions there are of each sort.
pub const COUNT: usize = 10_000;

/// What changes a site while other CPUs run, here: whatever has four bytes and lies at a multiple of four, in one store.
pub const LIVE: Kind = Kind::Word;
/// By how many synchronisations.
pub const LIVE_SYNCS: u64 = 1;

/// Bytes from one function to the next: every second value lies at an address that is no multiple of four.
const CALL_STRIDE: u64 = 20;
const VALUE_STRIDE: u64 = 14;
/// Where the instruction that changes is in them.
const CALL_OFFSET: u64 = 12;

/// What stands behind an instruction that never falls through.
const NEVER: [u8; 4] = [0; 4];

global_asm!(
    ".pushsection .sites, \"ax\", @progbits",
    ".global call_functions, make_new, value_functions",
    ".option push",
    ".option norelax",
    ".option norvc",
    ".balign 64",
    ".macro number value",
    "lui a0, \\value >> 12",
    "addi a0, a0, \\value & 0xfff",
    ".endm",
    // A NOP that becomes a JAL.
    "call_functions:",
    ".rept {count}",
    "mv t0, ra",
    "number {old}",
    "nop",
    "jr t0",
    ".endr",
    "make_new: number {new}",
    "ret",
    // A LUI of the upper half of the number, which is then copied to the lower.
    "value_functions:",
    ".rept {count}",
    "lui a0, {old} >> 12",
    "srli a1, a0, 16",
    "or a0, a0, a1",
    ".option rvc",
    "ret",
    ".option norvc",
    ".endr",
    ".balign 8",
    //
    ".global pair_function, pair_site, pair_copy, pair_new",
    "pair_function: mv t0, ra",
    "lui a0, {old} >> 12",
    "pair_site: nop",
    "addi a0, a0, {old} & 0xfff",
    "pair_rest: jr t0",
    "pair_copy: nop",
    "addi a0, a0, {old} & 0xfff",
    "j pair_rest",
    "pair_new: jal make_new",
    "j pair_rest",
    //
    ".global displaced_function, displaced_copy, displaced_new",
    "displaced_function: number {old}",
    "displaced_rest: ret",
    "displaced_copy: number {old}",
    "j displaced_rest",
    "displaced_new: number {new}",
    "ret",
    // At an address that is no multiple of four.
    ".global parked_function, parked_site, parked_copy, parked_new",
    ".balign 4",
    ".option rvc",
    "parked_function: c.nop",
    ".option norvc",
    "parked_site: number {old}",
    "parked_rest: ret",
    "parked_copy: number {old}",
    "j parked_rest",
    "parked_new: number {new}",
    "j parked_rest",
    // T0 leads to what makes the old number. Once it is where AUIPC stands, it leads to the new one.
    ".global planted_function, planted_site",
    ".balign 4",
    "planted_function: la t0, planted_old - 16",
    "planted_site: nop",
    "nop",
    "jalr zero, 16(t0)",
    "unimp",
    "number {new}",
    "ret",
    "planted_old: number {old}",
    "ret",
    //
    ".global prepared_function, prepared_site, prepared_new",
    "prepared_function: number {old}",
    "prepared_site: auipc t0, 0",
    "nop",
    "ret",
    "prepared_new: number {new}",
    "jr t0",
    ".option pop",
    ".popsection",
    count = const COUNT,
    old = const OLD,
    new = const NEW,
);

macro_rules! address {
    ($symbol:ident) => {{
        unsafe extern "C" {
            static $symbol: u8;
        }
        (&raw const $symbol).addr() as u64
    }};
}

fn run(function: u64) -> u64 {
    // SAFETY: one of the functions above, all of which keep the calling convention.
    unsafe { core::mem::transmute::<u64, extern "C" fn() -> u64>(function)() }
}

/// The `i`-th site whose NOP becomes a call.
pub fn call_site(i: usize) -> Site {
    assert!(i < COUNT);
    let addr = address!(call_functions) + i as u64 * CALL_STRIDE + CALL_OFFSET;
    let new = jal(RA, addr, address!(make_new)).expect("within reach");
    Site::single(addr, &NOP, &new).expect("four bytes each")
}

/// Calls the function around it.
pub fn run_call(i: usize) -> u64 {
    run(address!(call_functions) + i as u64 * CALL_STRIDE)
}

/// The same: the stack has one alignment only.
pub fn run_call_shifted(i: usize) -> u64 {
    run_call(i)
}

const T1: Reg = match Reg::new(6) {
    Some(reg) => reg,
    None => unreachable!(),
};
const A0: Reg = match Reg::new(10) {
    Some(reg) => reg,
    None => unreachable!(),
};

/// LUI of the upper 20 bits of a number to A0, and the ADDI behind it.
fn number(value: u64) -> [[u8; 4]; 2] {
    let upper = lui(A0, (value & 0xffff_f000) as i32).expect("a multiple of 4096");
    [upper, addi(A0, A0, (value & 0xfff) as i16).expect("below 2048")]
}

/// The `i`-th site that loads a number, which changes.
pub fn value_site(i: usize) -> Site {
    assert!(i < COUNT);
    let addr = address!(value_functions) + i as u64 * VALUE_STRIDE;
    Site::single(addr, &number(OLD)[0], &number(NEW)[0]).expect("four bytes each")
}

/// Calls the function around it.
pub fn run_value(i: usize) -> u64 {
    run(address!(value_functions) + i as u64 * VALUE_STRIDE)
}

/// A site of two instructions that become two others, with code that stands for each form.
fn two(addr: u64, old: [[u8; 4]; 2], new: [[u8; 4]; 2], copy: u64, stand_in: u64) -> Site {
    let mut site = Site::single(addr, old.as_flattened(), new.as_flattened()).expect("eight bytes each");
    (site.inner, site.copy, site.copy_at[4], site.stand_in) = (0b1_0000, copy, 4, stand_in);
    if new[1] != NEVER {
        site.new_inner = 0b1_0000;
    }
    site
}

/// One of each kind.
pub fn cases() -> impl Iterator<Item = Case> {
    let case = |what, kind, site, function| Case { what, site, kind, function };
    let here = auipc(T0, 0).expect("a multiple of 4096");

    let at = address!(pair_site);
    let call = far(RA, T1, at, address!(make_new)).expect("within reach");
    let pair = two(at, [NOP, number(OLD)[1]], call, address!(pair_copy), address!(pair_new));
    let at = address!(displaced_function);
    let jump = jal(ZERO, at, address!(displaced_new)).expect("within reach");
    let displaced = two(at, number(OLD), [jump, NEVER], address!(displaced_copy), address!(displaced_new));
    let parked = two(address!(parked_site), number(OLD), number(NEW), address!(parked_copy), address!(parked_new));
    let plant = two(address!(planted_site), [NOP, NOP], [here, NOP], 0, 0);
    let at = address!(prepared_site);
    let jump = jalr(T0, T0, (address!(prepared_new) - at) as i16).expect("close by");
    let prepared = two(at, [here, NOP], [here, jump], 0, 0);
    [
        case("NOP to JAL, trap first", Kind::Breakpoint, call_site(0), address!(call_functions)),
        case("NOP, ADDI to AUIPC, JALR", Kind::Pair, pair, address!(pair_function)),
        case("LUI, ADDI to JAL", Kind::Displace, displaced, address!(displaced_function)),
        case("LUI, ADDI to LUI, ADDI off alignment", Kind::ParkTwice, parked, address!(parked_function)),
        case("NOP, NOP to AUIPC, NOP", Kind::Plant, plant, address!(planted_function)),
        case("AUIPC, NOP to AUIPC, JALR", Kind::PreparedPair, prepared, address!(prepared_function)),
    ]
    .into_iter()
}
