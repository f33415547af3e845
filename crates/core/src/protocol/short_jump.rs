//! `short_jump`: no trap; a two-byte jump over the tail keeps everybody off the bytes that change.
//!
//! The first two bytes of the site become a jump to its end, in one aligned store; once every CPU has passed a
//! synchronising point, nobody can be executing the old instruction and its tail may change in any way; once every CPU has
//! synchronised again, the two bytes become the new head. In between a thread does neither the old nor the new thing but
//! passes by, so that this is for instructions whose work may be left out for a moment: a switch, a probe.
//!
//! It needs a head on an even address and old and new of one instruction each, 3 bytes or more (see
//! [`Plan::hoppable`](crate::Plan::hoppable)). It rests on two bytes being fetched at once, which follows from AMD APM
//! vol. 2 §7.6.1; Intel documents nothing, so that choosing it there is the caller's explicit assumption.
//!
//! Sources: R. McGrath's proposal and M. Desnoyers' answer of 2009-10-06 on Linux jump labels.

use crate::site::Phase;
use crate::step::{Step, Unit};

/// The same both ways.
pub const PROGRAM: &[Step] = &[
    Step::Open,
    Step::Verify { after: false },
    Step::Store { phase: Phase::Hop, unit: Unit::Half },
    Step::Maintain,
    // Without it a CPU may pair the old head with the new tail.
    Step::SyncCores,
    Step::Store { phase: Phase::HopTail, unit: Unit::Byte },
    Step::Maintain,
    // Without it a CPU may pair the new head with the old tail.
    Step::SyncCores,
    Step::Store { phase: Phase::HopHead, unit: Unit::Half },
    Step::Maintain,
    // Without it a CPU may still pass by after the call returned.
    Step::SyncCores,
    Step::Verify { after: true },
    Step::Close,
];
