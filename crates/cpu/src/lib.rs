//! What the CPU itself must be told after code was changed, and what may be assumed of it. One file per instruction set.
//!
//! Everything here concerns the CPU that executes the call. Reaching the *other* CPUs is the operating system's work
//! (`membarrier` in `textpoke-linux`, an interrupt in a kernel).
//!
//! | | x86-64 | AArch64 | RISC-V |
//! |---|---|---|---|
//! | [`maintain`], [`maintain_each`]: stores become visible to fetch | nothing to do | every CPU (DC CVAU, IC IVAU, broadcast) | this hart only |
//! | [`serialize`]: this CPU forgets what it fetched | CPUID | ISB | FENCE.I |
//! | [`timestamp`] | time stamp counter | virtual counter | `time` |
//! | [`documents_word_store`] | AMD | no | no |
#![no_std]
#![allow(unsafe_code, reason = "serialising and identifying a CPU takes instructions that only asm! can name")]

pub mod errata;

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
#[cfg_attr(target_arch = "riscv64", path = "riscv64.rs")]
mod arch;

#[cfg(target_arch = "aarch64")]
pub use arch::{CacheType, maintain_always};
#[cfg(target_arch = "x86_64")]
pub use arch::{Vendor, vendor};
pub use arch::{documents_word_store, maintain_each, serialize, timestamp};

/// Makes stores to `len` bytes of code from `start` on visible to instruction fetch, as [`maintain_each`] does for several
/// ranges.
#[inline(always)]
pub fn maintain(start: u64, len: u64) {
    maintain_each(core::iter::once((start, len)));
}
