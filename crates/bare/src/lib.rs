//! textpoke in a kernel: the machine that performs a plan on text which all CPUs execute in ring 0, EL1 or S-mode.
//!
//! A kernel brings its [`Hooks`] (a writable alias of its text, an interrupt to the other CPUs, parking), keeps one
//! [`Engine`] in a static, and calls it at three places: where a trap comes in ([`Engine::trap`]), where an NMI comes in
//! ([`Engine::nmi`]) and where it wants text changed ([`Engine::patch`]). A kernel that has no cross-call and no
//! stop-machine yet gets both from [`Rendezvous`], which needs nothing but an interrupt that can be sent.
//!
//! Nothing here allocates. On the paths of traps and NMIs nothing waits: an NMI may interrupt anything, the patcher and
//! another NMI included.
//!
//! What must never be patched, because patching relies on it: this crate, `textpoke-core`, `textpoke-cpu`, the entry code of
//! traps, NMIs and the interrupt for synchronising, and everything that the hooks call.
//!
//! `docs/kernel.md` is the way from here to the first key.
//!
//! Reading order: [`hooks`], [`engine`], [`machine`], [`table`], [`nmi`], then [`rendezvous`].
#![no_std]
#![allow(unsafe_code, reason = "text is written and registers of interrupted code are changed")]

pub mod aarch64;
pub mod engine;
pub mod hooks;
pub mod machine;
pub mod nmi;
pub mod rendezvous;
pub mod riscv64;
pub mod table;
pub mod trap;
mod write;
pub mod x86_64;

pub use engine::{Engine, Refused};
pub use hooks::Hooks;
pub use machine::BareMachine;
pub use rendezvous::Rendezvous;
pub use trap::Frame;
