//! Functions that the tests change: each returns [`OLD`] or [`NEW`], and anything else is a torn instruction, or two that do
//! not belong together.
//!
//! They are on guarded pages: whatever is branched to through a register, or returned to with PSTATE.BTYPE not zero, must be
//! a BTI, where the CPU has them.

use core::arch::global_asm;

use textpoke_core::isa::Reg;
use textpoke_core::isa::aarch64::{LR, NOP, Width, X9, b, bl, mov_reg, movk, movz, word};
use textpoke_core::{Kind, Site};

use crate::arch::Case;

/// What a function returns in its old form: every byte differs from [`NEW`]'s.
pub const OLD: u64 = 0x0505_0505;
/// What it returns in its new form.
pub const NEW: u64 = 0x4646_4646;
/// How many functions there are of each sort.
pub const COUNT: usize = 10_000;

/// What changes a site while other CPUs run, here: NOP and BL may take turns in one store.
pub const LIVE: Kind = Kind::Word;
/// By how many synchronisations.
pub const LIVE_SYNCS: u64 = 1;

/// Bytes from one function to the next.
const CALL_STRIDE: u64 = 28;
const VALUE_STRIDE: u64 = 20;
/// Where the instruction that changes is in them.
const CALL_OFFSET: u64 = 16;
const VALUE_OFFSET: u64 = 4;

/// `BTI c` and `BTI jc`: HINT #34 and #38.
const BTI_C: [u8; 4] = word(0xd503_245f);
const BTI_JC: [u8; 4] = word(0xd503_24df);
/// What stands behind an instruction that never falls through.
const NEVER: [u8; 4] = word(0);

global_asm!(
    ".pushsection .sites, \"ax\", @progbits",
    ".global call_functions, make_new, value_functions",
    ".balign 64",
    ".macro number value",
    "mov w0, #(\\value & 0xffff)",
    "movk w0, #(\\value >> 16), lsl #16",
    ".endm",
    // A NOP that becomes a BL.
    "call_functions:",
    ".rept {count}",
    "hint #34", // BTI c
    "mov x9, x30",
    "number {old}",
    "nop",
    "ret x9",
    "udf #0",
    ".endr",
    "make_new: number {new}",
    "ret",
    // A MOV of one half of the number, which is then copied to the other.
    "value_functions:",
    ".rept {count}",
    "hint #34",
    "mov w0, #({old} & 0xffff)",
    "bfi w0, w0, #16, #16",
    "ret",
    "udf #0",
    ".endr",
    //
    ".global pair_function, pair_site, pair_copy, pair_new",
    "pair_function: hint #34",
    "mov x9, x30",
    "mov w0, #({old} & 0xffff)",
    "pair_site: nop",
    "movk w0, #({old} >> 16), lsl #16",
    "pair_rest: ret x9",
    "pair_copy: nop",
    "movk w0, #({old} >> 16), lsl #16",
    "b pair_rest",
    "pair_new: bl make_new",
    "b pair_rest",
    //
    ".global displaced_function, displaced_site, displaced_copy, displaced_new",
    "displaced_function: hint #34",
    "number {old}",
    "displaced_site: nop",
    "nop",
    "displaced_rest: ret",
    "displaced_copy: nop",
    "nop",
    "b displaced_rest",
    "displaced_new: number {new}",
    "ret",
    //
    ".global parked_function, parked_site, parked_copy, parked_new",
    "parked_function: hint #34",
    "parked_site: number {old}",
    "parked_rest: ret",
    "parked_copy: number {old}",
    "b parked_rest",
    "parked_new: number {new}",
    "b parked_rest",
    // The site is the first instruction, which is reached with PSTATE.BTYPE not zero; neither its copy nor its stand-in is
    // a BTI.
    ".global entry_site, entry_copy, entry_new",
    "entry_site: hint #34",
    "mov w0, #({old} & 0xffff)",
    "entry_rest: bfi w0, w0, #16, #16",
    "ret",
    "entry_copy: nop",
    "mov w0, #({old} & 0xffff)",
    "b entry_rest",
    "entry_new: mov w0, #({new} & 0xffff)",
    "b entry_rest",
    // X9 leads to what makes the old number. Once X30 is copied over it, that is left out.
    ".global planted_function, planted_site",
    "planted_function: hint #34",
    "number {new}",
    "adr x9, planted_old",
    "planted_site: nop",
    "nop",
    "ret x9",
    "planted_old: number {old}",
    "ret",
    //
    ".global prepared_function, prepared_site",
    "prepared_function: hint #34",
    "number {old}",
    "prepared_site: mov x9, x30",
    "nop",
    "ret x9",
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
    let new = bl(addr, address!(make_new)).expect("within reach");
    Site::single(addr, &NOP, &new).expect("four bytes each")
}

