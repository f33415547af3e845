//! The SIGTRAP handler in the target: what helps threads on that run into a trap byte while nobody traces them.
//!
//! It runs in any thread at any moment, also in fork children, and uses only the image and TABLE.

use core::sync::atomic::Ordering::Relaxed;

use textpoke_linux::signal::{Action, Handler, Info, SA_NODEFER, SA_RESETHAND, SIG_DFL, SIG_IGN, SIGTRAP, bit};
use textpoke_linux::sys;
use textpoke_linux::trap::on_trap;
use textpoke_linux::ucontext::UContext;
use textpoke_trace::table;

use crate::params::{params, published, table};

/// The handler; the tracer installs it with [`textpoke_linux::signal::Action::for_traps_at`] or stricter.
///
/// # Safety
/// To be called by the kernel, as a signal handler with three arguments.
pub unsafe extern "C" fn handle(signal: i32, info: *mut Info, context: *mut UContext) {
    // A tracer that was killed after it had helped the thread on, and before it could take the signal away. No trap of a
    // site reports a PC in our own code.
    // SAFETY: the kernel's pointer into this thread's own signal frame.
    if params().is_ours(unsafe { (*context).regs.pc() }) {
        return;
    }
    // SAFETY: the kernel's pointers into this thread's own signal frame; the published sites are the tracer's.
    let done = unsafe { on_trap(published(), &*info, &mut *context) };
    if !done {
        // SAFETY: as above.
        unsafe { chain(signal, info, context) };
    }
}

/// Does what would have happened without us.
///
/// # Safety
/// As for [`handle`].
unsafe fn chain(signal: i32, info: *mut Info, context: *mut UContext) {
    let previous = &table().previous;
    let handler = previous.handler.load(Relaxed) as usize;
    // SAFETY: the kernel's pointer.
    let by_kernel = unsafe { (*info).code } > 0;
    match handler {
        // The kernel does not ignore what an instruction raised: it falls back to the default.
        SIG_IGN if !by_kernel => {}
        SIG_DFL | SIG_IGN => die(),
        _ => {
            let flags = previous.flags.load(Relaxed);
            if flags & SA_RESETHAND != 0 {
                previous.handler.store(SIG_DFL as u64, Relaxed);
            }
            // The mask that the program's handler would have had: its thread's, its action's, and the signal itself.
            // SAFETY: the kernel's pointer.
            let interrupted = unsafe { (*context).sigmask };
            let own = if flags & SA_NODEFER == 0 { bit(SIGTRAP) } else { 0 };
            let _ = sys::set_sigmask(interrupted | previous.mask.load(Relaxed) | own);
            // SAFETY: the program installed it as a handler for this signal; a handler of one argument ignores the rest.
            let handler: Handler = unsafe { core::mem::transmute::<usize, Handler>(handler) };
            // SAFETY: with what the kernel passed.
            unsafe { handler(signal, info, context) };
        }
    }
}

/// The default action: ends the process by SIGTRAP, once this handler has returned or at once.
fn die() {
    // SAFETY: the default action runs no code.
    let _ = unsafe { sys::rt_sigaction(SIGTRAP, &Action::DEFAULT, core::ptr::null_mut()) };
    let _ = sys::tgkill(sys::getpid(), sys::gettid(), SIGTRAP);
}

// What the tracer stores and the kernel takes are the same four words.
const _: () = assert!(size_of::<table::Action>() == size_of::<Action>());
