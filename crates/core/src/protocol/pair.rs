//! `pair`: two instructions become two others, trap first.
//!
//! The first becomes a trap; once every CPU has synchronised nobody new gets between the two, and once every thread has
//! been seen outside nobody is there: only then may the second change, and after it the first. A CPU that is made to
//! synchronise between the two instructions has executed the first as what it was, and no barrier undoes that; so the wait
//! is for threads, running or not, and cannot be done while they are parked.
//!
//! The trap must be a live change of both first instructions, which on RISC-V it always is and on AArch64 only for some
//! ([`Isa::live`](crate::isa::Isa::live)); [`park_twice`](super::park_twice) is for the others.
//!
//! Sources: M. Rutland and S. Rostedt on two-word sites (2024-03-12); Linux `synchronize_rcu_tasks`.

use crate::site::Phase;
use crate::step::{Step, Unit};

/// The same both ways.
pub const PROGRAM: &[Step] = &[
    Step::Open,
    Step::Verify { after: false },
    Step::Publish,
    Step::Store { phase: Phase::TrapHead, unit: Unit::Byte },
    Step::Maintain,
    // Without it a thread may still execute the old head and get inside.
    Step::SyncCores,
    // Without it a thread that executed the first as it was executes the second as it will be.
    Step::AwaitNoneInside,
    Step::Store { phase: Phase::Tail, unit: Unit::Byte },
    Step::Maintain,
    // Without it a CPU may pair the new head with the old tail.
    Step::SyncCores,
    Step::Store { phase: Phase::Head, unit: Unit::Byte },
    Step::Maintain,
    // Without it a CPU may fetch the trap after its table is gone.
    Step::SyncCores,
    Step::Verify { after: true },
    Step::Close,
    Step::Retire,
];

/// Back when a step up to the wait failed: no tail has changed, so that whoever is inside may stay there.
pub const RETREAT: &[Step] = &[
    Step::Open,
    Step::Publish,
    Step::Store { phase: Phase::Head, unit: Unit::Byte },
    Step::Maintain,
    Step::SyncCores,
    Step::Verify { after: true },
    Step::Close,
    Step::Retire,
];
