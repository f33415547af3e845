//! Threads that cannot be parked, that sleep, and that come and go.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;

use textpoke::core::{Cause, Direction, Kind, Verdict};
use textpoke::linux::process::{self, Error};
use textpoke::linux::sys;

use crate::arena::Arena;
use crate::storm::{Stop, suited, turn};
use crate::{Function, isa};

fn function() -> Function {
    let mut arena = Arena::new(1 << 20);
    let all = (isa().singles)(&mut arena);
    arena.seal();
    *suited(&all, Kind::Park).last().unwrap()
}

fn flip(f: &Function) -> Result<(), Error> {
    for dir in [Direction::Install, Direction::Remove] {
        // SAFETY: a generated function that can bear both forms.
        unsafe { process::apply(&[f.site], Kind::Park, dir) }?;
    }
    Ok(())
}

#[test]
fn a_thread_that_blocks_all_signals_is_not_waited_for_for_ever() {
    let _turn = turn();
    let f = function();
    let (tell, told) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let blocker = std::thread::spawn(move || {
        let mask = sys::set_sigmask(!0).unwrap();
        tell.send(sys::gettid()).unwrap();
        let _ = ended.recv();
        sys::set_sigmask(mask).unwrap();
    });
    let blocked = told.recv().unwrap();
    match flip(&f) {
        Err(Error::ParkBlocked(tid)) => assert_eq!(tid, blocked),
        // An emulator does not show what the program blocks.
        Err(Error::Failed(Verdict::Undone(reason))) => assert_eq!(reason.cause, Cause::TimedOut),
        other => panic!("{other:?}"),
    }
    assert_eq!(f.call(0), f.old[0]);
    drop(end);
    blocker.join().unwrap();
    flip(&f).unwrap();
    assert_eq!(f.call(0), f.old[0]);
}

#[test]
fn threads_may_come_and_go_and_allocate() {
    let _turn = turn();
    let f = function();
    let (stop, made) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        // Threads that hold the allocator's locks, and threads that are just being made.
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    let child = std::thread::spawn(move || {
                        let rows: Vec<Vec<u64>> = (0..50).map(|i| vec![i; 100]).collect();
                        rows.iter().map(|row| row[0]).sum::<u64>() + f.call(0)
                    });
                    let sum = child.join().unwrap() - 1225;
                    assert!(sum == f.old[0] || sum == f.new[0], "{sum:#x}");
                    made.fetch_add(1, Relaxed);
                }
            });
        }
        let _stop = Stop(&stop);
        let mut flips = 0;
        while flips < 200 || made.load(Relaxed) < 200 {
            flip(&f).unwrap();
            flips += 1;
        }
    });
}

/// A wait that is interrupted begins anew, as after any signal.
#[test]
fn sleepers_go_on_sleeping() {
    let _turn = turn();
    let f = function();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            let mut parks = 0u64;
            while !stop.load(Relaxed) {
                std::thread::park();
                parks += 1;
            }
            parks
        });
        for _ in 0..100 {
            flip(&f).unwrap();
        }
        stop.store(true, Relaxed);
        sleeper.thread().unpark();
        assert!(sleeper.join().unwrap() > 0);
    });
}
