//! `park`: everybody else stops executing program code while the bytes are copied.
//!
//! One CPU writes; every other waits with interrupts off, or stopped by a debugger's means, and passes a context
//! synchronising point before it goes on. That covers what no live change covers: any one instruction into any other, on
//! every instruction set. It does *not* cover several instructions. A thread may be parked between two of them, and goes
//! on into a form whose beginning it never executed; and waiting for it to leave while it is parked is a deadlock.
//! [`park_twice`](super::park_twice) is for those.
//!
//! Whoever is not stopped by parking, such as an NMI, may execute the bytes while they change:
//! [`nmi_assist`](super::nmi_assist). A patcher that is killed leaves the text torn and everybody released.
//!
//! Sources: W. Deacon's review of J. Liu's arm64 interfaces (2013-10-17), Linux `aarch64_insn_patch_text_cb`.

use crate::site::Phase;
use crate::step::{Step, Unit};

/// The same both ways.
pub const PROGRAM: &[Step] = &[
    Step::Open,
    Step::Verify { after: false },
    Step::Park,
    Step::Store { phase: Phase::Whole, unit: Unit::Byte },
    // Without it a CPU may still find the old bytes in its instruction cache.
    Step::Maintain,
    // With it every CPU forgets what it fetched before.
    Step::Unpark,
    Step::Verify { after: true },
    Step::Close,
];
