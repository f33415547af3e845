//! The checker: it explores the very objects that run live, over every interleaving.
//!
//! The patcher's side is [`textpoke_core::Run`], called step by step; the trap side is [`textpoke_core::trap::resolve`].
//! Each step gets the *weakest* effect that `docs/contract.md` allows: a store becomes visible piece by piece, a
//! synchronisation reaches one CPU after the other, a step that fails may have done any part of its work, and the patcher
//! may be killed. Between two of these moments any thread may fetch, execute, trap, be caught by a signal, an NMI may come
//! in, or nothing may happen for as long as it likes. What instruction fetch may see is one of seven books' promises
//! ([`Profile`]): AMD's and Intel's, Arm's with three kinds of caches, RISC-V's with and without Ziccid.
//!
//! Exploring is breadth first, so that a counterexample is one of the shortest. A verdict names its assumptions, and
//! [`property::Sometimes`] guards it against being vacuous. `docs/protocols/README.md` says where this is too careful,
//! where too trusting, and why fewer states are enough.
//!
//! [`herd`] stands apart: it decides litmus tests of others by the axioms of Arm's and RISC-V's memory models.
//!
//! Reading order: [`scenario`], [`profile`], [`machine`] (`patcher`, `store`, `fetch`, `thread`, `trap`, `nmi`),
//! [`explore`], [`variants`], [`expected`].

pub mod action;
pub mod assume;
pub mod docs;
pub mod expected;
pub mod explore;
pub mod file;
pub mod herd;
mod isa;
pub mod machine;
pub mod mutate;
pub mod nmi;
pub mod options;
pub mod parallel;
mod places;
pub mod profile;
pub mod property;
pub mod reduce;
pub mod replay;
pub mod report;
pub mod scenario;
pub mod script;
pub mod state;
pub mod table;
pub mod text;
pub mod trace;
pub mod variants;

pub use expected::rows;
pub use explore::Limits;
pub use file::File;
pub use mutate::{Fate, mutate};
pub use options::Options;
pub use replay::{Ending, Walk, replay, walk, walk_in};
pub use report::{Report, Unknown, Verdict, check, step_names, without};
pub use scenario::{Handler, IsaId, Profile};
pub use script::accepts;
pub use table::{Table, check_all, check_rows};
pub use variants::{Check, Shape, checks};
