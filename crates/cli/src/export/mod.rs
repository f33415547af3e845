//! Conversions for other programs. Each streams: memory does not grow with the trace (but for
//! folded stacks, which grow with the number of different stacks).

pub mod chrome;
pub mod cut;
pub mod folded;
pub mod perfetto;
pub mod proto;
