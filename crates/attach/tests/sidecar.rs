//! A real sidecar patches functions of this process while threads call them; the test plays the tracer.

#![allow(unsafe_code, reason = "clone, signal actions, code made at run time")]

mod rig;
#[path = "rig/town.rs"]
mod town;

use std::sync::Mutex;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use textpoke_core::journal::State;
use textpoke_core::{Cause, Direction, Kind, Verdict};
use textpoke_trace::control::{ToSidecar, ToTracer};
use textpoke_trace::ring::{Holes, Reader};
use town::{Crowd, Town};

const RX: i32 = libc::PROT_READ | libc::PROT_EXEC;
/// Open, verify, publish, three times store + maintain + sync, one wait, verify, close, retire, done.
const INSTALL_STEPS: usize = 17;

/// SIGTRAP has one handler, so that one test runs at a time.
static ONE: Mutex<()> = Mutex::new(());

fn order(dir: Direction, first: u64, count: u64) -> ToSidecar {
    ToSidecar::Batch { kind: Kind::Displace.to_raw(), dir: dir.to_raw(), first, count, mixed: false }
}

/// Answers requests until the batch is over; `await_none` answers the first kind.
fn batch(town: &Town, crowd: &Crowd, what: ToSidecar, await_none: Result<(), Cause>) -> (Verdict, Vec<ToTracer>) {
    town.say(what);
    let mut requests = Vec::new();
    loop {
        let message = town.hear();
        requests.push(message);
        match message {
            ToTracer::AwaitNoneInside => {
                crowd.pass();
                town.rig.shared.answer(await_none);
            }
            ToTracer::Retire => {
                crowd.pass();
                town.rig.shared.answer(Ok(()));
            }
            ToTracer::Turned(_) => town.rig.shared.answer(Ok(())),
            ToTracer::Finished(words) => return (Verdict::from_words(words).unwrap(), requests),
            other => panic!("{other:?}"),
        }
    }
}

fn performed(dir: Direction) -> Verdict {
    Verdict::Performed(dir)
}

#[test]
fn sites_come_and_go_under_running_threads() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let town = Town::new(40);
    let crowd = Crowd::default();
    let count = town.sites.len() as u64;
    let mut readers = vec![(Reader::default(), [0u64; 2]); 16];
    let mut drain = |town: &Town| {
        for (i, (reader, seen)) in readers.iter_mut().enumerate() {
            for record in town.rig.drain(reader, i, Holes::Wait).into_iter().filter(|r| !r.is_lost()) {
                seen[record.site as usize % 2] += 1;
            }
        }
    };
    crowd.around(&town.functions, || {
        for _ in 0..40 {
            let (verdict, requests) = batch(&town, &crowd, order(Direction::Install, 0, count), Ok(()));
            assert_eq!(verdict, performed(Direction::Install));
            assert_eq!(requests[..2], [ToTracer::AwaitNoneInside, ToTracer::Retire]);
            assert_eq!(town.rig.shared.membarriers(), 3);
            assert_eq!(town.rig.shared.step_ticks().len(), INSTALL_STEPS);
            assert_eq!((town.journal().state, town.journal().sites), (State::Installed as u32, count));
            drain(&town);
            let (verdict, requests) = batch(&town, &crowd, order(Direction::Remove, 0, count), Ok(()));
            assert_eq!(verdict, performed(Direction::Remove));
            assert_eq!(requests[0], ToTracer::Retire);
            assert_eq!(town.text(), town.original());
            assert_eq!(town.journal().state, State::Idle as u32);
            drain(&town);
        }
    });
    drain(&town);
    assert_eq!(town.prot(), RX);
    let calls: u64 = crowd.calls.iter().map(|c| c.load(SeqCst)).sum();
    let [entries, exits] = readers.iter().fold([0, 0], |sum, (_, n)| [sum[0] + n[0], sum[1] + n[1]]);
    let lost: u64 = readers.iter().map(|(reader, _)| reader.lost()).sum();
    assert!(entries > 0 && exits > 0 && entries + exits + lost <= 2 * calls, "{entries} {exits} {lost} of {calls}");
}

#[test]
fn batches_stack_up_and_are_taken_down_in_turn() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let town = Town::new(8);
    let crowd = Crowd::default();
    let refused = |what| {
        town.say(what);
        assert_eq!(town.hear(), ToTracer::Refused, "{what:?}");
    };
    let ok = |what| assert!(matches!(batch(&town, &crowd, what, Ok(())).0, Verdict::Performed(_)), "{what:?}");
    let (install, remove) = (Direction::Install, Direction::Remove);
    crowd.around(&town.functions, || {
        refused(order(install, 0, 17));
        refused(order(install, u64::MAX, 2));
        refused(order(install, 0, 0));
        refused(order(install, 4, 4));
        refused(order(remove, 0, 4));
        refused(ToSidecar::Batch { kind: 99, dir: 0, first: 0, count: 1, mixed: false });
        refused(ToSidecar::Answer([0, 0]));
        ok(order(install, 0, 6));
        refused(order(install, 0, 6));
        ok(order(install, 6, 10));
        refused(order(remove, 0, 6));
        refused(order(remove, 0, 16));
        assert_eq!((town.journal().state, town.journal().sites), (State::Installed as u32, 16));
        ok(order(remove, 6, 10));
        assert_eq!((town.journal().state, town.journal().sites), (State::Installed as u32, 6));
        ok(order(remove, 0, 6));
        assert_eq!(town.text(), town.original());
    });
}

