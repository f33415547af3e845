//! A signal handler between every two instructions of the probe, on each of its paths.
//!
//! The probe is executed in single steps; after the k-th instruction the handler of the step does something that is hard
//! on the probe: is traced itself, forks, jumps out, reads the ring, and so on. Then once more with k + 1, until the probe
//! has no more instructions.

#![allow(unsafe_code, reason = "signal handlers, and code made at run time")]

#[path = "rig/context.rs"]
mod context;
mod rig;
#[path = "rig/stepping.rs"]
mod stepping;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use context::TF;
use rig::call;
use stepping::{Act, Bench, Path, SLOTS, Tally, already, everywhere};
use textpoke_trace::local::{ThreadHeader, thread_header};
use textpoke_trace::ring::Holes;

#[test]
fn a_traced_handler_is_recorded_and_loses_nothing_of_the_interrupted_event() {
    // Where a handler's own claim came too late to be noticed.
    let mut doubles = BTreeSet::new();
    everywhere(|bench, path, k| {
        let inner = bench.inner;
        let at = Rc::new(Cell::new(0));
        let act: Act = {
            let at = at.clone();
            Box::new(move |context| {
                at.set(context.uc_mcontext.gregs[libc::REG_RIP as usize]);
                (0..3).for_each(|_| _ = call(inner));
            })
        };
        let more = bench.step(k, act);
        let tally = bench.tally();
        let expected = already(path) + 1 + if more { 3 } else { 0 };
        assert_eq!(tally.total(), expected, "{path:?}, step {k}: {tally:?}");
        let recorded = !matches!(path, Path::Full | Path::NoRing | Path::Foreign);
        assert_eq!(tally.outer, usize::from(recorded), "{path:?}, step {k}: {tally:?}");
        if recorded {
            assert_eq!(tally.lost, 0, "{path:?}, step {k}: {tally:?}");
        }
        if path == Path::Claim && bench.rig.claimed() > 1 {
            doubles.insert(at.get() as u64 - bench.rig.text());
        }
        more
    });
    // Only before the last eleven instructions of a claim, in each of the two probes. (It costs a ring until the thread
    // ends.)
    assert!((1..=2 * 11).contains(&doubles.len()), "two rings for one thread after {doubles:x?}");
}

#[test]
fn a_handler_that_fills_the_ring_leaves_the_reserved_slot_alone() {
    everywhere(|bench, path, k| {
        let inner = bench.inner;
        let act = move |_: &mut libc::ucontext_t| (0..SLOTS + 10).for_each(|_| _ = call(inner));
        let more = bench.step(k, Box::new(act));
        let tally = bench.tally();
        let expected = already(path) + 1 + if more { SLOTS + 10 } else { 0 };
        assert_eq!(tally.total(), expected, "{path:?}, step {k}: {tally:?}");
        more
    });
}

/// The reader makes room, and a handler uses it before the interrupted event does.
#[test]
fn room_that_appears_in_between_is_used_by_whoever_comes_first() {
    everywhere(|bench, path, k| {
        let seen = Rc::new(RefCell::new(Tally::default()));
        let act: Act = {
            let (bench, seen) = (std::ptr::from_mut(bench), seen.clone());
            Box::new(move |_| {
                // SAFETY: `step` is suspended in the probe and uses nothing of the bench meanwhile.
                let bench = unsafe { &mut *bench };
                *seen.borrow_mut() = bench.read(Holes::Wait);
                (0..3).for_each(|_| _ = call(bench.inner));
            })
        };
        let more = bench.step(k, act);
        let (seen, rest) = (seen.take(), bench.tally());
        let handled = if more { 3 } else { 0 };
        let total = seen.total() + rest.total();
        assert_eq!(total, already(path) + 1 + handled, "{path:?}, step {k}: {seen:?}, then {rest:?}");
        if !matches!(path, Path::NoRing | Path::Foreign) {
            let recorded = seen.inner + rest.inner;
            assert_eq!(recorded, already(path) + handled, "{path:?}, step {k}: {seen:?}, then {rest:?}");
        }
        more
    });
}

/// The reader at work between any two instructions of the writer.
#[test]
fn a_reader_in_between_reads_everything_once() {
    everywhere(|bench, path, k| {
        let seen = Rc::new(RefCell::new(Tally::default()));
        let act: Act = {
            let (bench, seen) = (std::ptr::from_mut(bench), seen.clone());
            Box::new(move |_| {
                // SAFETY: `step` is suspended in the probe and uses nothing of the bench meanwhile.
                let bench = unsafe { &mut *bench };
                *seen.borrow_mut() = bench.read(Holes::Wait);
            })
        };
        let more = bench.step(k, act);
        let (seen, rest) = (seen.take(), bench.tally());
        assert_eq!(seen.total() + rest.total(), already(path) + 1, "{path:?}, step {k}: {seen:?}, then {rest:?}");
        // The ring works on: nothing is stuck between reader and writer.
        call(bench.inner);
        let after = bench.tally();
        assert_eq!(after.inner + after.lost, 1, "{path:?}, step {k}");
        more
    });
}

