//! The agent's SIGTRAP handler, for traps that are not ours: the program's own action gets them, or what would have
//! happened without one happens.

#![allow(unsafe_code, reason = "signal actions")]

mod rig;

use std::arch::asm;
use std::mem::offset_of;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::SeqCst};

use rig::Rig;
use textpoke_linux::signal::{Action, SA_NODEFER, SA_RESETHAND, SA_SIGINFO, SIGTRAP, bit};
use textpoke_linux::sys;
use textpoke_trace::table::TableHeader;

/// SIGTRAP has one handler, so that one test runs at a time.
static ONE: Mutex<()> = Mutex::new(());

static CALLS: AtomicU32 = AtomicU32::new(0);
static CODE: AtomicI32 = AtomicI32::new(0);
static MASK: AtomicU64 = AtomicU64::new(0);
static PC: AtomicU64 = AtomicU64::new(0);

extern "C" fn own_handler(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::ucontext_t) {
    assert_eq!(signal, SIGTRAP);
    CALLS.fetch_add(1, SeqCst);
    // SAFETY: the kernel's pointers, passed on.
    let (code, pc) = unsafe { ((*info).si_code, (*context).uc_mcontext.gregs[libc::REG_RIP as usize]) };
    CODE.store(code, SeqCst);
    PC.store(pc as u64, SeqCst);
    MASK.store(mask(), SeqCst);
}

fn mask() -> u64 {
    let mask = sys::set_sigmask(u64::MAX).unwrap();
    sys::set_sigmask(mask).unwrap();
    mask
}

/// Installs the agent's handler over `previous`, as the tracer does.
fn install(rig: &Rig, previous: Action) {
    let [handler, restorer] = [rig.image.trap_handler(), rig.image.restorer()].map(|at| rig.text() + at);
    let place = (rig.regions.table + offset_of!(TableHeader, previous) as u64) as *mut Action;
    let mut action = Action::for_traps_at(handler as usize, true, restorer as usize);
    // Stricter than it asks for, as the tracer may be.
    action.mask = u64::MAX;
    // SAFETY: TABLE of the rig; the agent's handler stays mapped as long as the rig.
    unsafe {
        place.write(previous);
        sys::rt_sigaction(SIGTRAP, &action, std::ptr::null_mut()).unwrap();
    }
}

fn own(flags: u64, mask: u64) -> Action {
    Action { handler: own_handler as *const () as usize, flags: flags | SA_SIGINFO, restorer: 0, mask }
}

/// Executes an INT3 of nobody's and returns where the next instruction is.
fn int3() -> u64 {
    let next: u64;
    // SAFETY: the handler lets the thread go on behind it, or the process ends.
    unsafe { asm!("lea {0}, [rip + 2f]", "int3", "2:", out(reg) next) };
    next
}

fn raise() {
    // SAFETY: to ourselves.
    assert_eq!(unsafe { libc::raise(SIGTRAP) }, 0);
}

/// Runs in a fork child and returns its wait status.
fn in_child(f: impl FnOnce()) -> i32 {
    // SAFETY: the child does what `f` does, and ends.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: no core files of children that are meant to die, then the end.
        unsafe {
            libc::setrlimit(libc::RLIMIT_CORE, &none);
            f();
            libc::_exit(0);
        }
    }
    let mut status = -1;
    // SAFETY: our own child.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    status
}

#[test]
fn the_programs_own_handler_gets_what_is_not_ours_as_if_it_were_installed() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let rig = Rig::new(1, 4096);
    let before = mask();
    for (flags, extra, blocked) in
        [(0, 0, bit(SIGTRAP)), (SA_NODEFER, 0, 0), (0, bit(libc::SIGUSR1), bit(SIGTRAP) | bit(libc::SIGUSR1))]
    {
        install(&rig, own(flags, extra));
        CALLS.store(0, SeqCst);
        let next = int3();
        assert_eq!((CALLS.load(SeqCst), CODE.load(SeqCst)), (1, 0x80));
        assert_eq!(PC.load(SeqCst), next, "as the kernel reports it");
        assert_eq!(MASK.load(SeqCst), before | blocked);
        raise();
        assert_eq!((CALLS.load(SeqCst), CODE.load(SeqCst)), (2, libc::SI_TKILL));
        assert_eq!(mask(), before, "and afterwards the thread's own mask again");
    }
}

#[test]
fn a_handler_for_one_time_is_one_for_one_time() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let rig = Rig::new(1, 4096);
    install(&rig, own(SA_RESETHAND, 0));
    CALLS.store(0, SeqCst);
    let status = in_child(|| {
        int3();
        assert_eq!(CALLS.load(SeqCst), 1);
        int3();
    });
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == SIGTRAP, "{status:#x}");
}

#[test]
fn without_a_handler_a_trap_ends_the_process_as_it_always_did() {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let rig = Rig::new(1, 4096);
    let ignored = Action { handler: 1, ..Action::DEFAULT };
    let died = |status| libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == SIGTRAP;
    install(&rig, Action::DEFAULT);
    assert!(died(in_child(|| _ = int3())));
    assert!(died(in_child(raise)));
    install(&rig, ignored);
    assert!(died(in_child(|| _ = int3())), "the kernel does not let an instruction's trap be ignored");
    assert_eq!(in_child(raise), 0, "a sent one it does");
}