#[test]
fn a_step_that_fails_undoes_the_batch_and_tells_the_tracer_to_turn() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let town = Town::new(8);
    let crowd = Crowd::default();
    crowd.around(&town.functions, || {
        for _ in 0..50 {
            let cause = Cause::Inside(town.sites[3].addr + 1);
            let (verdict, requests) = batch(&town, &crowd, order(Direction::Install, 0, 16), Err(cause));
            let Verdict::Undone(reason) = verdict else { panic!("{verdict:?}") };
            assert_eq!(reason.cause, cause);
            let turned = ToTracer::Turned(Direction::Remove.to_raw());
            assert_eq!(requests[..3], [ToTracer::AwaitNoneInside, turned, ToTracer::Retire]);
            assert_eq!(town.text(), town.original());
            assert_eq!(town.journal().state, State::Idle as u32);
        }
    });
    assert_eq!(town.prot(), RX);
}

#[test]
fn text_that_is_not_as_expected_is_left_alone() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let town = Town::new(8);
    let crowd = Crowd::default();
    // A breakpoint of somebody else.
    town.deface(town.sites[5].addr + 2, &[0xcc]);
    let before = town.text();
    let (verdict, _) = batch(&town, &crowd, order(Direction::Install, 0, 16), Ok(()));
    let Verdict::Undone(reason) = verdict else { panic!("{verdict:?}") };
    assert_eq!(reason.cause, Cause::Mismatch(town.sites[5].addr + 2));
    assert_eq!(town.text(), before);
    assert_eq!(town.prot(), RX);
}

/// The tracer is killed while it owes an answer, or while nothing happens: the text is restored all the same, and the
/// sidecar ends.
#[test]
fn an_orphan_restores_the_text_and_ends() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    for (dir, killed_at) in [
        (Direction::Install, ToTracer::AwaitNoneInside),
        (Direction::Install, ToTracer::Retire),
        (Direction::Remove, ToTracer::Retire),
        (Direction::Remove, ToTracer::Finished([0; 7])),
    ] {
        let mut town = Town::new(16);
        let crowd = Crowd::default();
        let functions = town.functions.clone();
        crowd.around(&functions, || {
            if dir == Direction::Remove {
                batch(&town, &crowd, order(Direction::Install, 0, 20), Ok(()));
                batch(&town, &crowd, order(Direction::Install, 20, 12), Ok(()));
            }
            let finished = matches!(killed_at, ToTracer::Finished(_));
            if !finished {
                town.say(order(dir, if dir == Direction::Remove { 20 } else { 0 }, 12));
                while town.hear() != killed_at {
                    crowd.pass();
                    town.rig.shared.answer(Ok(()));
                }
            }
            town.abandon();
            assert_eq!(town.bury(), 0, "{dir:?}, {killed_at:?}");
            assert_eq!(town.text(), town.original(), "{dir:?}, {killed_at:?}");
        });
        assert_eq!(town.journal().state, State::Idle as u32);
        assert_eq!(town.prot(), RX);
    }
}

/// A thread that blocks SIGTRAP would die of a trap: the patches stay, and do no harm.
#[test]
fn an_orphan_leaves_the_patches_when_a_thread_blocks_the_trap() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut town = Town::new(4);
    let crowd = Crowd::default();
    let functions = town.functions.clone();
    let gate = std::sync::Barrier::new(2);
    let blocking = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            textpoke_linux::sys::set_sigmask(textpoke_linux::signal::bit(5)).unwrap();
            blocking.wait();
            gate.wait();
        });
        blocking.wait();
        crowd.around(&functions, || {
            batch(&town, &crowd, order(Direction::Install, 0, 8), Ok(()));
            let patched = town.text();
            town.abandon();
            assert_eq!(town.bury(), 0);
            assert_eq!(town.text(), patched);
            assert_eq!(town.journal().state, State::Installed as u32);
        });
        gate.wait();
    });
}

#[test]
fn the_sidecar_ends_with_its_target() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut town = Town::new(4);
    town.say(ToSidecar::Exit);
    assert_eq!(town.bury(), 0);
    // SAFETY: the child does nothing but wait to be killed.
    let child = unsafe { libc::fork() };
    if child == 0 {
        loop {
            // SAFETY: waits for a signal.
            unsafe { libc::pause() };
        }
    }
    town.start_for(child);
    // SAFETY: our own child.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, &mut 0, 0);
    }
    assert_eq!(town.bury(), 0);
}

/// What `textpoke repair` does after a patcher was killed in the middle: whatever stands there, the old bytes come back.
#[test]
fn a_mixture_is_repaired() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let town = Town::new(8);
    let crowd = Crowd::default();
    for (i, site) in town.sites.iter().enumerate() {
        match i % 4 {
            0 => town.deface(site.addr, &site.new[..5]),
            1 => town.deface(site.addr, &[0xcc]),
            2 => {
                town.deface(site.addr, &[0xcc]);
                town.deface(site.addr + 1, &site.new[1..5]);
            }
            _ => {}
        }
    }
    let mixed = ToSidecar::Batch {
        kind: Kind::Displace.to_raw(),
        dir: Direction::Remove.to_raw(),
        first: 0,
        count: 16,
        mixed: true,
    };
    assert_eq!(batch(&town, &crowd, mixed, Ok(())).0, performed(Direction::Remove));
    assert_eq!(town.text(), town.original());
    assert_eq!(town.journal().state, State::Idle as u32);
    assert_eq!(town.rig.shared.control().batch_count.load(Relaxed), 0);
}
