//! AArch64.

mod mem;
mod probe;

use core::arch::global_asm;

use crate::{sidecar, trap};

/// Number of the system call `kill`.
pub const KILL: usize = 129;

// Handlers return through the kernel's own code.
global_asm!(
    ".pushsection .text.textpoke, \"ax\"",
    ".globl textpoke_sidecar",
    "textpoke_sidecar:",
    "mov x29, xzr",
    "mov x30, xzr",
    "bl {main}",
    "brk #1",
    ".globl textpoke_trap",
    "textpoke_trap: b {handle}",
    ".popsection",
    main = sym sidecar::main,
    handle = sym trap::handle,
);
