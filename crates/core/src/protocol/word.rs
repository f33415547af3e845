//! `word`: the whole site changes in one naturally aligned store.
//!
//! The site must lie inside one aligned 8-byte word and be one instruction before and after. AMD documents what a fetch
//! may then see (APM vol. 2 §7.6.1: the old or the new instruction); Intel documents nothing, so that choosing it there
//! is the caller's explicit assumption. No trap is taken, hence nothing to retire; the last synchronisation makes the
//! new code the only code once the call has returned.

use crate::site::Phase;
use crate::step::{Step, Unit};

/// The same both ways.
pub const PROGRAM: &[Step] = &[
    Step::Open,
    Step::Verify { after: false },
    Step::Store { phase: Phase::Whole, unit: Unit::Eight },
    Step::Maintain,
    Step::SyncCores,
    Step::Verify { after: true },
    Step::Close,
];
