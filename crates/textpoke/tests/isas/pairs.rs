//! Several instructions into one or several others: nobody may execute the first of one form and the second of another.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::SeqCst};

use textpoke::core::{Cause, Direction, Kind, Verdict};
use textpoke::linux::process::{self, Error};
use textpoke::linux::signal::{Action, Info, SA_NODEFER};
use textpoke::linux::sys;
use textpoke::linux::ucontext::UContext;

use crate::arena::Arena;
use crate::isa;
use crate::storm::{Stop, storm, suited, turn};

fn run(name: &str, kind: Kind) {
    let _turn = turn();
    let mut arena = Arena::new(1 << 20);
    let all = (isa().pairs)(&mut arena);
    let text = arena.seal();
    let functions = suited(&all, kind);
    if functions.is_empty() {
        return println!("{name}: this instruction set has no such site");
    }
    storm(name, functions, kind);
    text.assert_untouched();
}

#[test]
fn displace() {
    run("displace", Kind::Displace);
}

/// The wait for late threads decides: nobody may be between the two when the second changes.
#[test]
fn pair() {
    run("pair", Kind::Pair);
}

#[test]
fn park_twice() {
    run("park_twice", Kind::ParkTwice);
}

/// The second instruction's address, whether a thread is held there, and whether it may go on.
static INNER: AtomicU64 = AtomicU64::new(0);
static HELD: AtomicBool = AtomicBool::new(false);
static RELEASE: AtomicBool = AtomicBool::new(false);

/// A handler of the program's that keeps the thread which it interrupted between the two instructions.
unsafe extern "C" fn hold(_: i32, _: *mut Info, context: *mut UContext) {
    // SAFETY: the kernel's pointer into this thread's frame.
    if unsafe { &*context }.regs.pc() == INNER.load(SeqCst) {
        HELD.store(true, SeqCst);
        while !RELEASE.load(SeqCst) {
            sys::nap(100_000);
        }
    }
}

/// The storms seldom meet a thread there for as long as a change takes; this one is.
#[test]
fn a_thread_between_the_two_is_waited_for() {
    const SIGNAL: i32 = 39;
    const TRIES: u32 = 100_000;
    let _turn = turn();
    let mut arena = Arena::new(1 << 20);
    let all = (isa().pairs)(&mut arena);
    let text = arena.seal();
    let f = suited(&all, Kind::Pair)[0];
    INNER.store(f.site.addr + u64::from(f.site.inner.trailing_zeros()), SeqCst);
    let mut action = Action::for_traps(hold, true);
    // Others may come on top of it, but not itself: it is sent faster than an emulator handles it.
    (action.mask, action.flags) = (0, action.flags & !SA_NODEFER);
    // SAFETY: the handler only reads its frame and sleeps.
    unsafe { sys::rt_sigaction(SIGNAL, &raw const action, core::ptr::null_mut()) }.unwrap();
    let (stop, tid) = (AtomicBool::new(false), AtomicI32::new(0));
    let apply = |dir| {
        // SAFETY: a generated function that can bear both forms.
        unsafe { process::apply(&[f.site], Kind::Pair, dir) }
    };
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        let _release = Stop(&RELEASE);
        scope.spawn(|| {
            tid.store(sys::gettid(), SeqCst);
            while !stop.load(SeqCst) {
                assert!(f.new_rounds(0, f.call(0)).is_some());
            }
        });
        for _ in 0..TRIES {
            if tid.load(SeqCst) != 0 && !HELD.load(SeqCst) {
                sys::tgkill(sys::getpid(), tid.load(SeqCst), SIGNAL).unwrap();
            }
            if HELD.load(SeqCst) {
                break;
            }
            sys::nap(20_000);
        }
        if !HELD.load(SeqCst) {
            return println!("an emulator that translates both at once interrupts nobody between them");
        }
        let result = apply(Direction::Install);
        let Err(Error::Failed(Verdict::Undone(reason))) = result else { panic!("{result:?}") };
        assert_eq!(reason.cause, Cause::Inside(f.site.addr));
        text.assert_untouched();
        RELEASE.store(true, SeqCst);
        apply(Direction::Install).unwrap();
        assert_eq!(f.call(0), f.new[0]);
        apply(Direction::Remove).unwrap();
    });
    text.assert_untouched();
}
