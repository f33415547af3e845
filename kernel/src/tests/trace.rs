//! The function tracer on this binary's own functions, those that NMIs call included.

use core::sync::atomic::{AtomicU64, Ordering};

use kernel::arch::nmi;
use kernel::arch::sites::LIVE;
use kernel::engine::{self, ROUNDS, patch};
use kernel::trace::{clear, graph, sites, summary, switch};
use kernel::{CPUS, println, work};
use textpoke_core::{Direction, Verdict};

use super::buffer;

static SUM: AtomicU64 = AtomicU64::new(0);

#[inline(never)]
fn fibonacci(n: u64) -> u64 {
    if n < 2 { n } else { fibonacci(n - 1) + fibonacci(n - 2) }
}

#[inline(never)]
fn account(value: u64) {
    SUM.fetch_add(value, Ordering::Relaxed);
}

#[inline(never)]
fn sample(cpu: usize) {
    account(fibonacci(2 + cpu as u64 % 2));
}

fn load(_: usize) {
    account(fibonacci(5));
    for round in 0..50 {
        core::hint::black_box(round);
        core::hint::spin_loop();
    }
}

/// Returns when each CPU has begun and ended one.
fn each_has_an_nmi() {
    for cpu in core::iter::once(0).chain(work::others()) {
        let before = nmi::ended(cpu);
        while nmi::ended(cpu) < before + 2 {
            core::hint::spin_loop();
        }
    }
}

/// On under load, off again, and the graph of what happened in between.
pub fn run() {
    const TIMES: u64 = 20;
    let count = sites(buffer::whole());
    let functions = &buffer::whole()[..count];
    let synced = ROUNDS.load(Ordering::Relaxed);
    work::begin(load);
    engine::set_nmi_handler(Some(sample));
    engine::begin_storm(CPUS);
    for time in 0..TIMES {
        for dir in [Direction::Install, Direction::Remove] {
            if dir == Direction::Install && time == TIMES - 1 {
                clear();
                switch(true);
            }
            // SAFETY: a function bears to be traced at its entry; traps are wired, in NMIs, too.
            let verdict = unsafe { patch(functions, LIVE, dir) };
            assert_eq!(verdict, Ok(Verdict::Performed(dir)));
            if dir == Direction::Install {
                let (before, nmis) = (work::done(), engine::nmis());
                while work::done() < before + 100 && engine::nmis() < nmis + 100 {
                    core::hint::spin_loop();
                }
                if time == TIMES - 1 {
                    each_has_an_nmi();
                }
            }
        }
    }
    switch(false);
    engine::end_storm();
    engine::set_nmi_handler(None);
    work::end();
    let synced = ROUNDS.load(Ordering::Relaxed) - synced;
    println!("row trace: {count} functions on and off {TIMES} times under load and NMIs, {synced} synchronisations");
    for cpu in core::iter::once(0).chain(work::others()) {
        let all = summary(cpu);
        println!(
            "row trace: CPU {cpu}: {} entries, {} returns, {} of the entries in {} NMIs",
            all.entries, all.returns, all.in_nmis, all.nmis
        );
        assert!(all.in_nmis > 0, "NMIs were not traced");
    }
    if let Some(cpu) = work::others().next() {
        println!("function graph of CPU {cpu}, in ticks:");
        graph(cpu, 40);
    }
}
