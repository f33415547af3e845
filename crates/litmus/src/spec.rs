//! What is asked for: of a run, and of one child.

use std::ffi::OsString;
use std::fmt;

use serde::{Deserialize, Serialize};
use textpoke_model::Profile;

use crate::place::Place;
use crate::variant::VARIANTS;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names of variants; all if there are none.
    pub names: Vec<String>,
    /// Where to put sites: [`Place::INTERESTING`], [`Place::all`], or others.
    pub places: Vec<Place>,
    /// How long each cell may take.
    pub budget: Total,
    /// By whose book to judge; the CPU's vendor's if not given.
    pub profile: Option<Profile>,
    /// How to start a child: a program and its arguments. The cell's description is put behind them, and the program
    /// must hand it to [`child::main`](crate::child::main) and exit with what that returns.
    pub child: Vec<OsString>,
}

/// What all cells together may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    /// So many nanoseconds, shared evenly.
    Time(u64),
    /// Each cell until something went wrong, or so many executions *and* flips were made: independent of how fast and how
    /// busy the machine is.
    UntilSeen {
        /// Executions.
        executions: u64,
        /// Flips.
        flips: u64,
    },
}

/// What one child may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Budget {
    /// So many nanoseconds.
    Time(u64),
    /// Until something went wrong, or so many executions and flips were made.
    UntilSeen {
        /// Executions.
        executions: u64,
        /// Flips.
        flips: u64,
    },
}

/// One child's orders.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// Name of the variant; empty only asks whether children can work here.
    pub variant: String,
    /// Where the site lies.
    pub place: Place,
    /// For the scenario.
    pub book: Book,
    /// The CPUs of the patcher and of the executor, if threads are to be bound.
    pub cpus: Option<[usize; 2]>,
    /// When to end.
    pub budget: Budget,
    /// Process id of the parent, without which a child has no reason to live.
    pub parent: u32,
}

/// [`Profile`] in a form that can be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Book {
    /// AMD's book.
    Amd,
    /// Intel's book.
    Intel,
}

impl From<Profile> for Book {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Amd => Self::Amd,
            _ => Self::Intel,
        }
    }
}

impl From<Book> for Profile {
    fn from(profile: Book) -> Self {
        match profile {
            Book::Amd => Self::Amd,
            Book::Intel => Self::Intel,
        }
    }
}

/// Why nothing was run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Another instruction set or operating system.
    Elsewhere,
    /// No variant has this name.
    Unknown(String),
    /// None of the variants asked for fits any of the places.
    Nothing,
    /// This machine or its administrator does not allow it: what, and why.
    Refused(String),
    /// The control saw nothing: whatever else was seen or not means nothing.
    Blind(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere => f.write_str("litmus runs on x86-64 Linux only; `textpoke check` runs everywhere"),
            Self::Unknown(name) => {
                let names: Vec<_> = VARIANTS.iter().map(|v| v.name).collect();
                write!(f, "there is no variant \"{name}\"; there are: {}", names.join(", "))
            }
            Self::Nothing => f.write_str("nothing to run: none of the variants fits any of the offsets"),
            Self::Refused(why) => write!(f, "litmus cannot run here: {why}"),
            Self::Blind(why) => write!(f, "the control did not fail, so that no other result means anything: {why}"),
        }
    }
}

impl std::error::Error for Error {}
