//! Does it work here? One patch of a function that nobody else calls, with the traps taken on purpose.

use core::arch::naked_asm;
use core::hint::black_box;

use textpoke_core::{Cause, Direction, Machine, Site, Step};

use crate::live::{Hooks, Live};

const OLD: [u8; 5] = [0xb8, 1, 0, 0, 0];
const NEW: [u8; 5] = [0xb8, 2, 0, 0, 0];

/// Returns 1: `mov eax, 1`, and its second form returns 2.
#[unsafe(naked)]
extern "C" fn scratch() -> u32 {
    naked_asm!(".byte 0xb8, 1, 0, 0, 0", "ret")
}

/// The site of the test.
pub(crate) fn site() -> Option<Site> {
    Site::single(scratch as *const () as u64, &OLD, &NEW)
}

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
