//! What NMIs there are, and what they do before their work.

use serde::Serialize;

/// Non-maskable interrupts of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nmi {
    /// How many each CPU takes at most, 1 to 3.
    pub each: u8,
    /// Whether the patcher's CPU takes them.
    pub own: bool,
    /// Whether the others do.
    pub others: bool,
    /// What they do first.
    pub entry: Entry,
    /// Whether it reads the record behind the announcement, as acquiring it makes it; else the record may be read first.
    pub acquires: bool,
    /// What becomes of an NMI that comes while another runs on its CPU.
    pub nests: Nesting,
}

/// What becomes of an NMI that comes while another runs on its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nesting {
    /// It is the end, if a trap in the first returned, which lets others in (x86-64's IRET).
    Kills,
    /// It is remembered and comes when the first is over: nothing that needs a state of its own.
    Waits,
    /// It interrupts the first, which goes on behind it; two deep.
    Runs,
}

/// What an NMI does before its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// Nothing.
    Plain,
    /// It counts itself, so that it can be waited for.
    Counts,
    /// It counts itself, then reads the flag, and writes if the flag is set: the form first published.
    AsWritten,
    /// It counts itself and reads the flag in one atomic step, and writes if it was set: the form that Linux had later.
    Atomic,
    /// [`textpoke_core::nmi::Visit`]: the same, and then it maintains caches and synchronises.
    Visit,
}

impl Entry {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Plain, Self::Counts, Self::AsWritten, Self::Atomic, Self::Visit];

    /// Whether an NMI writes what is announced.
    pub const fn helps(self) -> bool {
        matches!(self, Self::AsWritten | Self::Atomic | Self::Visit)
    }

    /// The name in protocol files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Counts => "counts",
            Self::AsWritten => "as-written",
            Self::Atomic => "atomic",
            Self::Visit => "visit",
        }
    }
}

impl Nmi {
    /// As the live protocol has it: one on every CPU, the patcher's included.
    pub const fn new(entry: Entry) -> Self {
        Self { each: 1, own: true, others: true, entry, acquires: true, nests: Nesting::Waits }
    }
}
