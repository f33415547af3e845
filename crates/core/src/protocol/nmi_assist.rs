//! `nmi_assist`: `park`, and whoever is interrupted by an NMI writes the same bytes first.
//!
//! Parking does not stop NMIs, and an NMI's handler may run the very code that changes. So the bytes are laid out for it,
//! and it writes all of them before it executes anything: writing what is there already harms nobody, and what is not
//! there yet is complete when the NMI goes on. [`nmi`](crate::nmi) is the NMI's side.
//!
//! The first published form of this set a flag and *then* waited for NMIs to end. In between, one NMI can see the flag
//! and write under the feet of another which came before the flag and is executing the old bytes.
//! `docs/protocols/nmi_assist.md` has that interleaving. Here the flag is set at a moment when no NMI runs, found out and
//! announced in one atomic step, as Linux did it later.
//!
//! Those who are parked synchronise before the announcement is withdrawn. Whoever parks them does so at the end anyway,
//! but an NMI may come in between.
//!
//! An NMI writes the whole batch, so that a batch should be small where an NMI's length matters.
//!
//! Sources: S. Rostedt, "ftrace: nmi safe code modification" (2008, commit 17666f02) and its successors.

use crate::site::Phase;
use crate::step::{Step, Unit};

/// The same both ways.
pub const PROGRAM: &[Step] = &[
    Step::Open,
    Step::Verify { after: false },
    Step::Park,
    Step::Record,
    // Without the moment of rest an NMI executes the old bytes while another writes the new ones.
    Step::Announce { idle: true },
    Step::Store { phase: Phase::Whole, unit: Unit::Byte },
    Step::Maintain,
    // Without it an NMI that comes behind the withdrawal, and so writes and synchronises nothing, executes what its CPU
    // fetched before.
    Step::SyncCores,
    Step::Withdraw,
    // Without it an NMI that saw the announcement reads the record of the next batch.
    Step::AwaitNmis,
    Step::Unpark,
    Step::Verify { after: true },
    Step::Close,
];

/// After a failure. The text may be torn and the way forth still announced, so that whoever comes in completes it. The
/// announcement must not be withdrawn before the text is whole: it is exchanged for that of the way back, at a moment of
/// rest, and [`Step::Record`] uses the buffer that is not announced.
pub const BACK: &[Step] = &[
    Step::Open,
    Step::Park,
    Step::Record,
    Step::Announce { idle: true },
    Step::Store { phase: Phase::Whole, unit: Unit::Byte },
    Step::Maintain,
    Step::SyncCores,
    Step::Withdraw,
    Step::AwaitNmis,
    Step::Unpark,
    Step::Verify { after: true },
    Step::Close,
];
