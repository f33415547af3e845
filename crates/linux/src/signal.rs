//! Signals as the kernel defines them: actions, `siginfo`, and the way back from a handler.

pub use crate::arch::{Action, CODE_TRAP};

/// SIGTRAP.
pub const SIGTRAP: i32 = 5;
/// `si_code` of a signal sent with data (`SI_QUEUE`).
pub const CODE_QUEUE: i32 = -1;

/// Default action.
pub const SIG_DFL: usize = 0;
/// Ignored.
pub const SIG_IGN: usize = 1;

/// The handler gets three arguments.
pub const SA_SIGINFO: u64 = 4;
/// Interrupted system calls are restarted where they can be.
pub const SA_RESTART: u64 = 0x1000_0000;
/// On the alternate stack where the thread has one.
pub const SA_ONSTACK: u64 = 0x0800_0000;
/// The signal itself stays unblocked in its handler.
pub const SA_NODEFER: u64 = 0x4000_0000;
/// Back to the default action after the first time.
pub const SA_RESETHAND: u64 = 0x8000_0000;

/// The bit of a signal in a mask.
pub const fn bit(sig: i32) -> u64 {
    1 << (sig - 1)
}

/// What a trap handler blocks while it runs: everything that comes from outside, so that no other handler runs on top
/// of it and none can leave it with a jump. Signals that the handler's own instructions could raise stay deliverable:
/// when emulating a CALL runs into the stack's guard page, the program's SIGSEGV handler must see it as it would have.
pub const TRAP_MASK: u64 = !(bit(4) | bit(SIGTRAP) | bit(7) | bit(8) | bit(11) | bit(31));

/// A signal handler with three arguments.
pub type Handler = unsafe extern "C" fn(i32, *mut Info, *mut crate::ucontext::UContext);

impl Action {
    /// The default action.
    pub const DEFAULT: Self = Self::new(SIG_DFL, 0, 0, 0);

    /// The action with which a trap handler wants to be installed.
    ///
    /// On the alternate stack where there is one, because the interrupted stack may be full; SIGTRAP itself is not
    /// blocked, because a trap in a thread that blocks SIGTRAP kills the process. `restart`: whether a system call that
    /// a *directed* SIGTRAP interrupts goes on, which should be what the program's own action said.
    pub fn for_traps(handler: Handler, restart: bool) -> Self {
        Self::for_traps_at(handler as usize, restart, crate::arch::restorer_address())
    }

    /// The same for a handler and restorer given as addresses, in another process for example.
    pub const fn for_traps_at(handler: usize, restart: bool, restorer: usize) -> Self {
        let flags =
            SA_SIGINFO | SA_ONSTACK | SA_NODEFER | crate::arch::SA_RESTORER | if restart { SA_RESTART } else { 0 };
        Self::new(handler, flags, restorer, TRAP_MASK)
    }
}

/// The kernel's `siginfo_t`; the fields behind `code` are those of a queued signal.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// Signal number.
    pub signo: i32,
    /// Error number, mostly 0.
    pub errno: i32,
    /// Who raised it.
    pub code: i32,
    pad: i32,
    /// Process of the sender (queued signals).
    pub pid: i32,
    /// User of the sender (queued signals).
    pub uid: u32,
    /// Data that came along (queued signals).
    pub value: u64,
    rest: [u64; 12],
}

impl Info {
    /// A SIGTRAP with data from process `pid`.
    pub const fn queued(pid: i32, value: u64) -> Self {
        Self { signo: SIGTRAP, errno: 0, code: CODE_QUEUE, pad: 0, pid, uid: 0, value, rest: [0; 12] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_the_kernels() {
        assert_eq!(size_of::<Info>(), 128);
        assert_eq!(core::mem::offset_of!(Info, value), 24);
        assert_eq!(core::mem::offset_of!(Action, mask), size_of::<Action>() - 8);
    }

    #[test]
    fn a_handler_can_be_hit_by_its_own_faults_but_by_nothing_else() {
        for sig in [4, 5, 7, 8, 11, 31] {
            assert_eq!(TRAP_MASK & bit(sig), 0);
        }
        for sig in [1, 2, 10, 14, 27, 34, 64] {
            assert_ne!(TRAP_MASK & bit(sig), 0);
        }
    }
}
