//! Attaching to a running process: `ptrace`, the sidecar, remote mappings, draining rings.
//!
//! Three parties: the *target*, whose threads run on; the *tracer*, this process; and the *sidecar*, a process that
//! shares the target's memory and nothing else, performs the patch protocol there and is told what to do through shared
//! memory. While text changes, one thread of the tracer (the [`keeper`]) holds every thread of the target seized, which
//! neither stops nor interrupts them, so that a trap byte is seen by us first whoever runs into it, also a thread that
//! blocks the trap signal.
//!
//! Reading order: [`session`], [`keeper`], [`inject`], [`quiesce`]; then [`arch`] and [`keys`].
#![allow(unsafe_code, reason = "ptrace, remote system calls and shared mappings cannot be had without it")]

/// What differs between instruction sets. Each has the same files with the same items; the one of this build is used.
///
/// | file | has |
/// |---|---|
/// | `mod.rs` | numbers, names and small facts; what a process must have |
/// | `regs.rs` | a stopped thread's registers, and how a system call is made with them |
/// | `frame.rs` | where a signal frame on a stack has its program counter |
/// | `way_home.rs` | frames that lead a borrowed thread home when its tracer is killed |
/// | `trampoline.rs` | the code that calls the probe |
#[cfg_attr(target_arch = "x86_64", path = "arch/x86_64/mod.rs")]
#[cfg_attr(target_arch = "aarch64", path = "arch/aarch64/mod.rs")]
#[cfg_attr(target_arch = "riscv64", path = "arch/riscv64/mod.rs")]
pub mod arch;
pub mod clock;
pub mod error;
pub mod image;
pub mod inject;
pub mod keeper;
pub mod keys;
pub mod launch;
pub mod place;
pub mod plan;
pub mod preflight;
pub mod proc;
mod ptrace;
pub mod quiesce;
pub mod remains;
mod remote;
pub mod repair;
pub mod rings;
pub mod session;
pub mod shared;
pub mod trampoline;

pub use error::Error;
pub use session::Session;
