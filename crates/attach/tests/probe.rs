//! The probe, called through real trampolines in this process: what it records, what it preserves, what it loses.

#![allow(unsafe_code, reason = "system calls, registers and code made at run time")]

mod rig;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use rig::{Rig, call, gettid, gs_base, set_gs_base};
use textpoke_attach::trampoline::Kind;
use textpoke_trace::Record;
use textpoke_trace::local::{GS_WINDOW_END, GS_WINDOW_START, thread_header};
use textpoke_trace::ring::{Holes, Reader};

fn tsc() -> u64 {
    // SAFETY: instructions of every x86-64 CPU.
    unsafe {
        std::arch::x86_64::_mm_lfence();
        let tsc = std::arch::x86_64::_rdtsc();
        std::arch::x86_64::_mm_lfence();
        tsc
    }
}

fn repeat(times: usize, function: u64) {
    for _ in 0..times {
        call(function);
    }
}

/// Runs in a thread that has no ring yet.
fn in_new_thread<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let run = || {
            set_gs_base(0);
            f()
        };
        scope.spawn(run).join().unwrap()
    })
}

#[test]
fn a_call_leaves_its_entry_and_its_exit() {
    let mut rig = Rig::new(4, 4096);
    let function = rig.function(0x1234);
    let (tid, sp, before, after) = in_new_thread(|| {
        let before = tsc();
        let sp = call(function);
        (gettid(), sp, before, tsc())
    });
    let ring = rig.ring_of(tid).expect("the thread claimed a ring");
    let records = rig.drain(&mut Reader::default(), ring, Holes::Wait);
    let (entry, exit) = (records[0], records[1]);
    assert_eq!(records.len(), 2);
    assert_eq!((entry.site, exit.site), (0x1234, 0x1235));
    assert_eq!(Record::new(entry.tsc, sp, 0x1234), entry);
    assert_eq!(Record::new(exit.tsc, sp, 0x1235), exit);
    assert!(before <= entry.tsc && entry.tsc <= exit.tsc && exit.tsc <= after);
}

#[test]
fn a_full_ring_loses_exactly_what_does_not_fit() {
    let mut rig = Rig::new(1, 4096);
    let probe = rig.probe(7, Kind::Entry);
    let mut reader = Reader::default();
    in_new_thread(|| {
        let room = 4096 / 16;
        for _ in 0..room + 100 {
            call(probe);
        }
        let records = rig.drain(&mut reader, 0, Holes::Wait);
        assert_eq!(records.len(), room + 1);
        assert_eq!((records[room].is_lost(), records[room].sp8), (true, 100));
        for _ in 0..10 {
            call(probe);
        }
        assert_eq!(rig.drain(&mut reader, 0, Holes::Wait).len(), 10);
    });
    assert_eq!(reader.lost(), 100);
}

#[test]
fn without_a_free_ring_events_are_counted() {
    let mut rig = Rig::new(2, 4096);
    let probe = rig.probe(0, Kind::Entry);
    let hold = std::sync::Barrier::new(5);
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                set_gs_base(0);
                repeat(100, probe);
                hold.wait();
            });
        }
    });
    assert_eq!(rig.claimed(), 2);
    let probes = &rig.shared.control().probes;
    assert_eq!(probes.no_ring.load(Relaxed), 300);
    assert_eq!(probes.free.load(Relaxed), 0);
    for ring in 0..2 {
        assert_eq!(rig.drain(&mut Reader::default(), ring, Holes::Wait).len(), 100);
    }
}

#[test]
fn a_ring_that_was_given_back_serves_the_next_thread() {
    let mut rig = Rig::new(1, 4096);
    let probe = rig.probe(3, Kind::Entry);
    let mut reader = Reader::default();
    for round in 0..50 {
        let tid = in_new_thread(|| {
            repeat(10 + round, probe);
            gettid()
        });
        assert_eq!(rig.ring_of(tid), Some(0));
        assert_eq!(rig.drain(&mut reader, 0, Holes::Skip).len(), 10 + round);
        rig.shared.free_ring(0);
    }
    assert_eq!(rig.shared.control().probes.no_ring.load(Relaxed), 0);
    assert_eq!(reader.lost(), 0);
}

