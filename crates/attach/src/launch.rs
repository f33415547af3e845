//! Starting a program and stopping it where its own code begins: libraries are loaded and initialised, `main` has not
//! run. From there on a launched program is attached to like any other.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, PoisonError};

use textpoke_core::isa::Isa as _;

use crate::arch::Isa;
use crate::error::Error;
use crate::preflight;
use crate::proc;
use crate::ptrace::{self, Event};

/// Ends of launched programs that a keeper reaped: to the kernel it is the same process that waits.
static REAPED: Mutex<Vec<(i32, i32)>> = Mutex::new(Vec::new());

/// Takes note that `pid` was reaped with this wait status.
pub(crate) fn reaped(pid: i32, status: i32) {
    let mut reaped = REAPED.lock().unwrap_or_else(PoisonError::into_inner);
    // Threads and other tracees are of no interest, but are told apart by nobody; a few thousand are enough to remember.
    if reaped.len() == 4096 {
        reaped.remove(0);
    }
    reaped.push((pid, status));
}

/// A started program, stopped at its entry point by SIGSTOP.
#[derive(Debug)]
pub struct Launched {
    child: Child,
}

impl Launched {
    /// Its process.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Waits until it ends.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        match self.child.wait() {
            Err(e) if e.raw_os_error() == Some(libc::ECHILD) => self.reaped_by_keeper().ok_or(e),
            ended => ended,
        }
    }

    fn reaped_by_keeper(&self) -> Option<ExitStatus> {
        let reaped = REAPED.lock().unwrap_or_else(PoisonError::into_inner);
        reaped.iter().rfind(|(pid, _)| *pid == self.pid()).map(|(_, status)| ExitStatus::from_raw(*status))
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        match self.child.try_wait() {
            Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Ok(self.reaped_by_keeper()),
            ended => ended,
        }
    }

    /// Ends it: it was started to be traced and cannot be.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The exit code that a shell would show.
    pub fn code(status: ExitStatus) -> i32 {
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
    }
}

/// Starts `command` and returns when it stands, stopped, at its entry point.
///
/// # Errors
/// [`Error::Launch`] when it cannot be started; [`Error::Foreign`] when it is not an ELF program of this machine's kind.
pub fn launch(mut command: Command) -> Result<Launched, Error> {
    let name = command.get_program().to_string_lossy().into_owned();
    // SAFETY: between fork and exec only an async-signal-safe system call is made.
    unsafe {
        command.pre_exec(|| {
            // SAFETY: no memory is involved; the parent becomes the tracer and sees the exec.
            match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(()),
            }
        });
    }
    // The thread that forks is the tracer, and ends traced no more when this function returns.
    let child = command.spawn().map_err(|e| Error::Launch(name, e))?;
    let mut launched = Launched { child };
    match run_to_entry(launched.pid()) {
        Ok(()) => Ok(launched),
        Err(error) => {
            launched.kill();
            Err(error)
        }
    }
}

fn run_to_entry(pid: i32) -> Result<(), Error> {
    let lost = |e: io::Error| Error::Io("starting the program under control", e);
    // The exec of a TRACEME child stops it with a plain SIGTRAP.
    expect_trap(pid)?;
    preflight::program(pid)?;
    let entry =
        proc::auxv(pid, libc::AT_ENTRY).map_err(lost)?.ok_or(Error::Unsupported("the program has no entry point"))?;
    let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem")).map_err(lost)?;
    let mut old = [0; Isa::TRAP.len()];
    memory.read_exact_at(&mut old, entry).map_err(lost)?;
    // One thread, stopped: a plain write is safe here.
    memory.write_all_at(Isa::TRAP, entry).map_err(lost)?;
    ptrace::cont(pid, 0).map_err(lost)?;
    expect_trap(pid)?;
    preflight::features(pid)?;
    let mut regs = ptrace::regs(pid).map_err(lost)?;
    if regs.pc() != entry + Isa::TRAP_PC_ADVANCE {
        return Err(Error::Damaged(
            "the program trapped before its entry point; run it without textpoke first".to_owned(),
        ));
    }
    regs.set_pc(entry);
    ptrace::set_regs(pid, &regs).map_err(lost)?;
    memory.write_all_at(&old, entry).map_err(lost)?;
    // A stop signal that is delivered on release keeps it where it is until we attach.
    ptrace::detach(pid, libc::SIGSTOP).map_err(lost)
}

/// Waits for the next SIGTRAP, passing other signals on.
fn expect_trap(pid: i32) -> Result<(), Error> {
    loop {
        match ptrace::wait(pid, true) {
            Ok(Some((_, Event::Signal(libc::SIGTRAP)))) => return Ok(()),
            Ok(Some((_, Event::Signal(signal)))) => {
                let _ = ptrace::cont(pid, signal);
            }
            Ok(Some((_, Event::Ended))) | Err(_) => return Err(Error::Gone(pid)),
            Ok(_) => {
                let _ = ptrace::cont(pid, 0);
            }
        }
    }
}
