//! `nmi_assist` under a storm of NMIs on all CPUs, the patcher's own included, all of which execute the sites. Then
//! `breakpoint` under the same storm: NMIs run into traps.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use kernel::arch::sites::{LIVE, call_site, run_call, run_value, value_site};
use kernel::engine::{self, ENGINE, patch};
use kernel::{CPUS, parameters, println, work};
use textpoke_core::{Direction, Kind, Site, Verdict};

use super::{buffer, form, park, tell};

/// What NMIs call.
static CALLED: AtomicUsize = AtomicUsize::new(0);
/// Calls that NMIs made, on each CPU.
static CALLS: [AtomicU64; CPUS] = [const { AtomicU64::new(0) }; CPUS];

fn in_nmi(cpu: usize) {
    let called = CALLED.load(Ordering::Relaxed);
    for i in 0..park::SITES {
        form::check(|| if called == 0 { run_value(i) } else { run_call(i) });
    }
    CALLS[cpu].fetch_add(park::SITES as u64, Ordering::Relaxed);
}

fn load_calls(_: usize) {
    (0..park::SITES).for_each(|i| form::check(|| run_call(i)));
}

fn storm(kind: Kind, site: fn(usize) -> Site, load: fn(usize), batches: u64) {
    let sites = buffer::fill(park::SITES, site);
    form::reset();
    CALLS.iter().for_each(|calls| calls.store(0, Ordering::Relaxed));
    let (before, came, nested) = (ENGINE.counts(), engine::nmis(), engine::nested_nmis());
    work::begin(load);
    engine::set_nmi_handler(Some(in_nmi));
    engine::begin_storm(CPUS);
    for batch in 0..batches {
        let dir = if batch % 2 == 0 { Direction::Install } else { Direction::Remove };
        form::changing();
        // SAFETY: functions of the tests, which bear both forms; traps and NMIs are wired.
        let verdict = unsafe { patch(sites, kind, dir) };
        assert_eq!(verdict, Ok(Verdict::Performed(dir)));
        form::changed(dir);
        tell(batch + 1, batches);
    }
    engine::end_storm();
    engine::set_nmi_handler(None);
    work::end();
    let (counts, came) = (ENGINE.counts(), engine::nmis() - came);
    let calls: u64 = CALLS.iter().map(|calls| calls.load(Ordering::Relaxed)).sum();
    for cpu in core::iter::once(0).chain(work::others()) {
        assert!(CALLS[cpu].load(Ordering::Relaxed) > 0, "no NMI on CPU {cpu}");
    }
    println!(
        "row nmi: {} {batches} batches of {} sites, {came} NMIs ({} in others) made {calls} calls, {} wrote, {} waits, {} \
         traps",
        kind.name(),
        park::SITES,
        engine::nested_nmis() - nested,
        counts.nmi_writes - before.nmi_writes,
        counts.nmi_waits - before.nmi_waits,
        counts.traps - before.traps,
    );
}

/// Both, and NMIs from outside if somebody sends them.
pub fn run() {
    let batches = parameters::number("batches", 200);
    CALLED.store(0, Ordering::Relaxed);
    storm(Kind::NmiAssist, value_site, park::load, batches);
    CALLED.store(1, Ordering::Relaxed);
    storm(LIVE, call_site, load_calls, batches);
    if parameters::get("monitor").is_some() {
        monitor();
    }
}

/// Waits for QEMU's monitor to send NMIs to all CPUs, while text changes.
fn monitor() {
    let sites = buffer::fill(park::SITES, value_site);
    CALLED.store(0, Ordering::Relaxed);
    form::reset();
    let before: [u64; CPUS] = core::array::from_fn(kernel::arch::nmi::ended);
    let missing =
        || core::iter::once(0).chain(work::others()).any(|cpu| kernel::arch::nmi::ended(cpu) < before[cpu] + 3);
    work::begin(park::load);
    engine::set_nmi_handler(Some(in_nmi));
    println!("want NMIs");
    let mut batches = 0;
    while missing() {
        for dir in [Direction::Install, Direction::Remove] {
            form::changing();
            // SAFETY: as above.
            let verdict = unsafe { patch(sites, Kind::NmiAssist, dir) };
            assert_eq!(verdict, Ok(Verdict::Performed(dir)));
            form::changed(dir);
        }
        batches += 2;
    }
    println!("had NMIs");
    work::end();
    engine::set_nmi_handler(None);
    println!("row nmi: three from the monitor on each CPU during {batches} batches of nmi_assist");
}