/// Each ring has memory once it was written to: what was used before is used again.
#[test]
fn the_lowest_free_ring_is_taken_first() {
    let mut rig = Rig::new(8, 4096);
    let probe = rig.probe(3, Kind::Entry);
    let claim = || {
        in_new_thread(|| {
            call(probe);
            rig.ring_of(gettid()).unwrap()
        })
    };
    assert_eq!([claim(), claim(), claim(), claim()], [0, 1, 2, 3]);
    [2, 0, 1].into_iter().for_each(|ring| rig.shared.free_ring(ring));
    assert_eq!([claim(), claim()], [0, 1]);
    rig.shared.free_ring(0);
    assert_eq!([claim(), claim(), claim()], [0, 2, 4]);
}

#[test]
fn who_passes_for_a_dead_thread_finds_its_ring_gone() {
    let mut rig = Rig::new(2, 4096);
    let probe = rig.probe(3, Kind::Entry);
    in_new_thread(|| {
        call(probe);
        assert_eq!(rig.ring_of(gettid()), Some(0));
        // As if this thread had inherited GS base and thread pointer of a dead one whose ring was given back.
        rig.shared.free_ring(0);
        assert_eq!(rig.ring_of(gettid()), None);
        call(probe);
        assert_eq!(rig.ring_of(gettid()), Some(0), "claimed properly");
        rig.shared.free_ring(0);
        // Or if another thread has it by now.
        std::thread::scope(|scope| drop(scope.spawn(|| call(probe))));
        call(probe);
        assert_eq!(rig.ring_of(gettid()), Some(1));
    });
    assert_eq!(rig.drain(&mut Reader::default(), 0, Holes::Skip).len(), 3);
    assert_eq!(rig.drain(&mut Reader::default(), 1, Holes::Skip).len(), 1);
}

#[test]
fn threads_inherit_the_gs_base_but_not_the_ring() {
    let mut rig = Rig::new(64, 4096);
    let probe = rig.probe(0, Kind::Entry);
    in_new_thread(|| {
        call(probe);
        let (mine, ring) = (gs_base(), rig.ring_of(gettid()).unwrap());
        for _ in 0..50 {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    assert_eq!(gs_base(), mine, "inherited");
                    call(probe);
                    assert_ne!(gs_base(), mine);
                    assert_ne!(rig.ring_of(gettid()), Some(ring));
                });
            });
        }
        assert_eq!(gs_base(), mine);
        assert_eq!(rig.drain(&mut Reader::default(), ring, Holes::Wait).len(), 1);
    });
    assert_eq!(rig.claimed(), 51);
}

#[test]
fn a_program_that_uses_the_gs_base_keeps_it() {
    let mut rig = Rig::new(4, 4096);
    let probe = rig.probe(0, Kind::Entry);
    let data = [0u64; 8];
    in_new_thread(|| {
        for own in [data.as_ptr() as u64, GS_WINDOW_START - 8, GS_WINDOW_END, 0x7fff_ffff_f000] {
            set_gs_base(own);
            call(probe);
            assert_eq!(gs_base(), own);
        }
        set_gs_base(0);
    });
    assert_eq!(rig.shared.control().probes.foreign.load(Relaxed), 4);
    assert_eq!(rig.claimed(), 0);
}

#[test]
fn what_an_earlier_session_left_in_the_gs_base_is_replaced() {
    let mut rig = Rig::new(8, 4096);
    let probe = rig.probe(0, Kind::Entry);
    let unmapped = GS_WINDOW_END - (1 << 20);
    let last = thread_header(8) as u64;
    for stale in [GS_WINDOW_START, unmapped, GS_WINDOW_END - 1, rig.regions.local, rig.regions.local + last] {
        in_new_thread(|| {
            set_gs_base(stale);
            call(probe);
            let headers = rig.regions.local + thread_header(0) as u64..rig.regions.local + last;
            assert!(headers.contains(&gs_base()), "{stale:#x}");
        });
    }
    assert_eq!(rig.claimed(), 5);
}

