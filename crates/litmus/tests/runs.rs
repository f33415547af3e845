//! Whole runs, with this test program as its own child.
#![cfg(target_os = "linux")]

mod support;

use std::sync::{Mutex, PoisonError};

use support::{child, options, seccomp};
use textpoke_linux::sys;
use textpoke_litmus::place::Boundary;
use textpoke_litmus::spec::Total;
use textpoke_litmus::{Error, Options, Outcome, Table, run};

const OURS: [&str; 4] = ["breakpoint", "displace", "short_jump", "word"];

/// One run at a time: each fills two CPUs.
fn quiet(options: &Options) -> Result<Table, Error> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    run(options, &mut |_, _, _| {})
}

/// What [`child`] starts.
#[test]
fn be_the_child() {
    support::be_the_child();
}

#[test]
fn ours_do_not_fail_and_run_in_both_forms() {
    let table = quiet(&options(&OURS, Total::UntilSeen { executions: 200_000, flips: 200 })).expect("it runs here");
    assert!(table.complete && !table.contradicted, "{table:#?}");
    let ours: Vec<_> = table.cells.iter().filter(|c| c.ours).collect();
    assert_eq!(ours.len(), 6 + 6 + 6 + 1);
    for cell in ours {
        // By Intel's book two of them are not safe, and must not fail all the same on the CPUs that were seen so far.
        assert!(matches!(cell.outcome, Outcome::AsPromised | Outcome::NotSeen), "{cell:#?}");
        assert!(cell.counts.flips >= 200 && cell.counts.executions >= 200_000, "{cell:#?}");
        assert_eq!(cell.counts.executions, cell.counts.old + cell.counts.new, "{cell:#?}");
    }
}

/// The control is torn by force; the others are left to the silicon, with a bound that is a thousand times what it took
/// wherever it was tried.
#[test]
fn torn_stores_are_seen() {
    let bound = Total::UntilSeen { executions: 2_000_000_000, flips: 200_000_000 };
    let mut options = options(&["naive-copy", "straddling-store"], bound);
    if std::thread::available_parallelism().is_ok_and(|n| n.get() == 1) {
        options.names = vec!["control".into()];
        println!("one CPU: only the control");
    }
    options.places.retain(|place| place.boundary() >= Boundary::Line);
    let table = quiet(&options).expect("it runs here");
    let failed = |name: &str, boundary: &str| {
        let cell = table.cells.iter().find(|c| c.variant == name && c.boundary == boundary).expect(name);
        assert_eq!(cell.outcome, Outcome::FailedAsPredicted, "{cell:#?}");
    };
    failed("control", "inside 8");
    if options.names.len() > 1 {
        failed("naive-copy", "across lines");
        failed("straddling-store", "across lines");
        failed("straddling-store", "across pages");
    }
    assert!(!table.contradicted && table.complete);
}

/// Several instructions treated as one: a signal catches the thread between them, on any CPU.
#[test]
fn threads_in_the_middle_are_seen() {
    let bound = Total::UntilSeen { executions: 2_000_000_000, flips: 2_000_000 };
    let table = quiet(&options(
        &["five-nops", "displace-no-wait", "five-nops-wait"],
        Total::UntilSeen { executions: 1000, flips: 300 },
    ));
    assert!(!table.expect("it runs here").contradicted);
    let table =
        quiet(&options(&["five-nops", "displace-no-wait", "handler-leaves-early"], bound)).expect("it runs here");
    for cell in &table.cells {
        assert_eq!(cell.outcome, Outcome::FailedAsPredicted, "{cell:#?}");
    }
}

#[test]
fn one_cpu_is_enough_and_said() {
    let mut mask = [0u64; 16];
    sys::affinity(0, &mut mask).expect("readable");
    let first = (0..1024).find(|i| mask[i / 64] >> (i % 64) & 1 == 1).expect("one");
    mask = [0; 16];
    mask[first / 64] = 1 << (first % 64);
    // This thread's only, and that of the children that it starts.
    sys::set_affinity(0, &mask).expect("less than before");
    let names = ["breakpoint", "displace", "int3-full", "displace-no-inner-traps"];
    let table = quiet(&options(&names, Total::UntilSeen { executions: 2000, flips: 50 })).expect("it runs here");
    assert!(table.notes.iter().any(|note| note.starts_with("one CPU:")), "{:?}", table.notes);
    assert!(table.complete && !table.contradicted, "{table:#?}");
    assert!(table.cells.iter().filter(|c| c.ours).all(|c| c.outcome == Outcome::AsPromised), "{table:#?}");
}

#[test]
fn a_dead_child_is_a_failure_of_what_it_ran() {
    let mut options = options(&["breakpoint"], Total::UntilSeen { executions: 1000, flips: 4 });
    // As the real child, but that one cell dies.
    let real: Vec<String> = child().iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let script = format!("case \"$0\" in *'\"offset\":30,'*) kill -SEGV $$;; *) exec {} \"$0\";; esac", real.join(" "));
    options.child = vec!["/bin/sh".into(), "-c".into(), script.into()];
    let table = quiet(&options).expect("it runs here");
    for cell in table.cells.iter().filter(|c| c.ours) {
        let dead = cell.place.offset == 30;
        assert_eq!(cell.counts.died, u64::from(dead));
        assert_eq!(cell.outcome == Outcome::Contradiction, dead, "{cell:#?}");
    }
    assert!(table.contradicted && table.complete);
}

#[test]
fn a_blind_run_is_refused() {
    let mut options = options(&["word"], Total::Time(1));
    // Children that do nothing and say nothing.
    options.child = vec!["/bin/true".into()];
    assert!(matches!(quiet(&options), Err(Error::Blind(_))));
    options.child = vec!["/bin/sh".into(), "-c".into(), "kill -KILL $$".into()];
    assert!(matches!(quiet(&options), Err(Error::Refused(why)) if why.contains("killed")));
    options.child = vec!["/nowhere/at/all".into()];
    assert!(matches!(quiet(&options), Err(Error::Refused(_))));
    options.names = vec!["int4".into()];
    assert_eq!(quiet(&options).expect_err("no such"), Error::Unknown("int4".into()));
}

#[test]
fn without_membarrier_it_refuses() {
    const MEMBARRIER: u32 = 324;
    seccomp(MEMBARRIER);
    let error = quiet(&options(&["word"], Total::Time(1_000_000))).expect_err("refused");
    assert!(matches!(&error, Error::Refused(why) if why.contains("membarrier")), "{error}");
}

#[test]
fn where_threads_cannot_be_bound_the_kernel_places_them() {
    const SCHED_SETAFFINITY: u32 = 203;
    seccomp(SCHED_SETAFFINITY);
    let table = quiet(&options(&["breakpoint"], Total::UntilSeen { executions: 1000, flips: 20 })).expect("it runs");
    assert!(table.notes.iter().any(|note| note.contains("the kernel places the threads")), "{:?}", table.notes);
    assert!(table.complete && !table.contradicted);
}
