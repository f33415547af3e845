//! Why a key did not change.

use std::fmt;

use textpoke_core::Refusal;
use textpoke_keys::change::Misuse;
use textpoke_linux::process;

/// Why a key did not change. All sites and values are as they were before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// What was asked does not go with the key's count.
    Misuse(Misuse),
    /// A site cannot become what was asked: its address, and the reason.
    Refused(u64, Refusal),
    /// A thread of this number blocks SIGTRAP, and this processor's vendor does not document changes without traps: see
    /// [`assume_word_stores`](super::assume_word_stores).
    TrapBlocked(i32),
    /// `short_jump` was chosen, and this is no branch.
    NoBranch(u64),
    /// The process cannot be patched, or the batch failed and was undone (or, told by the verdict, not).
    Process(process::Error),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misuse(misuse) => misuse.fmt(f),
            Self::Refused(addr, refusal) => write!(f, "site {addr:#x}: {refusal}"),
            Self::TrapBlocked(tid) => write!(
                f,
                "thread {tid} blocks SIGTRAP, and on this processor keys are changed by traps: unblock it there, or see \
                 textpoke::keys::assume_word_stores"
            ),
            Self::NoBranch(addr) => write!(f, "site {addr:#x}: `short_jump` changes branches only"),
            Self::Process(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for KeyError {}

impl From<Misuse> for KeyError {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl From<process::Error> for KeyError {
    fn from(error: process::Error) -> Self {
        match error {
            process::Error::TrapBlocked(tid) => Self::TrapBlocked(tid),
            other => Self::Process(other),
        }
    }
}
