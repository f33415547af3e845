//! Batches of 1, 256 and 10,000 sites: each costs as many synchronisations as one of 1.

use core::sync::atomic::{AtomicUsize, Ordering};

use kernel::arch::sites::{COUNT, LIVE, LIVE_SYNCS, call_site, run_call};
use kernel::engine::{ENGINE, ROUNDS, patch};
use kernel::{println, work};
use textpoke_core::{Direction, Site, Verdict};

use super::{buffer, form};

/// How many of the functions change.
static MANY: AtomicUsize = AtomicUsize::new(1);
/// Calls of one turn of the load.
const CALLS: usize = 64;
const BATCHES: u64 = 4;

fn load(cpu: usize) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let many = MANY.load(Ordering::SeqCst);
    let start = NEXT.fetch_add(CALLS * 7 + cpu, Ordering::Relaxed);
    for i in 0..CALLS {
        form::check(|| run_call((start + i * 13) % many));
    }
}

/// Each size there and back, more than once.
pub fn run() {
    for many in [1, 256, COUNT - 1] {
        MANY.store(many, Ordering::SeqCst);
        form::reset();
        let sites: &[Site] = buffer::fill(many, call_site);
        let (synced, trapped) = (ROUNDS.load(Ordering::Relaxed), ENGINE.counts().traps);
        work::begin(load);
        for _ in 0..BATCHES / 2 {
            for dir in [Direction::Install, Direction::Remove] {
                form::changing();
                // SAFETY: functions of the tests, which bear both forms; traps and NMIs are wired.
                let verdict = unsafe { patch(sites, LIVE, dir) };
                assert_eq!(verdict, Ok(Verdict::Performed(dir)));
                form::changed(dir);
            }
        }
        let calls = work::end() * CALLS as u64;
        let synced = ROUNDS.load(Ordering::Relaxed) - synced;
        assert_eq!(synced, LIVE_SYNCS * BATCHES);
        let trapped = ENGINE.counts().traps - trapped;
        println!(
            "row batches: {many} sites, {BATCHES} batches, {synced} synchronisations, {trapped} traps, {calls} calls"
        );
    }
}
