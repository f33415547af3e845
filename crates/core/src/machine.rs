//! Who performs the steps.

use crate::protocol::Run;
use crate::step::{Cause, Outcome, Step, Verdict};

/// Performs steps on real text. `docs/contract.md` says what must be true after each.
pub trait Machine {
    /// Performs one step. On an error, whatever was already done stands; the protocol knows the way back.
    fn perform(&mut self, step: Step) -> Result<(), Cause>;
}

/// Runs a protocol to its end on a machine.
pub fn drive<M: Machine>(mut run: Run<'_>, machine: &mut M) -> Verdict {
    let mut last = Outcome::Start;
    loop {
        let step = run.next(last);
        let performed = machine.perform(step);
        if let Step::Done(verdict) = step {
            return verdict;
        }
        last = match performed {
            Ok(()) => Outcome::Ok,
            Err(cause) => Outcome::Failed(cause),
        };
    }
}
