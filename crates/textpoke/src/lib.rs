//! Change the machine code of the running program, safely, while all its threads keep running.
//!
//! A branch that is almost never taken can cost one NOP; a call can change its target without a load; both take effect
//! for every thread when the call that switches them returns. No thread is stopped for it.
//!
//! # What you supply
//! The address of a *site*: one machine instruction of your program that you may change, and what it may become. How
//! you get one is your business: inline assembly, a naked function, a compiler's patchable entry.
//!
//! # What you get
//! [`Patcher`] makes the process ready once and proves that patching works here. [`Switch`] turns a site of one instruction
//! into a NOP, a jump or a call, as often as you like. [`Batch`] changes many sites, of any supported instructions, in
//! one go: all or none, and the number of interrupts that other CPUs see does not depend on the number of sites. [`Entry`]
//! is for the two instructions that compilers leave at a function's entry on AArch64 and RISC-V.
//!
//! ```
//! use textpoke::{Patcher, Switch, Target};
//!
//! /// Begins with a NOP of five bytes, which we may change.
//! #[unsafe(naked)]
//! extern "C" fn dispatch() -> u32 {
//!     core::arch::naked_asm!(".byte 0x0f, 0x1f, 0x44, 0, 0", "mov eax, 1", "ret")
//! }
//! extern "C" fn fast() -> u32 {
//!     2
//! }
//!
//! let patcher = Patcher::new()?;
//! // SAFETY: the site is one five-byte NOP which nobody else changes.
//! let mut switch = unsafe { Switch::from_raw(dispatch as *const ()) }?;
//! // SAFETY: `fast` takes and returns what `dispatch` does.
//! let to_fast = unsafe { Target::jump(fast as *const ()) };
//!
//! assert_eq!(dispatch(), 1);
//! switch.set(&patcher, to_fast)?;
//! assert_eq!(dispatch(), 2);
//! switch.set(&patcher, Target::NOP)?;
//! assert_eq!(dispatch(), 1);
//! # Ok::<(), textpoke::Error>(())
//! ```
//!
//! # What other threads see
//! On x86-64, while a site changes, a thread that executes it takes a trap (about two microseconds) and acts as the new
//! instruction. On AArch64 and RISC-V there is no trap where the architecture lets the instruction change live; where it
//! does not, every thread is interrupted by a signal and waits. From the moment that the changing call returns, every
//! thread executes the new instruction. A thread sees the old or the new behaviour, nothing else, whatever the site's
//! alignment.
//!
//! Code that the program has written itself is made ready by [`Patcher::code_is_ready`] before anything leads to it.
//!
//! # What it is not
//! It finds no functions and relocates no code (that is `textpoke-analyze`), and works on its own process only. It
//! cannot patch where a thread that comes by blocks SIGTRAP, under a debugger that wants SIGTRAP for itself, or memory
//! that is mapped shared; it refuses what it can see of that. Programs that install a SIGTRAP handler themselves do so
//! before [`Patcher::new`], and keep getting their own traps.
#![allow(unsafe_code, reason = "whoever names a site by its address promises what stands there")]

#[cfg(any(feature = "log", feature = "tracing"))]
mod adapters;
mod batch;
mod entry;
mod error;
pub mod keys;
mod patch;
mod patcher;
mod switch;
mod veneer;

#[cfg(feature = "log")]
pub use adapters::log;
#[cfg(feature = "tracing")]
pub use adapters::tracing;
pub use batch::{Batch, Installed};
pub use entry::Entry;
pub use error::Error;
pub use patch::Patch;
pub use patcher::Patcher;
pub use switch::{Switch, Target};
pub use textpoke_core::{PlanError, Refusal, Verdict};
#[doc(hidden)]
pub use {textpoke_core as core, textpoke_keys as __keys, textpoke_linux as linux};
