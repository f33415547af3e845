//! What differs between the instruction sets: the same modules and functions in each folder.

#[cfg(target_arch = "aarch64")]
#[path = "aarch64/mod.rs"]
mod native;
#[cfg(target_arch = "riscv64")]
#[path = "riscv64/mod.rs"]
mod native;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64/mod.rs"]
mod native;

pub use native::*;

use textpoke_core::{Kind, Site};

/// A site, what changes it, and a function around it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What becomes what.
    pub what: &'static str,
    /// The site.
    pub site: Site,
    /// The protocol.
    pub kind: Kind,
    /// The function's address.
    pub function: u64,
}

impl Case {
    /// Calls the function around it.
    pub fn run(&self) -> u64 {
        // SAFETY: one of the functions of `sites`, all of which keep the calling convention.
        unsafe { core::mem::transmute::<u64, extern "C" fn() -> u64>(self.function)() }
    }
}
