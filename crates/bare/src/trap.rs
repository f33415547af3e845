//! Where a kernel's trap vector calls in.

use textpoke_core::isa::Isa;
use textpoke_core::trap::{Effect, Regs, Resolution, resolve};

use crate::table::Published;
use crate::write::trap_stands;

/// The registers of the code that trapped, as the kernel's entry code saved them and will restore them.
pub trait Frame {
    /// The instruction set.
    type Isa: Isa;

    /// The address of the trap instruction, as far as the CPU says: the saved program counter, less
    /// [`Isa::TRAP_PC_ADVANCE`]. `None` if it was another kind of trap.
    fn trapped_at(&self) -> Option<u64>;

    /// What [`resolve`] reads.
    fn regs(&self) -> Regs;

    /// Makes the change, for when the code goes on.
    ///
    /// # Safety
    /// For [`Effect::Call`] and [`Effect::Return`] the code was about to execute a CALL or RET, so that its stack may be
    /// written or read there; the frame itself is not there.
    unsafe fn apply(&mut self, effect: Effect);
}

/// Handles the trap if it is one of ours; returns whether it was. Takes no lock, allocates nothing, waits for nobody.
///
/// The order is that of the contract: trap byte, then table. A trap that is not there any more is executed again: the CPU
/// had fetched it, and the batch was over before it got here.
///
/// # Safety
/// 1. `frame` is that of the code which trapped, and will be restored.
/// 2. The sites published were made by somebody who knows what their new instructions mean.
pub(crate) unsafe fn on_trap<F: Frame, const CPUS: usize>(
    published: &Published<CPUS>,
    cpu: usize,
    frame: &mut F,
) -> bool {
    let Some(at) = frame.trapped_at() else { return false };
    loop {
        let generation = published.generation();
        // SAFETY: the CPU has just executed it.
        let still_there = unsafe { trap_stands::<F::Isa>(at) };
        let resolution = {
            let view = published.enter(cpu);
            resolve::<F::Isa>(view.as_ref().map(|view| view.table()), at, &frame.regs(), still_there)
        };
        match resolution {
            Resolution::Do(effect) => {
                published.count(cpu);
                // SAFETY: condition 1; the code stands at an instruction that is, or just was, the one that `effect` is
                // made of.
                unsafe { frame.apply(effect) };
                return true;
            }
            // The batch ended between the two looks, and its traps have gone with it.
            Resolution::NotOurs if still_there && published.generation() != generation => {}
            Resolution::NotOurs => return false,
        }
    }
}
