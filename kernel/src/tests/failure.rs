//! A batch that fails in the middle is undone, under load.

use kernel::arch::sites::{LIVE, OLD, call_site, run_call, run_value, value_site};
use kernel::engine::{fail_at, patch};
use kernel::{println, work};
use textpoke_core::{Cause, Direction, Kind, Reason, Site, Verdict};

use super::{buffer, form, park};

fn load(_: usize) {
    (0..park::SITES).for_each(|i| form::check(|| run_call(i)));
}

fn undone(sites: &[Site], kind: Kind, cause: Cause) {
    form::changing();
    // SAFETY: functions of the tests, which bear both forms; traps and NMIs are wired.
    let verdict = unsafe { patch(sites, kind, Direction::Install) };
    assert!(matches!(verdict, Ok(Verdict::Undone(Reason { cause: found, .. })) if found == cause), "{verdict:?}");
    form::unchanged();
}

/// Each synchronisation fails once; then somebody else's bytes stand at the last site.
pub fn run() {
    let mut failures = 0;
    for (kind, site, load, run) in [
        (LIVE, call_site as fn(usize) -> Site, load as fn(usize), run_call as fn(usize) -> u64),
        (Kind::NmiAssist, value_site, park::load, run_value),
        (Kind::Park, value_site, park::load, run_value),
    ] {
        form::reset();
        buffer::fill(park::SITES, site);
        let sites = &mut buffer::whole()[..park::SITES];
        work::begin(load);
        let steps = kind.program(Direction::Install);
        let waits =
            steps.iter().filter(|step| matches!(step, textpoke_core::Step::SyncCores | textpoke_core::Step::Park));
        for turn in 1..=waits.count() as u64 {
            fail_at(turn);
            undone(sites, kind, Cause::TimedOut);
            failures += 1;
        }
        fail_at(0);
        let last = &mut sites[park::SITES - 1];
        let there = core::mem::replace(&mut last.old, last.new);
        let differs = there.iter().zip(last.new).position(|(&a, b)| a != b).expect("two forms");
        let wrong = Cause::Mismatch(last.addr + differs as u64);
        undone(sites, kind, wrong);
        failures += 1;
        work::end();
        assert!((0..park::SITES).all(|i| run(i) == OLD));
    }
    println!("row failure: {failures} batches failed and were undone");
}