#[test]
fn a_fork_in_between_leaves_the_child_without_a_ring() {
    everywhere(|bench, path, k| {
        let act: Act = {
            Box::new(move |context| {
                // SAFETY: the child runs the rest of the probe, then leaves by `_exit`.
                let child = unsafe { libc::fork() };
                assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
                if child == 0 {
                    IN_CHILD.store(1, Relaxed);
                    context.uc_mcontext.gregs[libc::REG_EFL as usize] &= !(TF as i64);
                    return;
                }
                let mut status = -1;
                // SAFETY: our own child.
                assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
                assert_eq!(status, 0, "what the child found");
            })
        };
        let more = bench.step(k, act);
        if IN_CHILD.load(Relaxed) == 1 {
            // SAFETY: ends the child, which has no business in the test harness.
            unsafe { libc::_exit(child_is_clean(bench)) };
        }
        let tally = bench.tally();
        let total = tally.total();
        // A child born between the owner's check and the commit writes the parent's slot or one of its own, once.
        let expected = already(path) + 1;
        assert!(total == expected || total == expected + 1, "{path:?}, step {k}: {tally:?}");
        more
    });
}

static IN_CHILD: AtomicU64 = AtomicU64::new(0);

/// 0 if no header has an owner and further probes change nothing.
fn child_is_clean(bench: &Bench) -> i32 {
    let heads = || [0, 1, 2, 3].map(|ring| bench.rig.shared.ring(ring).head.load(Relaxed));
    let before = heads();
    call(bench.inner);
    call(bench.outer);
    if heads() != before {
        return 2;
    }
    let owned = (0..4).any(|i| {
        let header = (bench.rig.regions.local + thread_header(i) as u64) as *const ThreadHeader;
        // SAFETY: LOCAL of the rig, made of atomics.
        unsafe { &*header }.owner.load(Relaxed) != 0
    });
    i32::from(owned)
}

/// A handler that leaves by a jump takes the interrupted event with it, at most, and the ring goes on.
#[test]
fn a_handler_that_jumps_out_costs_one_event() {
    everywhere(|bench, path, k| {
        let inner = bench.inner;
        let jumped = Rc::new(RefCell::new(false));
        let act: Act = {
            let jumped = jumped.clone();
            Box::new(move |context| {
                call(inner);
                *jumped.borrow_mut() = true;
                // As if by longjmp: back to where the probe was called from, with the registers of that moment.
                leave(context);
            })
        };
        let more = bench.steps(k, act, landing);
        // Half a ring later the reader passes the hole, if there is one.
        let mut inner_calls = usize::from(*jumped.borrow());
        let waiting = bench.read(Holes::Wait);
        for _ in 0..SLOTS {
            call(inner);
            inner_calls += 1;
        }
        let tally = bench.tally();
        let all = already(path) + inner_calls + 1;
        let total = waiting.total() + tally.total();
        assert!(total == all || more && total == all - 1, "{path:?}, step {k}: {total} of {all}, {tally:?}");
        more
    });
}

/// Where [`landing`] was when it called.
static LANDING: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Calls `function` in single steps, and comes back also when [`leave`] says so.
fn landing(function: u64) {
    // SAFETY: all registers that a handler's jump could leave changed are named.
    unsafe {
        std::arch::asm!(
            "push rbp",
            "push rbx",
            "lea rax, [rip + 3f]",
            "mov [{place}], rax",
            "mov [{place} + 8], rsp",
            "pushfq",
            "or qword ptr [rsp], 0x100",
            "popfq",
            "call {function}",
            "3:",
            "pushfq",
            "and qword ptr [rsp], -257",
            "popfq",
            "pop rbx",
            "pop rbp",
            place = in(reg) LANDING.as_ptr(),
            function = in(reg) function,
            out("rax") _, out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _, out("r8") _, out("r9") _,
            out("r10") _, out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
}

fn leave(context: &mut libc::ucontext_t) {
    context.uc_mcontext.gregs[libc::REG_RIP as usize] = LANDING[0].load(Relaxed) as i64;
    context.uc_mcontext.gregs[libc::REG_RSP as usize] = LANDING[1].load(Relaxed) as i64;
}

#[test]
fn probes_switched_off_in_between_end_well() {
    everywhere(|bench, path, k| {
        let act: Act = {
            let bench = std::ptr::from_ref(bench);
            // SAFETY: switching writes atomics only, and the bench lives longer than the step.
            Box::new(move |_| unsafe { &*bench }.rig.shared.switch_probes_off())
        };
        let more = bench.step(k, act);
        bench.rig.shared.switch_probes_on();
        let tally = bench.tally();
        let total = tally.total() - already(path);
        assert!(total == 1 || more && total == 0, "{path:?}, step {k}: {tally:?}");
        more
    });
}
