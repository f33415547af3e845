//! Sites of several instructions, and whatever else is a kind of its own on this instruction set.

use core::sync::atomic::{AtomicUsize, Ordering};

use kernel::arch::sites::cases;
use kernel::engine::{ENGINE, patch};
use kernel::{parameters, println, work};
use textpoke_core::{Direction, Verdict};

use super::form;

/// Which of them it is.
static CASE: AtomicUsize = AtomicUsize::new(0);
/// Calls of one turn of the load.
const CALLS: u64 = 64;

fn load(_: usize) {
    if let Some(case) = cases().nth(CASE.load(Ordering::Relaxed)) {
        (0..CALLS).for_each(|_| form::check(|| case.run()));
    }
}

/// Each there and back, many times.
pub fn run() {
    let batches = parameters::number("batches", 200);
    for (i, case) in cases().enumerate() {
        CASE.store(i, Ordering::Relaxed);
        form::reset();
        let traps = ENGINE.counts().traps;
        work::begin(load);
        let mut batch = 0;
        // Where there are traps, some must have been taken, in both directions or not.
        while batch < batches || batch % 2 == 1 || case.kind.traps() && ENGINE.counts().traps == traps {
            let dir = if batch % 2 == 0 { Direction::Install } else { Direction::Remove };
            form::changing();
            // SAFETY: a function of the tests, which bears both forms; interrupts, traps and NMIs do not execute it.
            let verdict = unsafe { patch(&[case.site], case.kind, dir) };
            assert_eq!(verdict, Ok(Verdict::Performed(dir)));
            form::changed(dir);
            batch += 1;
        }
        let calls = work::end() * CALLS;
        let traps = ENGINE.counts().traps - traps;
        println!("row several: {}: {batch} batches of {}, {traps} traps, {calls} calls", case.what, case.kind.name());
    }
}
