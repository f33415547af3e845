//! `breakpoint`, or what changes a site live here, under load: many batches of one site.

use core::sync::atomic::{AtomicUsize, Ordering};

use kernel::arch::sites::{LIVE, LIVE_SYNCS, call_site, run_call};
use kernel::engine::{ENGINE, ROUNDS, patch};
use kernel::{parameters, println, work};
use textpoke_core::{Direction, Site, Verdict};

use super::{form, tell};

/// The site that changes; another one while the form is neither.
static SITE: AtomicUsize = AtomicUsize::new(0);
/// Sites that take turns: across every boundary there is.
const SITES: usize = 64;
/// Calls of one turn of the load.
const CALLS: u64 = 64;

fn load(_: usize) {
    for _ in 0..CALLS {
        form::check(|| run_call(SITE.load(Ordering::SeqCst)));
    }
}

/// The site of a round.
pub fn site(round: usize) -> Site {
    call_site(round / 2 % SITES)
}

/// One round.
pub fn round(round: usize) {
    let dir = if round.is_multiple_of(2) { Direction::Install } else { Direction::Remove };
    form::changing();
    SITE.store(round / 2 % SITES, Ordering::SeqCst);
    // SAFETY: a function of the tests, which bears both forms; traps and NMIs are wired.
    let verdict = unsafe { patch(&[site(round)], LIVE, dir) };
    assert_eq!(verdict, Ok(Verdict::Performed(dir)));
    form::changed(dir);
}

/// Many of them.
pub fn run() {
    let rounds = parameters::number("rounds", 1000);
    let (synced, trapped) = (ROUNDS.load(Ordering::Relaxed), ENGINE.counts().traps);
    form::reset();
    work::begin(load);
    for i in 0..rounds as usize {
        round(i);
        tell(i as u64 + 1, rounds);
    }
    let calls = work::end() * CALLS;
    let synced = ROUNDS.load(Ordering::Relaxed) - synced;
    assert_eq!(synced, LIVE_SYNCS * rounds);
    let trapped = ENGINE.counts().traps - trapped;
    println!("row rounds: {rounds} rounds, {synced} synchronisations, {trapped} traps, {calls} calls");
}
