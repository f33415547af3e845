//! `breakpoint`, or what changes a site live here, under load.

use core::sync::atomic::{AtomicUsize, Ordering};

use kernel::arch::sites::{LIVE, LIVE_SYNCS, call_site, run_call};
use kernel::engine::{ENGINE, ROUNDS};
use kernel::{parameters, println, work};
use textpoke_core::{Direction, Plan, Verdict};

use super::form;

/// The site that changes; another one while the form is neither.
static SITE: AtomicUsize = AtomicUsize::new(0);
/// Sites that take turns: across every boundary there is.
const SITES: usize = 64;

fn load(_: usize) {
    for _ in 0..64 {
        form::check(|| run_call(SITE.load(Ordering::SeqCst)));
    }
}

/// Many rounds of one site each.
pub fn run() {
    let rounds = parameters::number("rounds", 1000);
    form::reset();
    let (synced, trapped) = (ROUNDS.load(Ordering::Relaxed), ENGINE.counts().traps);
    work::begin(load);
    for round in 0..rounds as usize {
        let dir = if round % 2 == 0 { Direction::Install } else { Direction::Remove };
        form::changing();
        SITE.store(round / 2 % SITES, Ordering::SeqCst);
        let sites = [call_site(round / 2 % SITES)];
        let plan = Plan::new(&sites).and_then(|plan| plan.suits(LIVE)).expect("a plan");
        // SAFETY: functions of this test, which bear both forms; traps and NMIs are wired.
        let verdict = unsafe { ENGINE.patch(plan, dir) };
        assert_eq!(verdict, Ok(Verdict::Performed(dir)));
        form::changed(dir);
    }
    let calls = work::end() * 64;
    let synced = ROUNDS.load(Ordering::Relaxed) - synced;
    assert_eq!(synced, LIVE_SYNCS * rounds);
    let trapped = ENGINE.counts().traps - trapped;
    println!("row rounds: {rounds} rounds, {synced} synchronisations, {trapped} traps, {calls} calls meanwhile");
}
