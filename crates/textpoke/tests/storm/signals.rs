//! The program's own SIGTRAPs, blocked SIGTRAPs, and sleepers that must not notice anything.

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::mpsc;

use textpoke::core::{Direction, Kind};
use textpoke::linux::process::{self, Error};
use textpoke::linux::signal::{Action, CODE_TRAP, Info, SA_RESTART, SIGTRAP, bit};
use textpoke::linux::sys;
use textpoke::linux::ucontext::UContext;

use crate::arena::Arena;
use crate::displaced;
use crate::forms::{Form, Function};
use crate::tools::{self, call, turn};

fn function() -> Function {
    let mut arena = Arena::new(4096);
    let addr = arena.start() + 64;
    let function = Function::place(&mut arena, addr, 1, 5, Form::Nop, Form::Jmp32);
    arena.seal();
    function
}

fn flip(f: &Function) -> Result<(), Error> {
    for dir in [Direction::Install, Direction::Remove] {
        // SAFETY: a generated function that can bear both forms.
        unsafe { process::apply(&[f.site], Kind::Breakpoint, dir) }?;
    }
    Ok(())
}

fn raise() {
    sys::tgkill(sys::getpid(), sys::gettid(), SIGTRAP).unwrap();
}

fn int3() {
    // SAFETY: a trap, which is what the tests are about.
    unsafe { core::arch::asm!("int3") };
}

static RAISED: AtomicU32 = AtomicU32::new(0);
static TRAPPED: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" fn own_handler(signal: i32, info: *mut Info, context: *mut UContext) {
    // SAFETY: the kernel's pointers.
    let (info, context) = unsafe { (&*info, &*context) };
    assert_eq!((signal, info.signo), (SIGTRAP, SIGTRAP));
    let mask = sys::sigmask().unwrap();
    assert_eq!(mask, context.sigmask | bit(SIGTRAP) | bit(12), "the mask that the action asks for");
    match info.code {
        CODE_TRAP => TRAPPED.fetch_add(1, Relaxed),
        _ => RAISED.fetch_add(1, Relaxed),
    };
}

#[test]
fn a_handler_of_the_program_keeps_its_traps() {
    if !tools::is_child("own-handler") {
        let mut child = tools::child("signals::a_handler_of_the_program_keeps_its_traps", "own-handler");
        return tools::assert_success("child", child.status().unwrap());
    }
    let mut action = Action::for_traps(own_handler, true);
    action.flags &= !(textpoke::linux::signal::SA_NODEFER | textpoke::linux::signal::SA_ONSTACK);
    action.mask = bit(12);
    // SAFETY: the handler makes system calls only.
    unsafe { sys::rt_sigaction(SIGTRAP, &raw const action, core::ptr::null_mut()) }.unwrap();
    process::prepare().unwrap();
    let f = function();
    for n in 1..=100 {
        flip(&f).unwrap();
        raise();
        int3();
        // INT 3 in two bytes.
        // SAFETY: as above.
        unsafe { core::arch::asm!(".byte 0xcd, 0x03") };
        assert_eq!((RAISED.load(Relaxed), TRAPPED.load(Relaxed)), (n, 2 * n));
    }
    // A handler that is put on top of ours gets everything, so that nothing may be patched.
    // SAFETY: as above.
    unsafe { sys::rt_sigaction(SIGTRAP, &raw const action, core::ptr::null_mut()) }.unwrap();
    assert_eq!(flip(&f), Err(Error::HandlerReplaced));
}

#[test]
fn a_program_without_handler_dies_of_its_own_traps() {
    const NAME: &str = "signals::a_program_without_handler_dies_of_its_own_traps";
    for role in ["raise", "int3", "ignored-int3", "ignored-raise"] {
        if !tools::is_child(role) {
            continue;
        }
        if role.starts_with("ignored") {
            let ignore = Action { handler: 1, ..Action::DEFAULT };
            // SAFETY: no handler is involved.
            unsafe { sys::rt_sigaction(SIGTRAP, &raw const ignore, core::ptr::null_mut()) }.unwrap();
        }
        process::prepare().unwrap();
        flip(&function()).unwrap();
        if role.ends_with("raise") {
            raise()
        } else {
            int3()
        }
        return;
    }
    if std::env::var_os("TEXTPOKE_STORM_ROLE").is_some() {
        return;
    }
    for (role, signal) in
        [("raise", Some(SIGTRAP)), ("int3", Some(SIGTRAP)), ("ignored-int3", Some(SIGTRAP)), ("ignored-raise", None)]
    {
        let status = tools::child(NAME, role).current_dir(std::env::temp_dir()).status().unwrap();
        assert_eq!(status.signal(), signal, "{role}: {status}");
    }
}

#[test]
fn a_thread_that_blocks_sigtrap_is_named() {
    let _turn = turn();
    process::prepare().unwrap();
    let f = function();
    let (tell, told) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let blocker = std::thread::spawn(move || {
        sys::set_sigmask(bit(SIGTRAP)).unwrap();
        tell.send(sys::gettid()).unwrap();
        let _ = ended.recv();
    });
    let tid = told.recv().unwrap();
    assert_eq!(flip(&f), Err(Error::TrapBlocked(tid)));
    assert_eq!(call(f.entry, 0), f.when_old(0));
    drop(end);
    blocker.join().unwrap();
    flip(&f).unwrap();
}

/// Sleeps that no SA_RESTART could hide an interruption of.
#[test]
fn sleepers_are_not_woken() {
    let _turn = turn();
    process::prepare().unwrap();
    let (f, displaced) = (function(), displaced::subject());
    let (stop, ready) = (AtomicBool::new(false), AtomicU32::new(0));
    let mut pipe = [0i32; 2];
    // SAFETY: pipe2 writes two descriptors.
    assert_eq!(unsafe { sys::syscall3(293, pipe.as_mut_ptr() as usize, 0, 0) }, 0);
    assert_ne!(Action::for_traps(own_handler, true).flags & SA_RESTART, 0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                ready.fetch_add(1, Relaxed);
                let mut fds = [sys::PollFd { fd: pipe[0], events: 1, revents: 0 }];
                assert_eq!(sys::poll(&mut fds, -1), Ok(1), "interrupted");
                assert!(stop.load(Relaxed));
            });
        }
        let asleep = || {
            let tasks = std::fs::read_dir("/proc/self/task").unwrap();
            let calls = tasks.filter_map(|t| std::fs::read_to_string(t.unwrap().path().join("syscall")).ok());
            calls.filter(|call| call.starts_with("271 ")).count() == 8
        };
        while ready.load(Relaxed) < 8 || !asleep() {
            std::thread::yield_now();
        }
        for _ in 0..100 {
            flip(&f).unwrap();
            for dir in [Direction::Install, Direction::Remove] {
                // SAFETY: generated functions that can bear both forms.
                unsafe { process::apply(&displaced.sites, displaced.kind, dir) }.unwrap();
                (displaced.check)();
            }
        }
        stop.store(true, Relaxed);
        assert_eq!(sys::write(pipe[1], &[1]), Ok(1));
    });
    for fd in pipe {
        sys::close(fd).unwrap();
    }
}
