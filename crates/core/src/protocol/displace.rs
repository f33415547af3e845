//! `displace`: several old instructions vanish under one new jump.
//!
//! On top of what [`breakpoint`] needs, a thread may have been preempted *between* the old
//! instructions and must not resume inside the jump. So every old instruction is trapped, not only the head: a thread
//! that is late traps and goes on in the relocated copy of what it had still to do. Synchronising CPUs does not help a
//! thread that is off the CPU; only when no thread's PC, running, preempted or saved in a signal frame, is behind the
//! head may the inner traps vanish under the jump's displacement. A thread whose trap has no answer yet stands at the trap
//! instruction, whatever its PC says.
//!
//! On the way back nobody can stand behind the head, because only the jump's tail is there: the steps are those of
//! `breakpoint`, and the head's trap sends threads to the copy.
//!
//! Sources: Linux `arch/x86/kernel/kprobes/opt.c` and `synchronize_rcu_tasks`; the discussion around M. Rutland's mail of
//! 2024-03-12 on two-word sites.

use super::breakpoint;
use crate::site::Phase;
use crate::step::{Step, Unit};

/// Old instructions to jump.
pub const INSTALL: &[Step] = &[
    Step::Open,
    Step::Verify { after: false },
    Step::Publish,
    Step::Store { phase: Phase::Trap, unit: Unit::Byte },
    Step::Maintain,
    Step::SyncCores,
    Step::AwaitNoneInside,
    Step::Store { phase: Phase::Tail, unit: Unit::Byte },
    Step::Maintain,
    Step::SyncCores,
    Step::Store { phase: Phase::Head, unit: Unit::Byte },
    Step::Maintain,
    Step::SyncCores,
    Step::Verify { after: true },
    Step::Close,
    Step::Retire,
];

/// Jump to old instructions.
pub const REMOVE: &[Step] = breakpoint::PROGRAM;

/// Back to the jump after a removal that failed.
///
/// Some heads may still be the jump that threads execute, so that nothing behind a head may change before every head is
/// trapped and every CPU has synchronised: inner traps at once with the heads, as in [`INSTALL`], would tear the jump.
/// Other heads may be old code already, so that threads may stand between the old instructions: they walk out of it.
pub const REINSTALL: &[Step] = &[
    Step::Open,
    Step::Publish,
    Step::Store { phase: Phase::TrapHead, unit: Unit::Byte },
    Step::Maintain,
    Step::SyncCores,
    Step::AwaitNoneInside,
    Step::Store { phase: Phase::Tail, unit: Unit::Byte },
    Step::Maintain,
    Step::SyncCores,
    Step::Store { phase: Phase::Head, unit: Unit::Byte },
    Step::Maintain,
    Step::SyncCores,
    Step::Verify { after: true },
    Step::Close,
    Step::Retire,
];
