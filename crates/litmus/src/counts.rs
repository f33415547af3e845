//! What was counted.

use serde::{Deserialize, Serialize};

/// Counts of one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Calls of the site.
    pub executions: u64,
    /// Batches performed, one way or the other.
    pub flips: u64,
    /// Batches that failed and were undone; no failure of the CPU's.
    pub undone: u64,
    /// Calls that did what the old form does.
    pub old: u64,
    /// Calls that did what the new form does.
    pub new: u64,
    /// Calls that came back and did something else.
    pub wrong: u64,
    /// Calls that did what was gone when the batch had returned.
    pub stale: u64,
    /// Memory faults: SIGSEGV.
    pub segv: u64,
    /// Illegal instructions: SIGILL.
    pub ill: u64,
    /// SIGBUS and SIGFPE.
    pub other: u64,
    /// Control that went astray: traps in memory where nothing but traps is.
    pub stray: u64,
    /// Traps in the site that nobody knew.
    pub lost: u64,
    /// Calls that never came back.
    pub hung: u64,
    /// Times that the child died of it.
    pub died: u64,
}

impl Counts {
    /// Everything that was neither form's effect, stale calls excepted.
    pub const fn failures(&self) -> u64 {
        self.wrong + self.segv + self.ill + self.other + self.stray + self.lost + self.hung + self.died
    }

    /// The sum of two.
    pub fn plus(self, o: Self) -> Self {
        Self {
            executions: self.executions + o.executions,
            flips: self.flips + o.flips,
            undone: self.undone + o.undone,
            old: self.old + o.old,
            new: self.new + o.new,
            wrong: self.wrong + o.wrong,
            stale: self.stale + o.stale,
            segv: self.segv + o.segv,
            ill: self.ill + o.ill,
            other: self.other + o.other,
            stray: self.stray + o.stray,
            lost: self.lost + o.lost,
            hung: self.hung + o.hung,
            died: self.died + o.died,
        }
    }
}
