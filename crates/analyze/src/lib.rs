//! Reads ELF64 x86-64 files, finds their functions, and decides how each can be patched while the
//! program runs: which instructions at the entry and at each exit a jump of five bytes can replace,
//! and what their copy looks like at another address.
//!
//! Everything here is a decision about bytes in memory; nothing is executed or written. Where it is
//! not certain that a patch is harmless, the answer is a [`Reason`].
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # if !cfg!(target_arch = "x86_64") { return Ok(()); }
//! let bytes = std::fs::read("/proc/self/exe")?;
//! let image = textpoke_analyze::Image::parse(&bytes)?;
//! for function in image.functions().iter().take(10) {
//!     match &function.entry {
//!         Ok(site) => println!("{}: {} bytes at {:#x}", function.name, site.len(), site.vaddr),
//!         Err(reason) => println!("{}: {reason}", function.name),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Reading order: `analysis.rs` (the whole), `flow.rs` (where control can come to), `displace.rs`
//! (the entry), `exits.rs`, `relocate.rs` (the copy), `indirect.rs` (jumps through registers).

mod analysis;
mod body;
mod displace;
mod ehframe;
mod elf;
mod error;
mod exits;
mod flow;
mod fragments;
mod functions;
mod indirect;
mod isa;
mod lsda;
mod names;
mod overlap;
mod patch_points;
mod pointers;
mod reason;
mod relocate;
mod rseq;
mod scratch;
mod site;
mod symbols;
mod tables;
#[cfg(test)]
mod testfile;
#[cfg(test)]
mod tests;
mod text;

pub use analysis::Options;
pub use elf::{Image, Segment};
pub use error::Error;
pub use exits::{ExitEvent, ExitSite};
pub use functions::{ExitKind, Function, Kind, Source};
pub use isa::Isa;
pub use names::is_runtime;
pub use reason::{Obstacle, Reason};
pub use relocate::{MAX_COPY, Relocated};
pub use site::{Ends, Jump, MAX_PATCH, MAX_SITE, Site, Way, Written};
