//! From power on to Rust, for the first CPU (by QEMU's PVH entry, 32 bits, paging off) and for the others (16 bits).
//!
//! The page tables are constants: text executable and unwritable, everything else not executable, from the moment on at
//! which there is paging. CR0.WP makes that true for the kernel itself.
//!
//! | from | to | what |
//! |---|---|---|
//! | 0x8000 | 0x9000 | where the other CPUs begin: executable |
//! | 0x200000 | 0x600000 | text: executable |
//! | 0x600000 | 0x800000 | constants |
//! | 0x800000 | 0x1000000 | data |
//! | 0x1000000 | 0x1200000 | parameters, put there by QEMU: constants |
//! | 0xfee00000 | 0xff000000 | local APIC: device |
//! | 0xffff800000000000 | + 0x600000 | the alias of the first 6 MiB: nothing, until `paging` opens a page |

use core::arch::global_asm;

use super::smp::STACK;

/// Where QEMU puts the parameters.
pub const PARAMETERS: u64 = 0x100_0000;
/// Where the other CPUs begin: page 8.
pub const START_PAGE: u64 = 0x8000;

global_asm!(
    ".pushsection .note.pvh, \"a\", @note",
    ".balign 4",
    ".long 4, 4, 18", // XEN_ELFNOTE_PHYS32_ENTRY
    ".asciz \"Xen\"",
    ".long pvh_entry",
    ".popsection",
    //
    ".pushsection .text.boot, \"ax\", @progbits",
    ".code32",
    ".global pvh_entry",
    "pvh_entry:",
    "cli",
    "xor edi, edi",
    // EDI: number of the CPU.
    "enter_long:",
    "mov eax, cr4",
    "or eax, 0x20", // PAE
    "mov cr4, eax",
    "mov eax, offset pml4",
    "mov cr3, eax",
    "mov ecx, 0xc0000080", // EFER
    "rdmsr",
    "or eax, 0x900", // LME, NXE
    "wrmsr",
    "mov eax, cr0",
    "and eax, 0x9fffffff", // caches on
    "or eax, 0x80010001", // PG, WP, PE
    "mov cr0, eax",
    "lgdt [boot_gdt_pointer]",
    ".byte 0xea", // JMP far: 32-bit offset, selector
    ".long long_mode",
    ".short 8",
    //
    ".code64",
    "long_mode:",
    "mov eax, 0x10",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "xor eax, eax",
    "mov fs, eax",
    "mov gs, eax",
    "mov edi, edi",
    "lea rax, [rdi + 1]",
    "imul rax, rax, {stack}",
    "lea rsp, [rax + {stacks}]",
    "xor ebp, ebp",
    "call {enter}",
    "ud2",
    //
    // Copied to START_PAGE; addresses in it are worked out by hand. CS is 0x800, IP is 0.
    ".code16",
    ".global others_start, others_end",
    "others_start:",
    "cli",
    "xor ax, ax",
    "mov ds, ax",
    ".byte 0x0f, 0x01, 0x16", // LGDT from a 16-bit address
    ".short {page} + others_gdt - others_start",
    "mov eax, cr0",
    "or al, 1",
    "mov cr0, eax",
    ".byte 0x66, 0xea",
    ".long {page} + others_32 - others_start",
    ".short 0x18",
    ".code32",
    "others_32:",
    "mov eax, 0x10",
    "mov ds, eax",
    "mov ss, eax",
    "mov edi, [{starting}]",
    "mov eax, offset enter_long",
    "jmp eax",
    ".balign 4",
    "others_gdt: .short 31",
    ".long boot_gdt",
    "others_end:",
    ".code64",
    ".popsection",
    //
    ".pushsection .rodata.boot, \"a\", @progbits",
    ".balign 8",
    // With the bit that says "accessed", so that the CPU does not want to set it: these are constants.
    "boot_gdt: .quad 0",
    ".quad 0x00af9b000000ffff", // 0x08: code, 64 bits
    ".quad 0x00cf93000000ffff", // 0x10: data
    ".quad 0x00cf9b000000ffff", // 0x18: code, 32 bits
    "boot_gdt_pointer: .short 31",
    ".long boot_gdt",
    //
    ".balign 4096",
    "pml4: .quad low_pdpt + 3",
    ".fill 255, 8, 0",
    ".quad alias_pdpt + 3",
    ".fill 255, 8, 0",
    "low_pdpt: .quad low_pd + 3, 0, 0, device_pd + 3",
    ".fill 508, 8, 0",
    // Bit 7: 2 MiB. Bit 63: no execution. Bit 1: writable.
    "low_pd: .quad low_pt + 3",
    ".quad 0x200081, 0x400081",
    ".quad 0x8000000000600081",
    ".quad 0x8000000000800083, 0x8000000000a00083, 0x8000000000c00083, 0x8000000000e00083",
    ".quad 0x8000000001000081",
    ".fill 503, 8, 0",
    "low_pt: .fill 8, 8, 0",
    ".quad {page} + 1",
    ".fill 503, 8, 0",
    "device_pd: .fill 503, 8, 0",
    ".quad 0x80000000fee00093", // without caching
    ".fill 8, 8, 0",
    "alias_pdpt: .quad alias_pd + 3",
    ".fill 511, 8, 0",
    "alias_pd: .quad {alias} + 3, {alias} + 4096 + 3, {alias} + 8192 + 3",
    ".fill 509, 8, 0",
    ".popsection",
    stack = const STACK,
    stacks = sym super::smp::STACKS,
    enter = sym super::smp::enter,
    starting = sym super::smp::STARTING,
    page = const START_PAGE,
    alias = sym super::paging::ALIAS_TABLES,
);
