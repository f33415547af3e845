//! Patchable entries of two instructions: planted while nobody is between them, toggled while everybody runs.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

use textpoke::core::isa::entry::Entry as Forms;
use textpoke::core::isa::{Aarch64, Riscv64};
use textpoke::{Entry, Error, Patcher, Refusal};

use crate::arena::Arena;
use crate::storm::{Stop, executions, flips as least, turn};
use crate::{Function, isa};

/// What a traced function adds, and what the tracer adds besides.
pub const ADDS: [u64; 2] = [5, 100];

fn call(entry: u64, arg: u64) -> u64 {
    let none = textpoke::core::Site::single(0, &[0; 4], &[1; 4]).unwrap();
    Function { entry, site: none, old: [0; 2], new: [0; 2], rounds: 1 }.call(arg)
}

fn storm<I: Forms>(function: u64, tracer: u64) {
    let patcher = Patcher::new().unwrap();
    // SAFETY: generated for the purpose.
    let mut entry = unsafe { Entry::<I>::from_raw(function as *const (), tracer as *const ()) }.unwrap();
    let (stop, calls, seen) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU8::new(0));
    let flips = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let _stop = Stop(&stop);
                for arg in 0.. {
                    if stop.load(Relaxed) {
                        return;
                    }
                    let traced = match call(function, arg) - arg {
                        5 => 1,
                        105 => 2,
                        other => panic!("{other}"),
                    };
                    calls.fetch_add(1, Relaxed);
                    seen.fetch_or(traced, Relaxed);
                }
            });
        }
        let _stop = Stop(&stop);
        let mut flips = 0;
        while !stop.load(Relaxed) && (flips < least() || calls.load(Relaxed) < executions() || seen.load(Relaxed) != 3)
        {
            assert!(flips < 100 * least(), "not everything was seen");
            for on in [true, false] {
                entry.set(&patcher, on).unwrap();
                assert_eq!(call(function, 1), 1 + ADDS[0] + if on { ADDS[1] } else { 0 });
            }
            flips += 2;
            // Now and then from the beginning.
            if flips % 512 == 0 {
                entry.unplant(&patcher).unwrap();
                assert_eq!(call(function, 1), 1 + ADDS[0]);
                entry.plant(&patcher).unwrap();
            }
        }
        flips
    });
    entry.unplant(&patcher).unwrap();
    println!("prepared_pair: {flips} changes, {} calls", calls.load(Relaxed));
}

fn forms<I: Forms>(function: u64, tracer: u64) {
    let of = |at: u64, tracer: u64| {
        // SAFETY: nothing is changed.
        unsafe { Entry::<I>::from_raw(at as *const (), tracer as *const ()) }
    };
    let entry = of(function, tracer).unwrap();
    let refused = |result: Result<Entry<I>, Error>| match result {
        Err(Error::Refused(_, refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    let at = entry.addr() as u64;
    assert_eq!(refused(of(at + 4, tracer)), Refusal::OldNotEmulated, "a NOP and the function");
    assert!(matches!(refused(of(function, tracer ^ 1 << 46)), Refusal::OutOfRange { .. }));
    assert!(matches!(refused(of(function + 2, tracer)), Refusal::Misaligned { .. }));
}

fn places() -> Option<[u64; 2]> {
    let mut arena = Arena::new(4096);
    let places = (isa().entry)(&mut arena);
    arena.seal();
    places
}

#[test]
fn prepared_pair() {
    let _turn = turn();
    match (std::env::consts::ARCH, places()) {
        ("aarch64", Some([function, tracer])) => storm::<Aarch64>(function, tracer),
        ("riscv64", Some([function, tracer])) => storm::<Riscv64>(function, tracer),
        _ => println!("a call is one instruction here"),
    }
}

#[test]
fn what_is_no_entry_is_refused() {
    match (std::env::consts::ARCH, places()) {
        ("aarch64", Some([function, tracer])) => forms::<Aarch64>(function, tracer),
        ("riscv64", Some([function, tracer])) => forms::<Riscv64>(function, tracer),
        _ => println!("a call is one instruction here"),
    }
}
