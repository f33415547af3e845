//! Making every thread of the address space pass a context synchronising point.
//!
//! `membarrier(PRIVATE_EXPEDITED_SYNC_CORE)` interrupts exactly the CPUs that run a thread of this address space and
//! makes them execute a serialising instruction before they return to user space. A thread that does not run serialises
//! when it is scheduled in, because the kernel returns to it through IRET or, after registration, does so explicitly.
//!
//! | | where it runs | since |
//! |---|---|---|
//! | x86-64 | IPI, `sync_core` (IRET or SERIALIZE) | Linux 4.16 |
//! | AArch64 | IPI; the exception return is the context synchronisation event | Linux 4.16 |
//! | RISC-V | IPI, FENCE.I; harts that come later are marked stale | Linux 6.10; before, `riscv_flush_icache` does the same |

use crate::sys::{self, Errno, Result};

const REGISTER: u32 = 1 << 6;
const SYNC: u32 = 1 << 5;

/// Registers the address space. Once is enough; again is harmless. The first time with threads around takes some
/// milliseconds, because the kernel waits for every CPU.
///
/// A fork child inherits the registration's memory but should register again; exec drops it.
///
/// # Errors
/// `EINVAL` or `ENOSYS` where the kernel has no such membarrier and nothing that could stand in for it, `EPERM` under a
/// seccomp filter.
pub fn register() -> Result {
    match sys::membarrier(REGISTER) {
        Err(Errno::INVAL) => crate::arch::sync_otherwise().map_err(|_| Errno::INVAL),
        other => other.map(drop),
    }
}

/// Returns after every thread that shares this address space has passed a context synchronising point since the call,
/// or is certain to pass one before its next instruction in user space.
///
/// # Errors
/// `EPERM` when the address space was not registered.
pub fn cores() -> Result {
    match sys::membarrier(SYNC) {
        // The kernel may refuse for want of memory for a CPU mask (ENOMEM = 12); nothing was interrupted then.
        Err(Errno(12)) => sys::membarrier(SYNC).map(drop),
        Err(Errno::INVAL) => crate::arch::sync_otherwise(),
        other => other.map(drop),
    }
}
