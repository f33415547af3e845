//! Functions that the tests change: each returns [`OLD`] or [`NEW`], and anything else is a torn instruction.
//!
//! They are on guarded pages: whatever is branched to through a register, or is returned to with PSTATE.BTYPE not zero, must
//! be a BTI, where the CPU has them.

use core::arch::global_asm;

use textpoke_core::isa::Reg;
use textpoke_core::isa::aarch64::{NOP, Width, bl, movz};
use textpoke_core::{Kind, Site};

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

global_asm!(
    ".pushsection .sites, \"ax\", @progbits",
    ".balign 64",
    // mov w0, OLD; a NOP that becomes a BL; ret
    "call_functions:",
    ".rept {count}",
    "hint #34", // BTI c
    "mov x9, x30",
    "mov w0, #{old} & 0xffff",
    "movk w0, #{old} >> 16, lsl #16",
    "nop",
    "ret x9",
    "udf #0",
    ".endr",
    "make_new: mov w0, #{new} & 0xffff",
    "movk w0, #{new} >> 16, lsl #16",
    "ret",
    // mov w0, OLD, in two halves of which one changes, and the same half twice; ret
    "value_functions:",
    ".rept {count}",
    "hint #34",
    "mov w0, #{old} & 0xffff",
    "bfi w0, w0, #16, #16",
    "ret",
    "udf #0",
    ".endr",
    ".popsection",
    count = const COUNT,
    old = const OLD,
    new = const NEW,
);

unsafe extern "C" {
    static call_functions: u8;
    static make_new: u8;
    static value_functions: u8;
}

fn address(symbol: *const u8) -> u64 {
    symbol.addr() as u64
}

fn run(function: u64) -> u64 {
    // SAFETY: one of the functions above, all of which keep the calling convention.
    unsafe { core::mem::transmute::<u64, extern "C" fn() -> u64>(function)() }
}

/// The `i`-th site whose NOP becomes a call.
pub fn call_site(i: usize) -> Site {
    assert!(i < COUNT);
    let addr = address(&raw const call_functions) + i as u64 * CALL_STRIDE + CALL_OFFSET;
    let new = bl(addr, address(&raw const make_new)).expect("within reach");
    Site::single(addr, &NOP, &new).expect("four bytes each")
}

/// Calls the function around it.
pub fn run_call(i: usize) -> u64 {
    run(address(&raw const call_functions) + i as u64 * CALL_STRIDE)
}

/// The `i`-th site that loads a number, which changes.
pub fn value_site(i: usize) -> Site {
    assert!(i < COUNT);
    let mov = |value: u64| movz(Width::W, Reg::new(0).expect("W0"), value as u16, 0).expect("a number of 16 bits");
    let addr = address(&raw const value_functions) + i as u64 * VALUE_STRIDE + VALUE_OFFSET;
    Site::single(addr, &mov(OLD), &mov(NEW)).expect("four bytes each")
}

/// Calls the function around it.
pub fn run_value(i: usize) -> u64 {
    run(address(&raw const value_functions) + i as u64 * VALUE_STRIDE)
}
