//! x86-64.

mod mem;
mod probe;

use core::arch::global_asm;

use crate::{sidecar, trap};

/// Number of the system call `kill`.
pub const KILL: usize = 62;

// The sidecar begins with whatever stack pointer, as long as there is room below it. The restorer has exactly the bytes by
// which unwinders know a signal frame.
global_asm!(
    ".pushsection .text.textpoke, \"ax\"",
    ".globl textpoke_sidecar",
    "textpoke_sidecar:",
    "cld",
    "xor ebp, ebp",
    "and rsp, -16",
    "call {main}",
    "ud2",
    ".globl textpoke_trap",
    "textpoke_trap: jmp {handle}",
    ".globl textpoke_restorer",
    "textpoke_restorer:",
    "mov rax, 15",
    "syscall",
    ".popsection",
    main = sym sidecar::main,
    handle = sym trap::handle,
);
