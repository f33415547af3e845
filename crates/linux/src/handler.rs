//! The SIGTRAP handler of the program that textpoke is linked into.
//!
//! It is installed once and stays: a thread may have executed a trap and not have reached the handler yet, for as long
//! as it is preempted or stopped, and dies there if nobody handles the signal. What is not a trap of ours goes to the
//! action that the program had before, as if textpoke were not there:
//!
//! - a handler is called with the same arguments and with the signals blocked that it asked for. One difference: it
//!   runs on the alternate stack if the thread has one, whether or not it asked for that.
//! - the default action is restored and the same signal is sent again, so that the process dies of it with the core dump
//!   and exit status that it would have had.
//! - ignored means ignored, except for traps of the CPU, which nobody can ignore: there the kernel kills, and so do we.

use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::boxed::Box;

use crate::signal::{Action, CODE_TRAP, Handler, Info, SA_NODEFER, SA_RESETHAND, SA_RESTART, SA_SIGINFO};
use crate::signal::{SIG_DFL, SIG_IGN, SIGTRAP, bit};
use crate::sys;
use crate::sys::Result;
use crate::table::Published;
use crate::trap::{on_coalesced_trap, on_trap};
use crate::ucontext::UContext;
use crate::words::{self, Words};

static FIRST: Published = Published::new();
/// Where the handler looks traps up; never null, and what it pointed to once is never freed.
static CURRENT: AtomicPtr<Published> = AtomicPtr::new((&raw const FIRST).cast_mut());

/// What the program wants for SIGTRAP. Null before the first installation.
static CHAINED: AtomicPtr<Action> = AtomicPtr::new(core::ptr::null_mut());
/// How often the chained handler was called, which matters if it asked to be called once.
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// The word that points to the table of the handler that is installed, which may be another copy's of this library.
fn place() -> &'static AtomicPtr<Published> {
    let shared = words::existing().map_or(0, |words| words.place.load(SeqCst));
    if shared == 0 {
        return &CURRENT;
    }
    // SAFETY: stored by `install`, of this version of the library; the object it is in stays mapped.
    unsafe { &*(shared as *const AtomicPtr<Published>) }
}

/// Where tables are published at the moment.
pub(crate) fn published() -> &'static Published {
    // SAFETY: only pointers to statics and leaked boxes are ever stored.
    unsafe { &*place().load(SeqCst) }
}

/// Where the handler of this copy looks.
fn own() -> &'static Published {
    // SAFETY: as above.
    unsafe { &*CURRENT.load(SeqCst) }
}

/// Starts with an empty place: the old one has handlers inside that will not leave. They keep what they look at.
///
/// Only while no table is published.
pub(crate) fn abandon_published() {
    place().store(Box::leak(Box::new(Published::new())), SeqCst);
}

/// The same with a table published in the new place, before the old one goes: for a fork child whose text has traps.
pub(crate) fn inherit_published(sites: &'static [textpoke_core::Site], dir: textpoke_core::Direction) {
    let fresh = Box::leak(Box::new(Published::new()));
    // SAFETY: nobody else knows the place yet; the sites are static.
    let done = unsafe { fresh.publish(sites, dir, core::ptr::null(), 0) };
    debug_assert!(done.is_ok(), "nobody is inside a new place");
    place().store(fresh, SeqCst);
}

/// Whose SIGTRAP handler is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Installed {
    Ours,
    /// The program has installed one of its own on top of ours.
    Replaced,
    Never,
}

/// Asks the kernel.
pub(crate) fn installed(words: &Words) -> Result<Installed> {
    let action = current(SIGTRAP)?;
    Ok(match words.handler.load(SeqCst) {
        0 => Installed::Never,
        ours if action.handler as u64 == ours => Installed::Ours,
        _ => Installed::Replaced,
    })
}