/// Calls the function around it.
pub fn run_call(i: usize) -> u64 {
    run(address!(call_functions) + i as u64 * CALL_STRIDE)
}

/// The same: SP has one alignment only.
pub fn run_call_shifted(i: usize) -> u64 {
    run_call(i)
}

/// MOV of half a number to W0.
fn mov(value: u64) -> [u8; 4] {
    movz(Width::W, W0, value as u16, 0).expect("a number of 16 bits")
}

const W0: Reg = match Reg::new(0) {
    Some(reg) => reg,
    None => unreachable!(),
};

/// The `i`-th site that loads a number, which changes.
pub fn value_site(i: usize) -> Site {
    assert!(i < COUNT);
    let addr = address!(value_functions) + i as u64 * VALUE_STRIDE + VALUE_OFFSET;
    Site::single(addr, &mov(OLD), &mov(NEW)).expect("four bytes each")
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
    let high = |value: u64| movk(Width::W, W0, (value >> 16) as u16, 16).expect("a number of 16 bits");
    let new = |addr: u64| bl(addr, address!(make_new)).expect("within reach");
    let case = |what, kind, site, function| Case { what, site, kind, function };
    let planted = mov_reg(Width::X, X9, LR);

    let at = address!(pair_site);
    let pair = two(at, [NOP, high(OLD)], [new(at), NOP], address!(pair_copy), address!(pair_new));
    let at = address!(displaced_site);
    let jump = b(at, address!(displaced_new)).expect("within reach");
    let displaced = two(at, [NOP, NOP], [jump, NEVER], address!(displaced_copy), address!(displaced_new));
    let (old, to) = ([mov(OLD), high(OLD)], [mov(NEW), high(NEW)]);
    let parked = two(address!(parked_site), old, to, address!(parked_copy), address!(parked_new));
    let (old, to) = ([BTI_C, mov(OLD)], [BTI_JC, mov(NEW)]);
    let entry = two(address!(entry_site), old, to, address!(entry_copy), address!(entry_new));
    let plant = two(address!(planted_site), [NOP, NOP], [planted, NOP], 0, 0);
    let at = address!(prepared_site);
    let prepared = two(at, [planted, NOP], [planted, new(at + 4)], 0, 0);
    [
        case("NOP to BL, trap first", Kind::Breakpoint, call_site(0), address!(call_functions)),
        case("NOP, MOVK to BL, NOP", Kind::Pair, pair, address!(pair_function)),
        case("NOP, NOP to B", Kind::Displace, displaced, address!(displaced_function)),
        case("MOV, MOVK to MOV, MOVK", Kind::ParkTwice, parked, address!(parked_function)),
        case("BTI, MOV to BTI, MOV at a guarded entry", Kind::ParkTwice, entry, address!(entry_site)),
        case("NOP, NOP to MOV X9, X30, NOP", Kind::Plant, plant, address!(planted_function)),
        case("MOV X9, X30, NOP to MOV X9, X30, BL", Kind::PreparedPair, prepared, address!(prepared_function)),
    ]
    .into_iter()
}
