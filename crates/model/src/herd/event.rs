//! What an execution consists of.

use super::value::{Location, Value};

/// A set of events of one path, one bit each.
pub type Set = u64;

/// What a barrier is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barrier {
    /// Everything.
    Full,
    /// Loads before it.
    Loads,
    /// Stores before it and after it.
    Stores,
}

/// How a load is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Acquire {
    /// Plain.
    No,
    /// LDAR.
    Full,
    /// LDAPR.
    Weak,
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The instruction's word is read in order to be executed.
    Fetch,
    /// A load.
    Read(Acquire),
    /// A store; `true` for STLR.
    Write(bool),
    /// DMB.
    Dmb(Barrier),
    /// DSB.
    Dsb(Barrier),
    /// A context synchronisation event: ISB, and exception entry and return where they are one.
    Context,
    /// DC CVAU or DC CIVAC.
    Dc,
    /// IC IVAU, or without a location IC IALLU and IC IALLUIS.
    Ic,
    /// FENCE: predecessors and successors, 2 for reads and 1 for writes.
    Fence(u8, u8),
    /// FENCE.TSO.
    FenceTso,
    /// FENCE.I.
    FenceI,
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// What it is.
    pub kind: Kind,
    /// Where.
    pub at: Option<Location>,
    /// What is read or written.
    pub value: Value,
    /// A store of 4 bytes.
    pub narrow: bool,
    /// The instruction of the path that it belongs to.
    pub step: usize,
    /// Loads that its address comes from.
    pub addr: Set,
    /// Loads that the stored value comes from.
    pub data: Set,
    /// Loads that a branch before it was decided by.
    pub ctrl: Set,
    /// Loads that only decided which register a conditional select took, for the same three.
    pub pick: [Set; 3],
}
