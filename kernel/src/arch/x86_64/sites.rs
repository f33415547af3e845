//! Functions that the tests change: each returns [`OLD`] or [`NEW`], and anything else is a torn instruction.

use core::arch::{asm, global_asm};

use textpoke_core::isa::x86_64::{NOPS, call, jmp};
use textpoke_core::{Kind, Site};

use crate::arch::Case;

/// What a function returns in its old form: every byte differs from [`NEW`]'s.
pub const OLD: u64 = 0x0505_0505;
/// What it returns in its new form.
pub const NEW: u64 = 0x4646_4646;
/// How many functions there are of each sort.
pub const COUNT: usize = 10_000;

/// What changes a site while other CPUs run, here.
pub const LIVE: Kind = Kind::Breakpoint;
/// By how many synchronisations.
pub const LIVE_SYNCS: u64 = 3;

/// Bytes from one function to the next. Sites lie across every boundary there is.
const CALL_STRIDE: u64 = 24;
const VALUE_STRIDE: u64 = 11;

global_asm!(
    ".pushsection .text.sites, \"ax\", @progbits",
    ".global call_functions, make_new, value_functions, several_function, several_site, several_copy, several_new",
    ".balign 64",
    // mov eax, OLD; a NOP that becomes a CALL; ret
    "call_functions:",
    ".rept {count}",
    "mov eax, {old}",
    ".byte 0x0f, 0x1f, 0x44, 0, 0",
    "ret",
    ".fill {call_stride} - 11, 1, 0xcc",
    ".endr",
    "make_new: mov eax, {new}",
    "ret",
    ".balign 64",
    // mov eax, OLD, whose number becomes NEW; ret
    "value_functions:",
    ".rept {count}",
    "mov eax, {old}",
    "ret",
    ".fill {value_stride} - 6, 1, 0xcc",
    ".endr",
    // xor eax, eax; several instructions that become a JMP; ret
    "several_function:",
    "xor eax, eax",
    "several_site: push rcx",
    "add eax, {old}",
    "several_rest: pop rcx",
    "ret",
    "several_copy: push rcx",
    "add eax, {old}",
    "jmp several_rest",
    "several_new: mov eax, {new}",
    "ret",
    ".popsection",
    count = const COUNT,
    old = const OLD,
    new = const NEW,
    call_stride = const CALL_STRIDE,
    value_stride = const VALUE_STRIDE,
);

unsafe extern "C" {
    static call_functions: u8;
    static make_new: u8;
    static value_functions: u8;
    static several_function: u8;
    static several_site: u8;
    static several_copy: u8;
    static several_new: u8;
}

fn address(symbol: *const u8) -> u64 {
    symbol.addr() as u64
}

fn run(function: u64) -> u64 {
    // SAFETY: one of the functions above, all of which keep the calling convention.
    unsafe { core::mem::transmute::<u64, extern "sysv64" fn() -> u64>(function)() }
}

/// The `i`-th site whose NOP becomes a CALL.
pub fn call_site(i: usize) -> Site {
    assert!(i < COUNT);
    let addr = address(&raw const call_functions) + i as u64 * CALL_STRIDE + 5;
    let new = call(addr, address(&raw const make_new)).expect("within reach");
    Site::single(addr, NOPS[4], &new).expect("five bytes each")
}

/// Calls the function around it.
pub fn run_call(i: usize) -> u64 {
    run(address(&raw const call_functions) + i as u64 * CALL_STRIDE)
}

/// Calls it with the stack eight bytes off, so that both alignments of a stack are seen that there are.
pub fn run_call_shifted(i: usize) -> u64 {
    let function = address(&raw const call_functions) + i as u64 * CALL_STRIDE;
    let value;
    // SAFETY: as in `run`; the function needs no alignment.
    unsafe {
        asm!("sub rsp, 8", "call {}", "add rsp, 8", in(reg) function, out("rax") value, clobber_abi("sysv64"));
    }
    value
}

/// The `i`-th site that loads a number, which changes.
pub fn value_site(i: usize) -> Site {
    assert!(i < COUNT);
    let mov = |value: u64| {
        let [a, b, c, d] = (value as u32).to_le_bytes();
        [0xb8, a, b, c, d]
    };
    let addr = address(&raw const value_functions) + i as u64 * VALUE_STRIDE;
    Site::single(addr, &mov(OLD), &mov(NEW)).expect("five bytes each")
}

/// Calls the function around it.
pub fn run_value(i: usize) -> u64 {
    run(address(&raw const value_functions) + i as u64 * VALUE_STRIDE)
}

/// Sites of several instructions.
pub fn cases() -> impl Iterator<Item = Case> {
    let addr = address(&raw const several_site);
    let old = [0x51, 0x05, 5, 5, 5, 5];
    let [a, b, c, d, e] = jmp(addr, address(&raw const several_new)).expect("within reach");
    let mut site = Site::single(addr, &old, &[a, b, c, d, e, 0xcc]).expect("six bytes each");
    (site.inner, site.copy, site.copy_at[1]) = (0b10, address(&raw const several_copy), 1);
    let function = address(&raw const several_function);
    [Case { what: "PUSH, ADD to JMP", site, kind: Kind::Displace, function }].into_iter()
}
