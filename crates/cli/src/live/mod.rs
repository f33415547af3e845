//! Running programs: which files they run, what of them to trace, and the recording itself.
//!
//! Reading order: [`command`], [`modules`], [`probes`], [`recording`].

pub mod command;
pub mod modules;
pub mod probes;
pub mod recording;
pub mod stop;

/// The agent's image, which is put into targets.
pub const AGENT: &[u8] = include_bytes!(env!("TEXTPOKE_AGENT"));
