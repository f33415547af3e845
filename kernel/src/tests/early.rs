//! Before there are trap vectors and other CPUs.

use kernel::arch::sites::{COUNT, LIVE, NEW, call_site, run_call, run_value, value_site};
use kernel::engine::patch;
use kernel::println;
use textpoke_core::{Direction, Kind, Verdict};

/// Sites that no other test touches.
const LAST: usize = COUNT - 1;

/// Runs before everything else. Nothing can be printed or panic here that makes sense.
pub fn early() {
    for (site, kind) in [(value_site(LAST), Kind::Park), (call_site(LAST), LIVE)] {
        // SAFETY: functions of the tests, which bear both forms; nobody else is there.
        let done = unsafe { patch(&[site], kind, Direction::Install) };
        assert_eq!(done, Ok(Verdict::Performed(Direction::Install)));
    }
}

/// It had its effect.
pub fn run() {
    assert_eq!((run_value(LAST), run_call(LAST)), (NEW, NEW));
    println!("row early: 2 sites changed before there were vectors and other CPUs");
}
