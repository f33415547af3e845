//! Waiting for the tracer, and noticing when it or the target is gone.

use core::cell::Cell;
use core::sync::atomic::Ordering::Relaxed;

use textpoke_linux::Errno;
use textpoke_linux::sys::{self, PollFd, Timespec};
use textpoke_trace::control::{Control, Side, ToSidecar, ToTracer};

use crate::arch;

/// How often the other two are looked for while nothing happens, in nanoseconds.
const LOOK_EVERY: u64 = 250_000_000;

/// Who is not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The tracer: patches are to be removed.
    Tracer,
    /// The target: nobody executes this memory any more.
    Target,
}

/// The sidecar's end of the line.
pub struct Line {
    control: &'static Control,
    target: Target,
    /// Once it is gone it stays so: it may have had the turn, and nothing that stands there is a message any more.
    tracer_gone: Cell<bool>,
}

impl Line {
    /// Opens the line; the sidecar has the turn.
    pub fn open(control: &'static Control) -> Self {
        let target = Target::find(control.target_pid.load(Relaxed) as i32);
        Self { control, target, tracer_gone: Cell::new(false) }
    }

    /// Says something, if somebody is there to hear it. Only with the turn.
    pub fn say(&self, what: ToTracer) {
        if self.tracer_gone.get() {
            return;
        }
        self.control.to_tracer.write(what.to_words());
        self.control.turn.pass();
        let _ = sys::futex_wake(&self.control.turn.0, 1);
    }

    /// Waits for the tracer's next message; the turn comes with it. `None` if it means nothing.
    pub fn hear(&self) -> Result<Option<ToSidecar>, Gone> {
        loop {
            if self.tracer_gone.get() {
                return Err(Gone::Tracer);
            }
            let (side, word) = self.control.turn.read();
            if side == Side::Sidecar {
                return Ok(ToSidecar::from_words(self.control.to_sidecar.read()));
            }
            let waited = sys::futex_wait(&self.control.turn.0, word, Some(Timespec::from_nanos(LOOK_EVERY)));
            if waited == Err(Errno::TIMEDOUT) {
                self.look()?;
            }
        }
    }

    /// Whether the tracer was found gone.
    pub fn tracer_is_gone(&self) -> bool {
        self.tracer_gone.get()
    }

    /// Looks for the other two.
    fn look(&self) -> Result<(), Gone> {
        if self.target.is_gone() {
            return Err(Gone::Target);
        }
        let fd = self.control.tracer_fd.load(Relaxed);
        self.tracer_gone.set(fd >= 0 && is_ready(fd));
        if self.tracer_gone.get() { Err(Gone::Tracer) } else { Ok(()) }
    }

    /// Looks for the target only.
    pub fn target_is_gone(&self) -> bool {
        self.target.is_gone()
    }
}

/// The target, in a form that no reuse of process ids confuses, where the kernel has it.
enum Target {
    Fd(i32),
    Pid(i32),
}

const SYS_PIDFD_OPEN: usize = 434;
const POLLIN: i16 = 1;

impl Target {
    fn find(pid: i32) -> Self {
        // SAFETY: touches no memory.
        let fd = unsafe { sys::syscall3(SYS_PIDFD_OPEN, pid as usize, 0, 0) };
        if fd >= 0 { Self::Fd(fd as i32) } else { Self::Pid(pid) }
    }

    fn is_gone(&self) -> bool {
        match *self {
            Self::Fd(fd) => is_ready(fd),
            // SAFETY: signal 0 is not sent.
            Self::Pid(pid) => (unsafe { sys::syscall3(arch::KILL, pid as usize, 0, 0) }) == -(Errno::SRCH.0 as isize),
        }
    }
}

fn is_ready(fd: i32) -> bool {
    let mut fds = [PollFd { fd, events: POLLIN, revents: 0 }];
    matches!(sys::poll(&mut fds, 0), Ok(1..))
}