#[test]
fn a_fork_child_writes_nothing() {
    let mut rig = Rig::new(4, 4096);
    let function = rig.function(0);
    in_new_thread(|| {
        call(function);
        // SAFETY: the child calls only the trampolines and `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            repeat(100, function);
            // A thread of the child that never had a ring.
            set_gs_base(0);
            call(function);
            // SAFETY: ends the child.
            unsafe { libc::_exit(if gs_base() == 0 { 0 } else { 1 }) };
        }
        let mut status = -1;
        // SAFETY: waits for our own child.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
        call(function);
        let ring = rig.ring_of(gettid()).unwrap();
        assert_eq!(rig.drain(&mut Reader::default(), ring, Holes::Wait).len(), 4);
    });
    assert_eq!(rig.claimed(), 1);
}

#[test]
fn switched_off_probes_touch_nothing() {
    let mut rig = Rig::new(4, 4096);
    let function = rig.function(0);
    in_new_thread(|| {
        call(function);
        rig.shared.switch_probes_off();
        call(function);
        set_gs_base(0);
        call(function);
        assert_eq!(gs_base(), 0);
        rig.shared.switch_probes_on();
        call(function);
    });
    assert_eq!(rig.claimed(), 2);
    let total: usize = (0..4).map(|i| rig.drain(&mut Reader::default(), i, Holes::Wait).len()).sum();
    assert_eq!(total, 4);
}

/// Many threads, a reader that keeps up: every call is there, in the order in which the thread made it.
#[test]
fn nothing_is_lost_and_nothing_doubled_while_the_reader_keeps_up() {
    const THREADS: usize = 4;
    const ROUNDS: u64 = 20_000;
    let mut rig = Rig::new(THREADS, 1 << 20);
    let functions: Vec<u64> = (0..16).map(|i| rig.function(2 * i)).collect();
    let (rig, functions) = (&rig, &functions);
    let running = AtomicU64::new(THREADS as u64);
    let seen: Vec<(u64, u64)> = std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                set_gs_base(0);
                for round in 0..ROUNDS {
                    call(functions[round as usize % 16]);
                }
                running.fetch_sub(1, Relaxed);
            });
        }
        let mut readers = vec![(Reader::default(), 0, 0); THREADS];
        let mut last = false;
        while !last {
            last = running.load(Relaxed) == 0;
            for (i, (reader, next, count)) in readers.iter_mut().enumerate() {
                for record in rig.drain(reader, i, Holes::Wait) {
                    assert_eq!(record.site, *next, "ring {i}, record {count}");
                    *next = (*next + 1) % 32;
                    *count += 1;
                }
            }
            std::thread::yield_now();
        }
        readers.into_iter().map(|(reader, _, count)| (count, reader.lost())).collect()
    });
    assert_eq!(seen, [(2 * ROUNDS, 0); THREADS]);
}

/// A ring that is much too small: what was read and what was lost add up.
#[test]
fn read_and_lost_add_up() {
    let mut rig = Rig::new(1, 4096);
    let probe = rig.probe(5, Kind::Exit);
    let done = AtomicBool::new(false);
    const CALLS: usize = 200_000;
    let (read, reader) = std::thread::scope(|scope| {
        scope.spawn(|| {
            set_gs_base(0);
            repeat(CALLS, probe);
            done.store(true, Relaxed);
        });
        let (mut reader, mut read, mut last) = (Reader::default(), 0, false);
        while !last {
            last = done.load(Relaxed);
            for record in rig.drain(&mut reader, 0, Holes::Wait) {
                read += u64::from(!record.is_lost());
                assert!(record.is_lost() || record.site == 5);
            }
            std::thread::sleep(std::time::Duration::from_micros(300));
        }
        (read, reader)
    });
    assert_eq!(read + reader.lost(), CALLS as u64);
    assert!(reader.lost() > 0 && read > 0, "{read} read, {} lost", reader.lost());
}
