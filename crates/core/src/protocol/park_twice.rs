//! `park_twice`: several instructions into several others where no first instruction may change live.
//!
//! Park everybody and trap the heads; let them run, until each thread has been seen outside; park everybody again and
//! copy the rest. In one parking it cannot be done: a thread that is parked between two instructions never leaves.
//!
//! Sources: M. Rutland (2024-03-12): where the first instruction needs stop_machine "you may need to use that several
//! times with intervening calls to synchronize_rcu_tasks()".

use crate::site::Phase;
use crate::step::{Step, Unit};

/// The same both ways.
pub const PROGRAM: &[Step] = &[
    Step::Open,
    Step::Verify { after: false },
    Step::Publish,
    Step::Park,
    Step::Store { phase: Phase::TrapHead, unit: Unit::Byte },
    Step::Maintain,
    Step::Unpark,
    // Without it a thread that executed the first as it was executes the second as it will be.
    Step::AwaitNoneInside,
    Step::Park,
    Step::Store { phase: Phase::Whole, unit: Unit::Byte },
    Step::Maintain,
    Step::Unpark,
    Step::Verify { after: true },
    Step::Close,
    Step::Retire,
];

/// Back when a step up to the wait failed: only heads have changed, so that whoever is inside may stay there.
pub const RETREAT: &[Step] = &[
    Step::Open,
    Step::Publish,
    Step::Park,
    Step::Store { phase: Phase::Whole, unit: Unit::Byte },
    Step::Maintain,
    Step::Unpark,
    Step::Verify { after: true },
    Step::Close,
    Step::Retire,
];
