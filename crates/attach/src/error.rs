//! What can go wrong, each with what to do about it.

use std::fmt;
use std::io;

use textpoke_core::Verdict;

/// Why a process could not be attached to, patched or released.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// There is no such process.
    NoSuchProcess(i32),
    /// The number belongs to a thread; this is its process.
    IsThread(i32, i32),
    /// It is this process or the shell pipeline's own tracer.
    Myself,
    /// A kernel thread, or a process that is already exiting.
    NoMemory(i32),
    /// It ended, and its parent has not waited for it.
    Zombie(i32),
    /// Stopped by a signal.
    Stopped(i32),
    /// Another tracer has it: its pid, and its name.
    Traced(i32, i32, String),
    /// An earlier textpoke left its mapping behind.
    LeftOver(i32),
    /// Another textpoke traces it at this moment; the pid of its sidecar.
    InUse(i32, i32),
    /// No permission.
    Denied(i32),
    /// A seccomp filter might kill the process for our system calls.
    Seccomp(i32),
    /// The program is of another kind than this tool traces.
    Foreign(i32, &'static str),
    /// The CPU or kernel lacks what the tracer needs.
    Unsupported(&'static str),
    /// The target ended meanwhile.
    Gone(i32),
    /// The target replaced its program meanwhile.
    Execed(i32),
    /// No room near the text for the trampolines.
    NoRoom(u64),
    /// The target refused a system call.
    Remote(&'static str, i32),
    /// An operation of our own failed.
    Io(&'static str, io::Error),
    /// The batch was undone, or could not be.
    Batch(Verdict),
    /// The patches could not be taken out; they are in as before, or the text is half done.
    Removal(Verdict),
    /// It is starting another program all the time.
    Spawning(i32),
    /// A thread did not react to an interrupt.
    Unresponsive(i32),
    /// The sidecar did not answer.
    SidecarLost,
    /// Its engine is locked all the time; the holder's thread id as the process sees it.
    Locked(i32, u32),
    /// A thread stayed in code that was to be removed.
    Inside(u64),
    /// The agent image cannot be used.
    Image(String),
    /// The command could not be started.
    Launch(String, io::Error),
    /// Something in the target is not as this tool left it.
    Damaged(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchProcess(pid) => write!(f, "there is no process {pid}; see `ps -e` for those there are"),
            Self::IsThread(tid, pid) => write!(f, "{tid} is a thread of process {pid}; use -p {pid}"),
            Self::Myself => f.write_str("that is textpoke itself; give the pid of another process"),
            Self::NoMemory(pid) => write!(f, "process {pid} is a kernel thread or is just ending: nothing to trace"),
            Self::Zombie(pid) => {
                write!(f, "process {pid} has ended and waits for its parent (a zombie): nothing to trace")
            }
            Self::Stopped(pid) => {
                write!(f, "process {pid} is stopped (Ctrl-Z or SIGSTOP); let it run first: kill -CONT {pid}")
            }
            Self::Traced(pid, by, name) => {
                write!(f, "process {pid} is already traced by process {by} ({name}); end that one first")
            }
            Self::LeftOver(pid) => {
                write!(
                    f,
                    "process {pid} carries patches of a textpoke that was killed, or of the process that it was forked from; run: textpoke repair {pid}"
                )
            }
            Self::InUse(pid, by) => {
                write!(
                    f,
                    "process {pid} is being traced by another textpoke (sidecar {by}); wait for it or interrupt it"
                )
            }
            Self::Denied(pid) => write!(
                f,
                "not allowed to trace process {pid}: it must be yours and traceable (see kernel.yama.ptrace_scope), or use sudo"
            ),
            Self::Seccomp(pid) => write!(
                f,
                "process {pid} runs under a seccomp filter, which may kill it for the system calls that attaching needs; not attached"
            ),
            Self::Foreign(pid, what) => {
                write!(
                    f,
                    "process {pid} runs a {what} program; only 64-bit {} programs can be traced here",
                    crate::arch::NAME
                )
            }
            Self::Unsupported(what) => write!(f, "this machine cannot trace: {what}"),
            Self::Gone(pid) => write!(f, "process {pid} ended"),
            Self::Execed(pid) => write!(f, "process {pid} replaced its program (exec)"),
            Self::NoRoom(addr) => write!(
                f,
                "no free address space within {} MiB of the code at {addr:#x} for trampolines; trace fewer files (--module)",
                crate::arch::REACH >> 20
            ),
            Self::Remote(call, errno) => {
                write!(f, "{call} in the target failed: {}", io::Error::from_raw_os_error(*errno))
            }
            Self::Io(what, e) => write!(f, "{what}: {e}"),
            Self::Batch(Verdict::Undone(reason)) => write!(
                f,
                "patching failed at step {} ({:?}); everything was put back as it was",
                reason.step, reason.cause
            ),
            Self::Removal(verdict) => write!(
                f,
                "the patches could not be taken out ({verdict:?}); the program runs on with them; run: textpoke repair PID"
            ),
            Self::Spawning(pid) => {
                write!(
                    f,
                    "process {pid} is just starting another program (vfork), which shares its memory until then; try again"
                )
            }
            Self::Unresponsive(tid) => {
                write!(f, "thread {tid} does not react (is it stuck in the kernel?); try again when it does")
            }
            Self::Batch(verdict) => write!(f, "patching ended in {verdict:?}; run: textpoke repair PID"),
            Self::SidecarLost => {
                f.write_str("the helper process in the target stopped answering; run: textpoke repair PID")
            }
            Self::Locked(pid, by) => {
                write!(
                    f,
                    "thread {by} of process {pid} has been changing code for seconds, and lives (is it stopped?); try again"
                )
            }
            Self::Inside(addr) => write!(f, "a thread stays in the code at {addr:#x}; try again when it has moved on"),
            Self::Image(what) => write!(f, "the built-in agent cannot be used ({what}); rebuild textpoke"),
            Self::Launch(program, e) => write!(f, "cannot start {program}: {e}"),
            Self::Damaged(what) => write!(f, "{what}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, e) | Self::Launch(_, e) => Some(e),
            _ => None,
        }
    }
}
