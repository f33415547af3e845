//! Forks, and threads that come and go, in the middle of batches.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use textpoke::core::{Direction, Kind, Site};
use textpoke::linux::process;
use textpoke::linux::sys;

use crate::arena::Arena;
use crate::forms::{Form, Function};
use crate::tools::{self, call, turn};

fn functions() -> Vec<Function> {
    let mut arena = Arena::new(256 * 64 + 128);
    let start = arena.start() + 61;
    let place = |i: u32| Function::place(&mut arena, start + 64 * u64::from(i), i, 5, Form::Call, Form::Jmp32);
    let functions = (0..256).map(place).collect();
    arena.seal();
    functions
}

/// What a call may return: one form or the other.
fn check(f: &Function) -> bool {
    let out = call(f.entry, 0);
    out == f.when_old(0) || out == f.when_new(0)
}

/// What the fork child does: it is one thread with a copy of whatever state the parent's text was in.
fn as_child(functions: &[Function], sites: &[Site], repair: bool) -> bool {
    for _ in 0..20 {
        if !functions.iter().all(check) {
            return false;
        }
    }
    if !repair {
        return true;
    }
    // Patching goes on in the child: what was half done is undone first, then all is at one end or the other.
    let dir = if sites[0].before(Direction::Remove) == now(&sites[0]) { Direction::Remove } else { Direction::Install };
    // SAFETY: generated functions that can bear both forms.
    let first = unsafe { process::apply(sites, Kind::Breakpoint, dir) };
    // Undoing may have turned what was guessed around.
    let dir = if first.is_ok() { dir.opposite() } else { dir };
    // SAFETY: as above.
    let second = unsafe { process::apply(sites, Kind::Breakpoint, dir) }
        .or_else(|_| unsafe { process::apply(sites, Kind::Breakpoint, dir.opposite()) });
    let uniform = functions.iter().all(|f| call(f.entry, 0) == f.when_old(0))
        || functions.iter().all(|f| call(f.entry, 0) == f.when_new(0));
    let protected = textpoke::linux::maps::read().is_ok_and(|maps| {
        maps.iter().filter(|m| m.range.covers(sites[0].addr, sites[0].end())).all(|m| !m.range.prot.writes())
    });
    second.is_ok() && uniform && protected
}

fn now(site: &Site) -> [u8; 5] {
    // SAFETY: mapped readable for good.
    unsafe { (site.addr as *const [u8; 5]).read_volatile() }
}

#[test]
fn fork_children_run_whatever_state_they_inherit() {
    let _turn = turn();
    process::prepare().unwrap();
    let functions = functions();
    let sites: Vec<Site> = functions.iter().map(|f| f.site).collect();
    let (stop, forks) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            tools::pin(1);
            while !stop.load(Relaxed) {
                assert!(functions.iter().all(check));
            }
        });
        let forker = scope.spawn(|| {
            for n in 0..300 {
                // SAFETY: fork(2) without libc: the child calls generated code and the engine, and ends.
                let pid = unsafe { sys::syscall3(57, 0, 0, 0) };
                if pid == 0 {
                    let well = as_child(&functions, &sites, n % 3 == 0);
                    sys::exit_group(i32::from(!well));
                }
                assert!(pid > 0, "fork: {pid}");
                let mut status = 0i32;
                // SAFETY: wait4 writes `status`.
                let waited = unsafe { sys::syscall6(61, [pid as usize, &raw mut status as usize, 0, 0, 0, 0]) };
                assert_eq!((waited, status), (pid, 0), "fork child {n}");
                forks.fetch_add(1, Relaxed);
            }
        });
        tools::pin(0);
        while !forker.is_finished() {
            for dir in [Direction::Install, Direction::Remove] {
                // SAFETY: generated functions that can bear both forms.
                unsafe { process::apply(&sites, Kind::Breakpoint, dir) }.unwrap();
            }
        }
        stop.store(true, Relaxed);
        forker.join().unwrap();
    });
    assert_eq!(forks.load(Relaxed), 300);
}

#[test]
fn threads_may_come_and_go() {
    let _turn = turn();
    process::prepare().unwrap();
    let functions = functions();
    let sites: Vec<Site> = functions.iter().map(|f| f.site).collect();
    let displaced = crate::displaced::subject();
    let (stop, born) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    std::thread::scope(|scope| {
                        scope.spawn(|| assert!(functions.iter().all(check)));
                        scope.spawn(|| (displaced.check)());
                    });
                    born.fetch_add(2, Relaxed);
                }
            });
        }
        let mut flips = 0;
        while flips < 300 || born.load(Relaxed) < 2000 {
            for dir in [Direction::Install, Direction::Remove] {
                // SAFETY: generated functions that can bear both forms.
                unsafe {
                    process::apply(&sites, Kind::Breakpoint, dir).unwrap();
                    process::apply(&displaced.sites, displaced.kind, dir).unwrap();
                }
            }
            flips += 1;
        }
        stop.store(true, Relaxed);
    });
}
