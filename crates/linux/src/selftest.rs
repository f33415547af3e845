//! Does it work here? One patch of a function that nobody else calls, with the traps taken on purpose.

use core::hint::black_box;

use textpoke_core::{Cause, Direction, Machine, Step};

use crate::arch::scratch;
pub(crate) use crate::arch::scratch_site as site;
use crate::live::{Hooks, Live};

/// Whether the function returns what it returns after a batch in direction `dir`.
pub(crate) fn acts(dir: Direction) -> bool {
    let expected = if dir == Direction::Install { 2 } else { 1 };
    black_box(scratch as extern "C" fn() -> u32)() == expected
}

/// Calls the function whenever cores have synchronised: first with the trap in front of the old tail, then in front of
/// the new one, then in its new form.
pub(crate) struct Watching<'m, 'a, H> {
    pub inner: &'m mut Live<'a, H>,
    pub dir: Direction,
}

impl<H: Hooks> Machine for Watching<'_, '_, H> {
    fn perform(&mut self, step: Step) -> Result<(), Cause> {
        self.inner.perform(step)?;
        match step {
            Step::Undo(_) => self.dir = self.dir.opposite(),
            Step::SyncCores if !acts(self.dir) => return Err(Cause::Unsupported),
            _ => {}
        }
        Ok(())
    }
}
