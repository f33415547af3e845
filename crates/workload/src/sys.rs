//! The few things a busy Unix program does for which Rust has no safe function: `fork`, signal
//! handlers, `epoll_wait`, signals to one thread.
//!
//! # Safety
//! The only unsafe code of this crate. Nothing unsafe is left to the callers: every function is safe
//! for all arguments, and what runs in a handler or in a forked child is fixed here.

#![allow(
    unsafe_code,
    reason = "fork, sigaction and epoll_wait have no safe form in std; a workload without them would not show what textpoke must endure"
)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

static HANDLED: AtomicU64 = AtomicU64::new(0);
static ASKED_TO_STOP: AtomicBool = AtomicBool::new(false);

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

extern "C" fn count_signal(_signal: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

extern "C" fn note_stop(_signal: libc::c_int) {
    ASKED_TO_STOP.store(true, Ordering::Relaxed);
}

/// How often SIGUSR1 was handled in this process.
pub(crate) fn signals_handled() -> u64 {
    HANDLED.load(Ordering::Relaxed)
}

/// Whether SIGTERM or SIGINT came.
pub(crate) fn asked_to_stop() -> bool {
    ASKED_TO_STOP.load(Ordering::Relaxed)
}

/// Counts SIGUSR1; notes SIGTERM and, unless `ignore_interrupt`, SIGINT.
pub(crate) fn install_handlers(ignore_interrupt: bool) -> io::Result<()> {
    let count = count_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
    let stop = note_stop as extern "C" fn(libc::c_int) as libc::sighandler_t;
    let interrupt = if ignore_interrupt { libc::SIG_IGN } else { stop };
    for (signal, action) in [(libc::SIGUSR1, count), (libc::SIGTERM, stop), (libc::SIGINT, interrupt)] {
        // SAFETY: all-zero is a valid sigaction: no flags, empty mask, default action.
        let mut new: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        new.sa_sigaction = action;
        new.sa_flags = libc::SA_RESTART;
        // SAFETY: 1. `new` is initialised and lives through the call; the old action is not asked for.
        // 2. The handlers only touch an atomic, which is async-signal-safe, and never unwind.
        check(unsafe { libc::sigaction(signal, &new, ptr::null_mut()) })?;
    }
    Ok(())
}

/// Blocks, or unblocks, the two signals that ask to stop, in the calling thread and those that it will create.
pub(crate) fn block_stop_signals(block: bool) -> io::Result<()> {
    let mut set = MaybeUninit::uninit();
    let how = if block { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    // SAFETY: 1. sigemptyset initialises the set before anything reads it. 2. The old mask is not asked for.
    let result = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
        libc::sigaddset(set.as_mut_ptr(), libc::SIGINT);
        libc::pthread_sigmask(how, set.as_ptr(), ptr::null_mut())
    };
    match result {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// The kernel's number of the calling thread.
pub(crate) fn thread_id() -> i32 {
    // SAFETY: takes nothing, changes nothing, cannot fail.
    unsafe { libc::gettid() }
}

/// Sends SIGUSR1 to one thread of this process.
pub(crate) fn signal_thread(thread_id: i32) -> io::Result<()> {
    // SAFETY: takes numbers only. With our own process id it reaches nobody else, and SIGUSR1 has a handler or,
    // before `install_handlers`, ends the process: neither touches memory.
    let result = unsafe {
        libc::syscall(
            libc::SYS_tgkill,
            libc::c_long::from(libc::getpid()),
            libc::c_long::from(thread_id),
            libc::c_long::from(libc::SIGUSR1),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What a forked child answers: plain arithmetic, so that it is allowed between fork and exit.
#[inline(never)]
pub(crate) fn fork_answer(seed: u64) -> u8 {
    let mut stream = crate::checksum::SplitMix::new(seed);
    (0..100).fold(0, |sum, _| sum ^ stream.next().to_le_bytes()[0])
}

/// Forks, lets the child work out [`fork_answer`], and returns what it says.
pub(crate) fn fork_and_ask(seed: u64) -> io::Result<u8> {
    // SAFETY: the child of a process with threads may only do what is async-signal-safe: it does arithmetic on
    // its own stack and ends by _exit, so no destructor, no lock and no buffer of the parent is touched.
    let child = check(unsafe { libc::fork() })?;
    if child == 0 {
        let answer = fork_answer(seed);
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(i32::from(answer)) }
    }
    let mut status = 0;
    loop {
        // SAFETY: `status` is a valid int for the call, `child` is our own unreaped child.
        match check(unsafe { libc::waitpid(child, &mut status, 0) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    if libc::WIFEXITED(status) {
        let code = libc::WEXITSTATUS(status);
        Ok(u8::try_from(code).expect("the kernel keeps 8 bits"))
    } else {
        let signal = libc::WTERMSIG(status);
        Err(io::Error::other(format!("the child died of signal {signal}")))
    }
}

/// Waits until `fd` can be read or has ended, `timeout` at most. True: it can.
pub(crate) fn poll_readable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let milliseconds = libc::c_int::try_from(timeout.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: one entry, valid for the call; the descriptor is open, as it is borrowed.
    let ready = check(unsafe { libc::poll(&mut entry, 1, milliseconds) })?;
    Ok(ready > 0)
}

/// An epoll instance.
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes flags only.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel just opened `fd`, nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// From now on [`Epoll::wait`] returns when `fd` can be read or has ended. A closed `fd` is simply forgotten.
    pub fn watch(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: 0 };
        // SAFETY: both descriptors are open, `event` is valid for the call and copied by the kernel.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &mut event) })?;
        Ok(())
    }

    /// Sleeps until something happens; deliberately without a retry after EINTR.
    pub fn wait(&self) -> io::Result<()> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: room for exactly the one event that is asked for.
        check(unsafe { libc::epoll_wait(self.0.as_raw_fd(), &mut event, 1, -1) })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn a_forked_child_answers() {
        for seed in 0..3 {
            assert_eq!(fork_and_ask(seed).expect("a child"), fork_answer(seed));
        }
    }

    #[test]
    fn a_signal_reaches_the_handler() {
        install_handlers(true).expect("handlers");
        let before = signals_handled();
        signal_thread(thread_id()).expect("a signal");
        assert_eq!(signals_handled(), before + 1);
    }

    #[test]
    fn a_pipe_wakes_both_kinds_of_sleeper() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let short = Duration::from_millis(1);
        assert!(!poll_readable(reader.as_fd(), short).expect("poll"));
        writer.write_all(b"x").expect("a byte");
        assert!(poll_readable(reader.as_fd(), short).expect("poll"));
        let epoll = Epoll::new().expect("epoll");
        epoll.watch(reader.as_fd()).expect("watch");
        epoll.wait().expect("an event");
    }
}
