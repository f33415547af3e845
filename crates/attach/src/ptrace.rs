//! `ptrace(2)` and `waitpid(2)`, typed. Every call must come from the thread that seized the tracee.

use std::io;
use std::mem;

pub use crate::arch::regs::{Regs, read as regs, write as set_regs};

/// Options that a keeper seizes with: no child of the target gets away unseen.
pub const OPTIONS: i32 = libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACESYSGOOD;

/// One request, whose address and data must be what it demands.
pub(crate) fn call(request: libc::c_uint, tid: i32, addr: usize, data: usize) -> io::Result<()> {
    // SAFETY: the callers below pass the addresses that each request demands; the kernel checks the tracee.
    let done = unsafe { libc::ptrace(request, tid, addr, data) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// [`OPTIONS`], and the tracee dies with the tracer: for processes of our own.
pub const OPTIONS_OF_OURS: i32 = OPTIONS | libc::PTRACE_O_EXITKILL;

/// Changes the options of a stopped tracee.
pub fn set_options(tid: i32, options: i32) -> io::Result<()> {
    call(libc::PTRACE_SETOPTIONS, tid, 0, options as usize)
}

/// Attaches without stopping the thread.
pub fn seize(tid: i32, options: i32) -> io::Result<()> {
    call(libc::PTRACE_SEIZE, tid, 0, options as usize)
}

/// Asks a seized thread to stop.
pub fn interrupt(tid: i32) -> io::Result<()> {
    call(libc::PTRACE_INTERRUPT, tid, 0, 0)
}

/// Lets a stopped thread run, delivering `signal` if it is not 0.
pub fn cont(tid: i32, signal: i32) -> io::Result<()> {
    call(libc::PTRACE_CONT, tid, 0, signal as usize)
}

/// Lets a stopped thread run to the next entry to or exit from a system call, delivering `signal` if it is not 0.
pub fn cont_to_syscall(tid: i32, signal: i32) -> io::Result<()> {
    call(libc::PTRACE_SYSCALL, tid, 0, signal as usize)
}

/// Leaves a thread in its group stop, and hears of it when that ends.
pub fn listen(tid: i32) -> io::Result<()> {
    call(libc::PTRACE_LISTEN, tid, 0, 0)
}

/// Lets go of a stopped thread.
pub fn detach(tid: i32, signal: i32) -> io::Result<()> {
    call(libc::PTRACE_DETACH, tid, 0, signal as usize)
}

/// A set of registers of a stopped thread (`NT_*`), at most as long as `room`; its length is the answer.
pub fn regset(tid: i32, which: usize, room: &mut [u8]) -> io::Result<usize> {
    let mut place = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    call(libc::PTRACE_GETREGSET, tid, which, &raw mut place as usize)?;
    Ok(place.iov_len)
}

/// The message of the last event stop: the new thread or process.
pub fn event_message(tid: i32) -> io::Result<u64> {
    let mut message = 0u64;
    call(libc::PTRACE_GETEVENTMSG, tid, 0, &raw mut message as usize)?;
    Ok(message)
}

/// Whether a thread is stopped at this moment because it executed a trap instruction, reported or not yet.
pub fn stopped_by_trap(tid: i32) -> bool {
    // SAFETY: all-zero is a valid siginfo.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    call(libc::PTRACE_GETSIGINFO, tid, 0, &raw mut info as usize).is_ok()
        && (info.si_signo, info.si_code) == (libc::SIGTRAP, crate::arch::TRAP_CODE)
}

const PTRACE_GETSIGMASK: libc::c_uint = 0x420a;
const PTRACE_SETSIGMASK: libc::c_uint = 0x420b;

/// Which signals a stopped thread blocks; bit `n-1` is signal `n`.
pub fn signal_mask(tid: i32) -> io::Result<u64> {
    let mut mask = 0u64;
    call(PTRACE_GETSIGMASK, tid, 8, &raw mut mask as usize)?;
    Ok(mask)
}

/// Changes which signals a stopped thread blocks.
pub fn set_signal_mask(tid: i32, mask: u64) -> io::Result<()> {
    call(PTRACE_SETSIGMASK, tid, 8, &raw const mask as usize)
}

/// What happened to a tracee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It ended.
    Ended,
    /// It is about to receive a signal.
    Signal(i32),
    /// It cloned, forked or vforked (`PTRACE_EVENT_*`).
    Child(i32),
    /// It replaced its program.
    Exec,
    /// It stopped because of an interrupt, or it is new.
    Stop,
    /// It is in a group stop by this signal.
    GroupStop(i32),
    /// It enters or leaves a system call.
    Syscall,
}

/// Reaps one event of a tracee of *this thread*; `tid` -1 means any. `None` when there is none now.
pub fn wait(tid: i32, block: bool) -> io::Result<Option<(i32, Event)>> {
    let mut status = 0;
    let flags = libc::__WALL | libc::__WNOTHREAD | if block { 0 } else { libc::WNOHANG };
    let got = loop {
        // SAFETY: `status` is a valid place for an int.
        let got = unsafe { libc::waitpid(tid, &raw mut status, flags) };
        if got != -1 {
            break got;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    };
    if got == 0 {
        return Ok(None);
    }
    if !libc::WIFSTOPPED(status) {
        crate::launch::reaped(got, status);
        return Ok(Some((got, Event::Ended)));
    }
    let signal = libc::WSTOPSIG(status);
    let event = match status >> 16 {
        0 if signal == libc::SIGTRAP | 0x80 => Event::Syscall,
        0 => Event::Signal(signal),
        libc::PTRACE_EVENT_STOP if signal == libc::SIGTRAP => Event::Stop,
        libc::PTRACE_EVENT_STOP => Event::GroupStop(signal),
        libc::PTRACE_EVENT_EXEC => Event::Exec,
        child => Event::Child(child),
    };
    Ok(Some((got, event)))
}
