//! Published litmus tests of instruction fetch, in herd's format, decided by Arm's and RISC-V's models.
//!
//! [`parse`] reads a test or refuses it, naming what is outside of the surface and where it stands; [`decide()`] enumerates
//! all candidate executions and keeps those that the axioms allow; [`survey()`] compares a whole folder with the verdicts
//! beside it. `docs/herd.md` has the axioms in plain words and the agreement with the published suites.
//!
//! This is a second machine beside the operational one of [`crate::machine`]: declarative, with weakly ordered data, and
//! for a handful of instructions rather than for whole protocols. Nothing is shared between the two, so that what they
//! agree on was found twice.
//!
//! Reading order: [`mod@test`], [`path`], [`candidate`], [`arm`], [`rvwmo`], [`decide`](mod@decide), [`survey`](mod@survey).

pub mod a64;
pub mod arm;
pub mod candidate;
pub mod condition;
pub mod decide;
pub mod event;
mod header;
pub mod initial;
pub mod labels;
pub mod path;
mod program;
pub mod relation;
pub mod riscv;
pub mod rvwmo;
pub mod source;
pub mod survey;
pub mod test;
pub mod thread;
pub mod token;
pub mod value;
pub mod witness;

pub use decide::{Decision, Flag, Verdict, decide};
pub use source::Refusal;
pub use survey::{Outcome, Survey, survey};
pub use test::{Test, parse};
