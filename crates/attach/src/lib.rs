//! Attaching to a running process: `ptrace`, the sidecar, remote mappings, draining rings.
//!
//! Three parties: the *target*, whose threads run on; the *tracer*, this process; and the *sidecar*, a process that
//! shares the target's memory and nothing else, performs the patch protocol there and is told what to do through shared
//! memory. While text changes, one thread of the tracer (the [`keeper`]) holds every thread of the target seized, which
//! neither stops nor interrupts them, so that a trap byte is seen by us first whoever runs into it, also a thread that
//! blocks the trap signal.
//!
//! Reading order: [`session`], [`keeper`], [`inject`], [`quiesce`]; then [`keys`].
#![allow(unsafe_code, reason = "ptrace, remote system calls and shared mappings cannot be had without it")]

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
mod way_home;

pub use error::Error;
pub use session::Session;
