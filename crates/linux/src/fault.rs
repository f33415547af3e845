//! Faults on purpose, for tests: a machine that fails at a chosen step.

use textpoke_core::{Cause, Machine, Step};

use crate::live::{Hooks, Live};

/// Which step fails, and how much of it is done before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The number of performed steps before the failing one.
    pub step: usize,
    /// How many sites a store reaches before it fails; other steps are performed whole if it is not 0, and then fail.
    pub done: usize,
}

/// What a failing step says.
pub const CAUSE: Cause = Cause::Os(-1);

/// Performs steps like the machine inside, but for the fault.
#[derive(Debug)]
pub struct Failing<'m, 'a, H> {
    /// The machine.
    pub inner: &'m mut Live<'a, H>,
    /// What goes wrong.
    pub fault: Fault,
    /// Steps performed so far.
    pub performed: usize,
}

impl<H: Hooks> Machine for Failing<'_, '_, H> {
    fn perform(&mut self, step: Step) -> Result<(), Cause> {
        self.performed += 1;
        if self.performed - 1 != self.fault.step || matches!(step, Step::Done(_)) {
            return self.inner.perform(step);
        }
        match step {
            Step::Store { phase, unit } => self.inner.store(phase, unit, self.fault.done)?,
            step if self.fault.done > 0 => self.inner.perform(step)?,
            _ => {}
        }
        Err(CAUSE)
    }
}
