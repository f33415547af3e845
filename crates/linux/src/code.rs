//! New code, ready to be executed.

use crate::sys::Result;
use crate::{arch, sync};

/// Makes code that was written to `len` bytes from `start` on executable by every thread, whatever they or anybody before
/// fetched from there: maintains the caches, and has every CPU synchronise. Only then may a branch lead to it.
///
/// Some processors do not order the fetch of new code behind that of a new branch to it ([`textpoke_cpu::errata`]), and
/// RISC-V orders it nowhere.
///
/// # Errors
/// Those of [`sync::cores`]; the process must be registered.
pub fn ready(start: u64, len: u64) -> Result {
    arch::maintain(core::iter::once((start, len)), false)?;
    sync::cores()
}
