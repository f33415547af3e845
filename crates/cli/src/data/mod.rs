//! The trace directory: what `record` writes and `report`, `flame`, `export` and `info` read.
//!
//! Reading order: [`meta`] (the side tables) → [`record`] (16 bytes) → [`calls`] (records become
//! nested calls) → [`filter`] (`-D`, `-t`, `--from`, `--to`) → [`trace`] (ties them to a directory).

pub mod calls;
pub mod clock;
pub mod event;
pub mod filter;
pub mod meta;
pub mod record;
pub mod trace;
pub mod writer;
