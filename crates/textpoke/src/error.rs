//! What can go wrong.

use std::fmt;

use textpoke_core::{PlanError, Refusal};
use textpoke_linux::process;

/// Why something was not patched. Unless it says otherwise, every byte of text is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A site cannot be patched that way: its address, and the reason.
    Refused(u64, Refusal),
    /// The sites of a batch do not go together.
    Plan(PlanError),
    /// The process cannot be patched, or the patch failed and was undone (or, told by the verdict, not).
    Process(process::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(addr, refusal) => write!(f, "site {addr:#x}: {refusal}"),
            Self::Plan(error) => error.fmt(f),
            Self::Process(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<PlanError> for Error {
    fn from(error: PlanError) -> Self {
        Self::Plan(error)
    }
}

impl From<process::Error> for Error {
    fn from(error: process::Error) -> Self {
        match error {
            process::Error::Plan(error) => Self::Plan(error),
            other => Self::Process(other),
        }
    }
}
