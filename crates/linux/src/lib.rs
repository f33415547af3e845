//! textpoke's live machine in Linux user space: writing text, synchronising CPUs, handling traps.
//!
//! Without the feature `std` the crate needs neither an allocator nor libc nor thread-local storage, and has no mutable
//! statics: it is what the agent runs inside another process. With `std` there is also [`process`], the machine that
//! patches the program it is linked into.
//!
//! What differs between instruction sets is in one folder each, `arch/`; everything else is the same for all.
//!
//! Reading order: [`text`], [`sync`], [`table`], [`trap`], [`live`], then [`process`].
#![no_std]
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
#![allow(unsafe_code, reason = "system calls, signal frames and stores to text have no safe form")]

#[cfg(feature = "std")]
extern crate std;

#[cfg_attr(target_arch = "x86_64", path = "arch/x86_64/mod.rs")]
#[cfg_attr(target_arch = "aarch64", path = "arch/aarch64/mod.rs")]
#[cfg_attr(target_arch = "riscv64", path = "arch/riscv64/mod.rs")]
mod arch;
pub mod code;
#[cfg(feature = "std")]
#[doc(hidden)]
pub mod fault;
#[cfg(feature = "std")]
mod handler;
#[cfg(feature = "std")]
mod inside;
pub mod journal;
pub mod live;
#[cfg(feature = "std")]
#[doc(hidden)]
pub mod loaded;
#[cfg(feature = "std")]
mod lock;
#[cfg(feature = "std")]
pub mod maps;
#[cfg(feature = "std")]
mod pager;
#[cfg(feature = "std")]
mod park;
#[cfg(feature = "std")]
pub mod process;
pub mod range;
#[cfg(feature = "std")]
mod selftest;
pub mod signal;
pub mod sync;
pub mod sys;
pub mod table;
pub mod text;
#[cfg(feature = "std")]
mod threads;
pub mod trap;
#[cfg(feature = "std")]
pub mod words;

pub use arch::{Host, ucontext};
pub use live::{Hooks, Live, Prefer};
pub use range::{Prot, Range};
pub use sys::Errno;
pub use table::Published;
pub use textpoke_cpu as cpu;
