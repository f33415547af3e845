//! TABLE: private memory that fork children inherit as it is, so that a child born in the middle of a batch still knows
//! what its trap bytes mean: the published trap table, a copy of the sites, the program's own signal action, and the
//! sidecar's stack.

use core::sync::atomic::AtomicU64;

/// Bytes of the sidecar's stack.
pub const STACK_BYTES: usize = 256 * 1024;
/// Bytes at the start of TABLE that are kept for the published trap table, a type of another crate.
pub const PUBLISHED_BYTES: usize = 512;

/// The start of TABLE.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct TableHeader {
    /// Room for the trap table that the signal handler reads.
    pub published: [AtomicU64; PUBLISHED_BYTES / 8],
    /// The program's own action for SIGTRAP: what traps that are not ours are passed on to.
    pub previous: Action,
}

/// A signal action as the kernel's `rt_sigaction` takes it on x86-64 with an 8-byte mask.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Action {
    /// Address of the handler, 0 (`SIG_DFL`) or 1 (`SIG_IGN`).
    pub handler: AtomicU64,
    /// `SA_*` flags.
    pub flags: AtomicU64,
    /// Address of the restorer.
    pub restorer: AtomicU64,
    /// Signals blocked while the handler runs.
    pub mask: AtomicU64,
}

/// Offset of the copy of the sites from the start of TABLE.
pub const SITE_COPY: usize = crate::layout::PAGE;

/// Offset of the first byte behind the sidecar's stack, which is also the size of TABLE.
pub const fn bytes(site_capacity: usize) -> usize {
    stack_start(site_capacity) + STACK_BYTES
}

/// Offset of the sidecar's stack. The page before it should be made inaccessible.
pub const fn stack_start(site_capacity: usize) -> usize {
    let sites = SITE_COPY + site_capacity * crate::layout::SITE_BYTES;
    sites.next_multiple_of(crate::layout::PAGE) + crate::layout::PAGE
}

const _: () = assert!(size_of::<TableHeader>() <= SITE_COPY);
