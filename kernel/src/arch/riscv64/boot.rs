//! From the firmware to Rust: in S-mode, without paging.
//!
//! The page tables are constants: text executable and unwritable, everything else not executable, from the moment on at
//! which there is paging. A page table is named by its number, so that they lie where `link.ld` puts them.
//!
//! | from | to | what |
//! |---|---|---|
//! | 0x100000 | 0x300000 | test device |
//! | 0x10000000 | 0x10200000 | serial port |
//! | 0x80200000 | 0x80800000 | text: executable |
//! | 0x80800000 | 0x80a00000 | constants, the page tables first |
//! | 0x80a00000 | 0x81200000 | data, the page tables of the alias first |
//! | 0x81200000 | 0x81400000 | parameters, put there by QEMU: constants |
//! | 0x2000000000 | + 0x800000 | the alias of the 8 MiB from 0x80000000 on: nothing, until `paging` opens a page |

use core::arch::global_asm;

use super::smp::STACK;

/// Where QEMU puts the parameters.
pub const PARAMETERS: u64 = 0x8120_0000;

const TABLES: u64 = 0x8080_0000;
const ALIAS_TABLES: u64 = 0x80a0_0000;

/// Flags of an entry: valid, readable, writable, executable, accessed, written to.
const V: u64 = 1;
const R: u64 = 2;
const W: u64 = 4;
const X: u64 = 8;
const AD: u64 = 0xc0;

/// An entry that leads to an address.
const fn entry(address: u64, flags: u64) -> u64 {
    address >> 12 << 10 | V | flags
}

/// How far apart the entries of two neighbouring pages of 2 MiB are.
const NEXT: u64 = 0x20_0000 >> 12 << 10;

global_asm!(
    ".pushsection .text.boot, \"ax\", @progbits",
    ".global start, others_start",
    // From the firmware: A0 is the number of the hart.
    "start: la t0, {first_hart}",
    "sd a0, (t0)",
    "li a1, 0",
    // A1: number of the CPU.
    "others_start: csrci sstatus, 2",
    "csrw sie, zero",
    "li t0, {satp}",
    "sfence.vma",
    "csrw satp, t0",
    "sfence.vma",
    "addi t0, a1, 1",
    "slli t0, t0, {stack}",
    "la sp, {stacks}",
    "add sp, sp, t0",
    "mv tp, a1",
    "mv a0, a1",
    "li s0, 0",
    "li ra, 0",
    "tail {enter}",
    ".popsection",
    //
    ".pushsection .rodata.tables, \"a\", @progbits",
    ".global page_tables",
    ".balign 4096",
    "page_tables: .quad {to_devices}, 0, {to_low}",
    ".fill 125, 8, 0",
    ".quad {to_alias}",
    ".fill 383, 8, 0",
    // Devices.
    ".quad {test_device}",
    ".fill 127, 8, 0",
    ".quad {serial}",
    ".fill 383, 8, 0",
    // The kernel.
    ".quad 0",
    ".quad {text}, {text} + {next}, {text} + 2 * {next}",
    ".quad {constants}",
    ".quad {data}, {data} + {next}, {data} + 2 * {next}, {data} + 3 * {next}",
    ".quad {parameters}",
    ".fill 502, 8, 0",
    // The alias.
    ".quad {alias}, {alias} + 0x400, {alias} + 0x800, {alias} + 0xc00",
    ".fill 508, 8, 0",
    ".popsection",
    first_hart = sym super::smp::FIRST_HART,
    satp = const 8 << 60 | TABLES >> 12,
    stack = const STACK.trailing_zeros(),
    stacks = sym super::smp::STACKS,
    enter = sym super::smp::enter,
    to_devices = const entry(TABLES + 0x1000, 0),
    to_low = const entry(TABLES + 0x2000, 0),
    to_alias = const entry(TABLES + 0x3000, 0),
    test_device = const entry(0, R | W | AD),
    serial = const entry(0x1000_0000, R | W | AD),
    text = const entry(0x8020_0000, R | X | AD),
    next = const NEXT,
    constants = const entry(TABLES, R | AD),
    data = const entry(ALIAS_TABLES, R | W | AD),
    parameters = const entry(PARAMETERS, R | AD),
    alias = const entry(ALIAS_TABLES, 0),
);
