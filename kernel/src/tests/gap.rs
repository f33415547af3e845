//! The patcher itself runs into its traps, at a known moment: whatever its stack's alignment, the CALL that is acted out
//! finds room on it. Nothing can be written and executed meanwhile.

use core::sync::atomic::{AtomicU64, Ordering};

use kernel::arch::paging;
use kernel::arch::sites::{LIVE, NEW, OLD, call_site, run_call, run_call_shifted};
use kernel::engine::{ENGINE, patch, set_between};
use kernel::println;
use textpoke_core::{Direction, Verdict};

static TURNS: AtomicU64 = AtomicU64::new(0);
static WRITABLE: AtomicU64 = AtomicU64::new(0);

fn between() {
    TURNS.fetch_add(1, Ordering::Relaxed);
    let values = (run_call(0), run_call_shifted(0));
    assert!(values == (NEW, NEW) || values == (OLD, OLD), "{values:x?}");
    WRITABLE.fetch_max(paging::check() as u64, Ordering::Relaxed);
}

/// There and back.
pub fn run() {
    let traps = ENGINE.counts().traps;
    assert_eq!(paging::check(), 0, "an alias is open");
    set_between(Some(between));
    for dir in [Direction::Install, Direction::Remove] {
        // SAFETY: a function of the tests, which bears both forms; traps are wired.
        let verdict = unsafe { patch(&[call_site(0)], LIVE, dir) };
        assert_eq!(verdict, Ok(Verdict::Performed(dir)));
    }
    set_between(None);
    assert_eq!(paging::check(), 0, "an alias was left open");
    let (traps, turns) = (ENGINE.counts().traps - traps, TURNS.load(Ordering::Relaxed));
    let writable = WRITABLE.load(Ordering::Relaxed);
    println!(
        "row gap: {traps} traps of the patcher itself in {turns} moments, {writable} page open, none also executable"
    );
}
