//! A site of several instructions, which waits until nobody is inside.

use kernel::arch::sites::{run_several, several_site_of};
use kernel::engine::{ENGINE, patch};
use kernel::{parameters, println, work};
use textpoke_core::{Direction, Verdict};

use super::form;

fn load(_: usize) {
    (0..64).for_each(|_| form::check(run_several));
}

/// There and back, where this instruction set has a protocol for it.
pub fn run() {
    let Some((site, kind)) = several_site_of() else {
        println!("row several: no such site here");
        return;
    };
    let batches = parameters::number("batches", 200);
    form::reset();
    let traps = ENGINE.counts().traps;
    work::begin(load);
    for batch in 0..batches {
        let dir = if batch % 2 == 0 { Direction::Install } else { Direction::Remove };
        form::changing();
        // SAFETY: a function of the tests, which bears both forms; interrupts, traps and NMIs do not execute it.
        let verdict = unsafe { patch(&[site], kind, dir) };
        assert_eq!(verdict, Ok(Verdict::Performed(dir)));
        form::changed(dir);
    }
    let calls = work::end() * 64;
    let traps = ENGINE.counts().traps - traps;
    println!("row several: {batches} batches of {}, {traps} traps, {calls} calls", kind.name());
}
