//! `breakpoint`: one old instruction becomes one new instruction, trap first.
//!
//! A CPU may fetch an instruction in pieces, and the vendors promise nothing about pieces of different age, except that
//! one byte has none. So the head becomes a trap; once every CPU has passed a synchronising point, nobody can be
//! executing the old instruction and its tail may change in any way; once every CPU has synchronised again, nobody can
//! hold the old tail when the new head appears. Threads that meet the trap act as the new instruction.
//!
//! Sources: S. Rostedt's description of x86 text patching (2024), Linux `arch/x86/kernel/alternative.c`, Intel SDM vol. 3
//! "Handling Self- and Cross-Modifying Code", AMD APM vol. 2 §7.6.1.

use crate::site::Phase;
use crate::step::{Step, Unit};

/// The same both ways: old and new are one instruction each.
pub const PROGRAM: &[Step] = &[
    Step::Open,
    Step::Verify { after: false },
    Step::Publish,
    Step::Store { phase: Phase::Trap, unit: Unit::Byte },
    Step::Maintain,
    // Without it a CPU may pair the old head with the new tail.
    Step::SyncCores,
    Step::Store { phase: Phase::Tail, unit: Unit::Byte },
    Step::Maintain,
    // Without it a CPU may pair the new head with the old tail.
    Step::SyncCores,
    Step::Store { phase: Phase::Head, unit: Unit::Byte },
    Step::Maintain,
    // Without it a CPU may fetch the trap after its table is gone, or run old code after the call returned.
    Step::SyncCores,
    Step::Verify { after: true },
    Step::Close,
    Step::Retire,
];