/// Installs the handler for the first time. One caller at a time.
pub(crate) fn install(words: &Words) -> Result {
    let old = current(SIGTRAP)?;
    // The handler may run the moment it is installed.
    CHAINED.store(Box::leak(Box::new(old)), SeqCst);
    let restart = matches!(old.handler, SIG_DFL | SIG_IGN) || old.flags & SA_RESTART != 0;
    let action = Action::for_traps(on_sigtrap, restart);
    // SAFETY: the handler is async-signal-safe: see `on_sigtrap`.
    unsafe { sys::rt_sigaction(SIGTRAP, &raw const action, core::ptr::null_mut()) }?;
    words.place.store((&raw const CURRENT).addr() as u64, SeqCst);
    words.handler.store(on_sigtrap as *const () as u64, SeqCst);
    Ok(())
}

/// The action of a signal.
pub(crate) fn current(sig: i32) -> Result<Action> {
    let mut action = Action::DEFAULT;
    // SAFETY: only reads the action.
    unsafe { sys::rt_sigaction(sig, core::ptr::null(), &raw mut action) }?;
    Ok(action)
}

/// The handler. It allocates nothing, takes no lock, calls no libc (so that errno stays), and is itself never patched.
unsafe extern "C" fn on_sigtrap(sig: i32, info: *mut Info, context: *mut UContext) {
    // SAFETY: the kernel's pointers into this thread's signal frame.
    let (info, context) = unsafe { (&mut *info, &mut *context) };
    let mut place = own();
    // SAFETY: the frame is our own; the sites are the engine's callers' responsibility.
    while !unsafe { on_trap(place, info, context) } {
        // Tables move to another place only when a handler does not leave the old one.
        if core::ptr::eq(place, own()) {
            // SAFETY: as above.
            return unsafe { pass_on(sig, info, context) };
        }
        place = own();
    }
}

/// For a signal that is none of our traps.
///
/// # Safety
/// The arguments must be those of the calling thread's innermost signal frame.
unsafe fn pass_on(sig: i32, info: &mut Info, context: &mut UContext) {
    if info.code != CODE_TRAP {
        // SAFETY: the caller's duty.
        unsafe { on_coalesced_trap(own(), context) };
    }
    // SAFETY: the caller's duty; nothing is held here that a handler which never returns could keep.
    unsafe { chain(sig, info, context) };
}

/// Does what would have happened without us.
///
/// # Safety
/// The arguments must be those of the calling thread's innermost signal frame.
unsafe fn chain(sig: i32, info: &mut Info, context: &mut UContext) {
    // SAFETY: null or a leaked box.
    let Some(action) = (unsafe { CHAINED.load(SeqCst).as_ref() }) else { return };
    let once = action.flags & SA_RESETHAND != 0 && action.handler > SIG_IGN;
    let handler = if once && CALLS.fetch_add(1, SeqCst) > 0 { SIG_DFL } else { action.handler };
    // Traps of the CPU have positive codes, signals that were sent others.
    if handler == SIG_DFL || (handler == SIG_IGN && info.code > 0) {
        // SAFETY: the default action has no handler to go wrong.
        let _ = unsafe { sys::rt_sigaction(SIGTRAP, &Action::DEFAULT, core::ptr::null_mut()) };
        // Kept back until our return restores the mask, so that the core dump shows the interrupted code and not us.
        let _ = sys::set_sigmask(!0);
        let (pid, tid) = (sys::getpid(), sys::gettid());
        if sys::sigqueue_thread(pid, tid, SIGTRAP, info).is_err() {
            let _ = sys::tgkill(pid, tid, SIGTRAP);
        }
        return;
    }
    if handler == SIG_IGN {
        return;
    }
    let itself = if action.flags & SA_NODEFER == 0 { bit(SIGTRAP) } else { 0 };
    let _ = sys::set_sigmask(context.sigmask | action.mask | itself);
    // SAFETY: the program gave this address as a handler of this kind; both kinds take the number first.
    unsafe {
        if action.flags & SA_SIGINFO != 0 {
            core::mem::transmute::<usize, Handler>(handler)(sig, info, context);
        } else {
            core::mem::transmute::<usize, extern "C" fn(i32)>(handler)(sig);
        }
    }
}
