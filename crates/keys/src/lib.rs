//! Static keys, static calls and immediate values: the macros that make sites, the tables that list them, and what the
//! bytes of a site become. Who changes the bytes is somebody else: crate `textpoke` in a Linux process, a kernel's own
//! [`change::Machine`], which [`flip`] helps with.
//!
//! `docs/keys.md` is the page about the memory layout, which C, Rust and `textpoke keys` share.
//!
//! What differs between instruction sets is a type each in [`form`], which compiles everywhere, and the texts of the
//! assembly in `arch/`.
//!
//! Reading order: [`abi`], [`form`], the macros in `branch.rs`, [`key`], [`change`], then [`find`] and [`flip`].
#![no_std]

pub mod abi;
#[cfg_attr(target_arch = "x86_64", path = "arch/x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "arch/aarch64.rs")]
#[cfg_attr(target_arch = "riscv64", path = "arch/riscv64.rs")]
mod arch;
mod branch;
mod call;
pub mod change;
pub mod find;
pub mod flip;
pub mod form;
mod imm;
pub mod key;
mod note;

pub use call::{Argument, Returned, Signature, StaticCall};
pub use imm::{Immediate, StaticImm};
pub use key::StaticKey;

#[doc(hidden)]
pub use imm::{initial_of as __initial_of, is_wide as __is_wide};
#[doc(hidden)]
pub mod __call {
    pub use crate::call::{Trampoline, zero_of};
}
