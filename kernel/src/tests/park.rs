//! `park`: everybody else waits with interrupts off while the bytes are copied, and synchronises before it goes on.

use core::sync::atomic::Ordering;

use kernel::arch::sites::{run_value, value_site};
use kernel::engine::{ROUNDS, patch};
use kernel::{parameters, println, work};
use textpoke_core::{Direction, Kind, Verdict};

use super::{buffer, form, tell};

/// Sites that change together.
pub const SITES: usize = 32;

/// Calls all of them.
pub fn load(_: usize) {
    for i in 0..SITES {
        form::check(|| run_value(i));
    }
}

/// There and back.
pub fn run() {
    let batches = parameters::number("batches", 200);
    let sites = buffer::fill(SITES, value_site);
    form::reset();
    let synced = ROUNDS.load(Ordering::Relaxed);
    work::begin(load);
    for batch in 0..batches {
        let dir = if batch % 2 == 0 { Direction::Install } else { Direction::Remove };
        form::changing();
        // SAFETY: functions of the tests, which bear both forms; no NMI executes them here.
        let verdict = unsafe { patch(sites, Kind::Park, dir) };
        assert_eq!(verdict, Ok(Verdict::Performed(dir)));
        form::changed(dir);
        tell(batch + 1, batches);
    }
    let calls = work::end() * SITES as u64;
    let synced = ROUNDS.load(Ordering::Relaxed) - synced;
    assert_eq!(synced, batches);
    println!("row park: {batches} batches of {SITES} sites, all parked {synced} times, {calls} calls");
}
