//! `prepared_pair`: the first instruction is planted once, harmless by itself; only the second toggles.
//!
//! AArch64: `MOV X9, X30`, then NOP or BL. RISC-V: AUIPC into a temporary register, then NOP or JALR. The first does no
//! harm where the second is a NOP, so it stays, and what changes live is one instruction that the architecture lets
//! change live. A thread between the two has executed the first, whichever form the second has.
//!
//! That is true only if it was planted before: while a thread may be between two NOPs, planting the first is not enough.
//! [`PLANT`] parks everybody for the store, because MOV may not change live, and then waits until each thread has been
//! seen outside. A compiler or a loader that plants it before the code runs needs none of it.
//!
//! Sources: M. Rutland on "arm64: implement ftrace with regs" (2019-01-07); Linux `-fpatchable-function-entry=2`; Arm ARM
//! DDI 0487 B2.2.5; RISC-V `Ziccif`.

use crate::site::Phase;
use crate::step::{Step, Unit};

/// Toggles the second instruction. The same both ways.
pub const TOGGLE: &[Step] = &[
    Step::Open,
    Step::Verify { after: false },
    Step::Store { phase: Phase::Tail, unit: Unit::Word },
    Step::Maintain,
    // Without it a CPU may still execute the old second instruction after the call returned.
    Step::SyncCores,
    Step::Verify { after: true },
    Step::Close,
];

/// Plants the first instruction over one that does nothing.
pub const PLANT: &[Step] = &[
    Step::Open,
    Step::Verify { after: false },
    Step::Park,
    Step::Store { phase: Phase::Head, unit: Unit::Word },
    Step::Maintain,
    Step::Unpark,
    // Without it a thread that executed the NOP may meet a second instruction that counts on the first.
    Step::AwaitNoneInside,
    Step::Verify { after: true },
    Step::Close,
];

/// Takes the first instruction away again, where the second does nothing: nobody can miss it.
pub const UNPLANT: &[Step] = &[
    Step::Open,
    Step::Verify { after: false },
    Step::Park,
    Step::Store { phase: Phase::Head, unit: Unit::Word },
    Step::Maintain,
    Step::Unpark,
    Step::Verify { after: true },
    Step::Close,
];
