//! What the CPU itself must be told after code was changed, and what may be assumed of it. One file per instruction set.
//!
//! Everything here concerns the CPU that executes the call. Reaching the *other* CPUs is the operating system's work
//! (`membarrier` in `textpoke-linux`, an interrupt in a kernel).
#![no_std]
#![allow(unsafe_code, reason = "serialising and identifying a CPU takes instructions that only asm! can name")]

#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod arch;

#[cfg(target_arch = "x86_64")]
pub use arch::{Vendor, maintain, serialize, timestamp, vendor};
