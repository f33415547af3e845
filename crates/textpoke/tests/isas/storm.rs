//! Code that is changed while other threads execute it as fast as they can, with every result checked.
//!
//! A storm ends when it has seen what it must see: at least [`executions`] calls and [`flips`] changes of sites, and both
//! forms of each site, by the threads that do not change it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use textpoke::core::{Direction, Kind, Plan, Site};
use textpoke::linux::Host;
use textpoke::linux::process;

use crate::Function;

/// Calls, at least; less where an emulator is told to execute one instruction at a time.
pub fn executions() -> u64 {
    1_000_000 / scale()
}

/// Changes of sites, at least.
pub fn flips() -> u64 {
    10_000 / scale()
}

fn scale() -> u64 {
    if std::env::var_os("TEXTPOKE_SHORT").is_some() { 20 } else { 1 }
}

/// Batches after which a storm that has not seen everything has failed.
const LIMIT: u64 = 100_000;

/// Ends the other threads, also when a test fails.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

static TURN: Mutex<()> = Mutex::new(());

/// One test at a time: they fill all CPUs.
pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Those that a protocol can change.
pub fn suited(all: &[Function], kind: Kind) -> Vec<Function> {
    let suits = |f: &&Function| {
        Plan::<Host>::new(&[f.site]).unwrap().suits(kind).is_ok() && (kind != Kind::Word || f.site.in_one_word())
    };
    all.iter().filter(suits).copied().collect()
}

/// Performs a storm on all `functions`, in one batch each way.
pub fn storm(name: &str, mut functions: Vec<Function>, kind: Kind) {
    assert!(!functions.is_empty(), "{name}: nothing to do");
    functions.sort_by_key(|f| f.site.addr);
    let sites: Vec<Site> = functions.iter().map(|f| f.site).collect();
    let differ = |f: &Function| f.old != f.new;
    let seen: Vec<AtomicU8> = functions.iter().map(|f| AtomicU8::new(if differ(f) { 0 } else { 3 })).collect();
    let (stop, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    let wrong = Mutex::new(None);
    let execute = || {
        let _stop = Stop(&stop);
        for pass in 0u64.. {
            for (i, f) in functions.iter().enumerate() {
                if stop.load(Relaxed) {
                    return;
                }
                let arg = (pass ^ i as u64) & 1;
                let out = f.call(arg);
                calls.fetch_add(1, Relaxed);
                let Some(new) = f.new_rounds(arg, out) else {
                    *wrong.lock().unwrap() = Some(format!("{out:#x} of {f:x?}, argument {arg}"));
                    return;
                };
                let bits = if f.old[arg as usize] == f.new[arg as usize] {
                    0
                } else {
                    u8::from(new < f.rounds) | u8::from(new > 0) << 1
                };
                if seen[i].load(Relaxed) | bits != seen[i].load(Relaxed) {
                    seen[i].fetch_or(bits, Relaxed);
                }
            }
        }
    };
    let done = |batches: u64| {
        calls.load(Relaxed) >= executions()
            && batches * sites.len() as u64 >= flips()
            && seen.iter().all(|seen| seen.load(Relaxed) == 3)
    };
    let batches = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(execute);
        }
        let _stop = Stop(&stop);
        let mut batches = 0;
        while !stop.load(Relaxed) && batches < LIMIT && !done(batches) {
            for (dir, form) in [(Direction::Install, 1), (Direction::Remove, 0)] {
                // SAFETY: generated functions that can bear both forms.
                if let Err(error) = unsafe { process::apply(&sites, kind, dir) } {
                    panic!("{name}: {error}");
                }
                batches += 1;
                // This thread must see the form of every site at once.
                for f in functions.iter().skip(batches as usize % 7).step_by(7) {
                    assert_eq!(f.call(0), [f.old, f.new][form][0], "{name}: {f:x?}");
                }
            }
        }
        batches
    });
    assert_eq!(*wrong.lock().unwrap(), None, "{name}");
    assert!(done(batches), "{name}: not everything was seen");
    println!("{name}: {} sites, {} changes, {} calls", sites.len(), batches * sites.len() as u64, calls.load(Relaxed));
}
