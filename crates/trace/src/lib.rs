//! What the tracer, its sidecar and the probes in a target share: the record, the rings, and the layout of all memory that
//! two of them touch.
//!
//! The agent's assembly takes its offsets from these types, so that there is one truth about the layout. Everything
//! that two sides touch at the same time is an atomic; nothing here is unsafe.
//!
//! Reading order: [`record`], [`ring`], [`local`], [`params`], [`control`], [`table`], [`layout`].
#![no_std]

pub mod control;
pub mod layout;
pub mod local;
pub mod params;
pub mod record;
pub mod ring;
pub mod table;

pub use control::{Control, Message, Turn};
pub use layout::Layout;
pub use record::Record;
pub use ring::{Reader, RingHeader, Slot};
