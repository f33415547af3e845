//! CPUs come online while text changes.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kernel::arch::sites::{LIVE, NEW, OLD, run_value, value_site};
use kernel::engine::{MEETING, patch};
use kernel::{parameters, println, work};
use textpoke_core::{Direction, Kind, Verdict};

use super::{buffer, park, rounds};

static STARTED: AtomicBool = AtomicBool::new(false);

/// One CPU starts the others, and all look at parked changes as well.
fn load(cpu: usize) {
    if cpu == 1 && !STARTED.swap(true, Ordering::SeqCst) {
        (2..parameters::number("cpus", 1) as usize).for_each(kernel::start_cpu);
    }
    for i in 0..park::SITES {
        let value = run_value(i);
        assert!(value == OLD || value == NEW, "{value:#x}: torn");
    }
}

/// The first two CPUs are there; one starts the others while the other patches.
pub fn run() {
    let cpus = parameters::number("cpus", 1) as usize;
    if cpus < 3 {
        println!("row online: needs three CPUs");
        return;
    }
    let sites = buffer::fill(park::SITES, value_site);
    static BATCHES: AtomicU64 = AtomicU64::new(0);
    work::begin_soon(load);
    let mut round = 0;
    while !(2..cpus).all(|cpu| MEETING.is_online(cpu)) || round % 2 == 1 {
        let dir = if round % 2 == 0 { Direction::Install } else { Direction::Remove };
        for (kind, sites) in [(Kind::Park, sites), (LIVE, &[rounds::site(round)][..])] {
            // SAFETY: functions of the tests, which bear both forms; traps and NMIs are wired.
            let verdict = unsafe { patch(sites, kind, dir) };
            assert_eq!(verdict, Ok(Verdict::Performed(dir)));
            BATCHES.fetch_add(1, Ordering::Relaxed);
        }
        round += 1;
    }
    work::end();
    println!("row online: {} CPUs came online during {} batches", cpus - 2, BATCHES.load(Ordering::Relaxed));
}
