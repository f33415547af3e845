//! Running programs: which files they run, what of them to trace, and the recording itself.

pub mod modules;
pub mod probes;
pub mod recording;
