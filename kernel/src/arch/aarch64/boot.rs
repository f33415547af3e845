//! From QEMU's loader, or PSCI, to Rust: at EL1, with the MMU off.
//!
//! The page tables are constants: text executable and unwritable, everything else not executable, from the moment on at
//! which there is paging. SCTLR_EL1.WXN says the same once more.
//!
//! | from | to | what |
//! |---|---|---|
//! | 0x8000000 | 0x9200000 | interrupt controller, serial port: devices |
//! | 0x40200000 | 0x40600000 | text: executable |
//! | 0x40600000 | 0x40800000 | the sites of the tests: executable, and guarded, so that a branch through a register must find a BTI |
//! | 0x40800000 | 0x40a00000 | constants |
//! | 0x40a00000 | 0x41200000 | data |
//! | 0x41200000 | 0x41400000 | parameters, put there by QEMU: constants |
//! | 0x4000000000 | + 0x800000 | the alias of the 8 MiB from 0x40000000 on: nothing, until `paging` opens a page |

use core::arch::global_asm;

use super::smp::STACK;

/// Where QEMU puts the parameters.
pub const PARAMETERS: u64 = 0x4120_0000;

/// MAIR_EL1: kind 0 is ordinary memory, cached (0xff), kind 1 a device (nGnRE, 4).
const KINDS: u64 = 0x4ff;
/// TCR_EL1: addresses of 39 bits by TTBR0 with pages of 4 KiB, cached tables, none by TTBR1, 40 physical bits.
const TRANSLATION: u64 = 25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 2 << 32;
/// SCTLR_EL1: the bits that were always one, and M, C, SA, I, WXN.
const CONTROL: u64 = 0x30d0_0800 | 1 | 1 << 2 | 1 << 3 | 1 << 12 | 1 << 19;

/// Block of 2 MiB: accessed, inner shareable, unprivileged execution never.
const BLOCK: u64 = 1 | 3 << 8 | 1 << 10 | 1 << 54;
const READ_ONLY: u64 = 1 << 7;
const NO_EXECUTION: u64 = 1 << 53;
const DEVICE: u64 = 1 << 2;
const GUARDED: u64 = 1 << 50;

global_asm!(
    ".pushsection .text.boot, \"ax\", @progbits",
    ".global start, others_start",
    "start: mov x0, #0",
    // X0: number of the CPU.
    "others_start: msr daifset, #15",
    "msr spsel, #1",
    "ldr x1, ={kinds}",
    "msr mair_el1, x1",
    "ldr x1, ={translation}",
    "msr tcr_el1, x1",
    "adrp x1, level_1",
    "add x1, x1, :lo12:level_1",
    "msr ttbr0_el1, x1",
    "isb",
    "tlbi vmalle1",
    "ic iallu",
    "dsb nsh",
    "isb",
    "ldr x1, ={control}",
    "msr sctlr_el1, x1",
    "isb",
    "add x1, x0, #1",
    "mov x2, #{stack}",
    "adrp x3, {stacks}",
    "add x3, x3, :lo12:{stacks}",
    "madd x1, x1, x2, x3",
    "mov sp, x1",
    "mov x29, #0",
    "mov x30, #0",
    "bl {enter}",
    "brk #1",
    ".ltorg",
    ".popsection",
    //
    ".pushsection .rodata.boot, \"a\", @progbits",
    ".balign 4096",
    "level_1: .quad device_2 + 3, low_2 + 3",
    ".fill 254, 8, 0",
    ".quad alias_2 + 3",
    ".fill 255, 8, 0",
    "device_2: .fill 64, 8, 0",
    ".set at, 0x8000000",
    ".rept 9",
    ".quad at + {device}",
    ".set at, at + 0x200000",
    ".endr",
    ".fill 439, 8, 0",
    "low_2: .quad 0",
    ".quad 0x40200000 + {text}, 0x40400000 + {text}, 0x40600000 + {sites}, 0x40800000 + {constants}",
    ".quad 0x40a00000 + {data}, 0x40c00000 + {data}, 0x40e00000 + {data}, 0x41000000 + {data}",
    ".quad 0x41200000 + {constants}",
    ".fill 502, 8, 0",
    "alias_2: .quad {alias} + 3, {alias} + 4096 + 3, {alias} + 8192 + 3, {alias} + 12288 + 3",
    ".fill 508, 8, 0",
    ".popsection",
    kinds = const KINDS,
    translation = const TRANSLATION,
    control = const CONTROL,
    stack = const STACK,
    stacks = sym super::smp::STACKS,
    enter = sym super::smp::enter,
    alias = sym super::paging::ALIAS_TABLES,
    device = const BLOCK | DEVICE | NO_EXECUTION,
    text = const BLOCK | READ_ONLY,
    sites = const BLOCK | READ_ONLY | GUARDED,
    constants = const BLOCK | READ_ONLY | NO_EXECUTION,
    data = const BLOCK | NO_EXECUTION,
);
