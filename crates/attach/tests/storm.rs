//! Threads that come and go, signals with traced handlers that nest, and forks, all at once, while the reader reads and
//! recycles rings: every event is read once or counted as lost.

#![allow(unsafe_code, reason = "signal handlers, and code made at run time")]

mod rig;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use rig::{Rig, call, gettid, set_gs_base};
use textpoke_trace::Record;
use textpoke_trace::ring::{Holes, Reader, state};

const WORKERS: usize = 3;
/// Calls of a worker before it does something else.
const CALLS: u64 = 1_600;
/// Functions that workers call in turns; each has an entry and an exit.
const FUNCTIONS: u64 = 8;
/// Signals of each kind that must have been handled before the end.
const SIGNALS: u64 = 1_500;
/// First site of the function that each handler calls.
const HANDLED: [u32; 2] = [100, 200];

/// What the handlers call, and how often they did.
static HANDLER: [[AtomicU64; 2]; 2] = [const { [const { AtomicU64::new(0) }; 2] }; 2];

extern "C" fn on_signal(signal: i32) {
    let [function, count] = &HANDLER[usize::from(signal == libc::SIGUSR2)];
    call(function.load(SeqCst));
    count.fetch_add(1, SeqCst);
}

fn handled() -> [u64; 2] {
    HANDLER.each_ref().map(|[_, count]| count.load(SeqCst))
}

fn install_handlers() {
    for signal in [libc::SIGUSR1, libc::SIGUSR2] {
        // SAFETY: the handler touches atomics and calls traced functions only. Each signal nests in the other and, by
        // SA_NODEFER, in itself.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as *const () as usize;
            action.sa_flags = libc::SA_NODEFER | libc::SA_RESTART;
            assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
        }
    }
}

/// Living workers, who may be shot at.
#[derive(Default)]
struct Living(Mutex<Vec<u32>>);

impl Living {
    fn join(&self) {
        self.0.lock().unwrap().push(gettid());
    }

    /// After it, no signal comes any more: the shooter holds the lock while it shoots.
    fn leave(&self) {
        let me = gettid();
        self.0.lock().unwrap().retain(|&tid| tid != me);
    }

    fn shoot(&self, round: usize) {
        let living = self.0.lock().unwrap();
        for (i, &tid) in living.iter().enumerate() {
            let signal = if (round + i).is_multiple_of(2) { libc::SIGUSR1 } else { libc::SIGUSR2 };
            // SAFETY: signals that have handlers, to a thread of this process.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, signal) };
        }
    }
}

/// Reads all rings and gives back those whose threads are gone.
struct Reading<'a> {
    rig: &'a Rig,
    readers: Vec<Reader>,
    /// Next site expected of the calls that are made in turns, by ring.
    next: HashMap<usize, u32>,
    /// Records by first site of their function.
    seen: HashMap<u32, u64>,
}

impl<'a> Reading<'a> {
    fn new(rig: &'a Rig) -> Self {
        let readers = vec![Reader::default(); rig.regions.layout.rings];
        Self { rig, readers, next: HashMap::new(), seen: HashMap::new() }
    }

    fn pass(&mut self, holes: Holes) {
        for i in 0..self.readers.len() {
            let ring = self.rig.shared.ring(i);
            let tid = ring.tid.load(SeqCst);
            if ring.state.load(SeqCst) != state::CLAIMED || tid == 0 {
                continue;
            }
            // Looked at before the last reading: whoever is gone by then has written everything.
            let gone = !std::path::Path::new(&format!("/proc/self/task/{tid}")).exists();
            for record in self.rig.drain(&mut self.readers[i], i, if gone { Holes::Skip } else { holes }) {
                self.take(i, record);
            }
            if gone {
                self.next.remove(&i);
                self.rig.shared.free_ring(i);
            }
        }
    }

    fn take(&mut self, ring: usize, record: Record) {
        if record.is_lost() {
            // Somewhere among the calls in turns.
            self.next.remove(&ring);
            return;
        }
        let function = HANDLED.into_iter().find(|first| record.site / 2 == first / 2).unwrap_or(0);
        *self.seen.entry(function).or_default() += 1;
        if function == 0 {
            let next = self.next.entry(ring).or_insert(record.site);
            assert_eq!(record.site, *next, "ring {ring}: the thread's own calls are in order");
            *next = (*next + 1) % (2 * FUNCTIONS as u32);
        }
    }
}

#[test]
fn every_event_is_read_once_or_counted_as_lost() {
    let mut rig = Rig::new(32, 1 << 20);
    let functions: Vec<u64> = (0..FUNCTIONS as u32).map(|i| rig.function(2 * i)).collect();
    for (first, [function, _]) in HANDLED.into_iter().zip(&HANDLER) {
        function.store(rig.function(first), SeqCst);
    }
    install_handlers();
    let (living, stop, own) = (Living::default(), AtomicBool::new(false), AtomicU64::new(0));
    let mut reading = Reading::new(&rig);
    let run = |calls: u64| {
        living.join();
        for n in 0..calls {
            call(functions[(n % FUNCTIONS) as usize]);
        }
        living.leave();
        own.fetch_add(calls, SeqCst);
    };
    std::thread::scope(|scope| {
        // Also when the reading fails.
        let _end = OnDrop(|| stop.store(true, SeqCst));
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| {
                scope.spawn(|| {
                    set_gs_base(0);
                    while !stop.load(SeqCst) && handled().into_iter().any(|n| n < SIGNALS) {
                        run(CALLS);
                        // A thread that lives for a moment, born with this one's GS base.
                        std::thread::scope(|short| drop(short.spawn(|| run(50))));
                        fork_and_call(&functions);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            for round in 0.. {
                if stop.load(SeqCst) {
                    break;
                }
                living.shoot(round);
                std::thread::sleep(std::time::Duration::from_micros(50));
            }
        });
        while !workers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            reading.pass(Holes::Wait);
            std::thread::yield_now();
        }
    });
    reading.pass(Holes::Skip);
    let handled = handled();
    let emitted = 2 * (own.load(SeqCst) + handled.iter().sum::<u64>());
    let probes = &rig.shared.control().probes;
    let without_ring = probes.no_ring.load(SeqCst) + probes.foreign.load(SeqCst);
    let lost: u64 = reading.readers.iter().map(Reader::lost).sum::<u64>() + without_ring;
    let seen: u64 = reading.seen.values().sum();
    assert_eq!(seen + lost, emitted, "{:?}, {lost} lost, {handled:?} handled", reading.seen);
    if lost == 0 {
        assert_eq!(HANDLED.map(|first| reading.seen[&first]), handled.map(|n| 2 * n));
    }
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

fn fork_and_call(functions: &[u64]) {
    // SAFETY: the child calls traced functions only, and ends by `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        functions.iter().for_each(|&function| _ = call(function));
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    let mut status = -1;
    // SAFETY: waits for our own child.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
}
