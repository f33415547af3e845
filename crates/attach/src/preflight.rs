//! Everything that can be refused before the target is touched.

use std::fs::File;
use std::io::{self, Read};

use crate::arch;
pub use crate::arch::features;
use crate::error::Error;
use crate::proc;

/// The name that every mapping of ours carries in `/proc/PID/maps`.
pub const MAPPING_NAME: &str = "/memfd:textpoke";

/// Looks at a process and refuses it with a reason, or lets it pass.
pub fn check(pid: i32) -> Result<(), Error> {
    let me = std::process::id() as i32;
    if pid == me {
        return Err(Error::Myself);
    }
    let status = exists(pid)?;
    if status.state == 'T' {
        return Err(Error::Stopped(pid));
    }
    if status.tracer != 0 {
        let name = proc::status(status.tracer).map(|s| s.name).unwrap_or_default();
        return Err(Error::Traced(pid, status.tracer, name));
    }
    program(pid)?;
    for tid in proc::threads(pid).map_err(|_| Error::Gone(pid))? {
        if proc::thread_status(pid, tid).is_ok_and(|s| s.seccomp != 0) {
            return Err(Error::Seccomp(pid));
        }
    }
    features(pid)
}

/// The status of a process that is one, has not ended, and has memory.
pub fn exists(pid: i32) -> Result<proc::Status, Error> {
    let status = match proc::status(pid) {
        Ok(status) => status,
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Err(Error::Denied(pid)),
        Err(_) => return Err(Error::NoSuchProcess(pid)),
    };
    if status.tgid != pid {
        return Err(Error::IsThread(pid, status.tgid));
    }
    if matches!(status.state, 'Z' | 'X') {
        return Err(Error::Zombie(pid));
    }
    if status.has_memory { Ok(status) } else { Err(Error::NoMemory(pid)) }
}

/// Whether the process runs a program of the kind that can be traced.
pub fn program(pid: i32) -> Result<(), Error> {
    let mut head = [0; 20];
    let exe = File::open(format!("/proc/{pid}/exe")).and_then(|mut f| f.read_exact(&mut head));
    match exe {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Err(Error::Denied(pid)),
        Err(_) => return Err(Error::Gone(pid)),
        Ok(()) => {}
    }
    match (head[4], u16::from_le_bytes([head[18], head[19]])) {
        _ if head[..4] != *b"\x7fELF" => Err(Error::Foreign(pid, "non-ELF")),
        (1, _) => Err(Error::Foreign(pid, "32-bit")),
        (2, machine) if machine == arch::MACHINE.0 => Ok(()),
        _ => Err(Error::Foreign(pid, "foreign-architecture")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn strange_pids_are_refused_with_their_reason() {
        assert!(matches!(check(std::process::id() as i32), Err(Error::Myself)));
        assert!(matches!(check(0x3fff_fff0), Err(Error::NoSuchProcess(_))));
        assert!(matches!(check(-1), Err(Error::NoSuchProcess(_))));
        // kthreadd, where it can be seen.
        if proc::status(2).is_ok_and(|s| s.name == "kthreadd") {
            assert!(matches!(check(2), Err(Error::NoMemory(2))));
        }
    }

    #[test]
    fn a_thread_is_told_from_a_process() {
        let (send, receive) = std::sync::mpsc::channel();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            // SAFETY: gettid has no arguments and cannot fail.
            send.send(unsafe { libc::gettid() }).unwrap();
            let _ = stopped.recv();
        });
        let tid = receive.recv().unwrap();
        assert!(matches!(check(tid), Err(Error::IsThread(t, p)) if t == tid && p == std::process::id() as i32));
        drop(stop);
        thread.join().unwrap();
    }

    #[test]
    fn zombies_and_stopped_processes_are_refused() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id() as i32;
        let state = || proc::status(pid).map(|s| s.state).unwrap_or('?');
        let wait_for = |letter| {
            while state() != letter {
                std::thread::yield_now()
            }
        };
        // SAFETY: signals to our own child.
        unsafe { libc::kill(pid, libc::SIGSTOP) };
        wait_for('T');
        assert!(matches!(check(pid), Err(Error::Stopped(_))));
        // SAFETY: as above.
        unsafe { libc::kill(pid, libc::SIGCONT) };
        wait_for('S');
        assert!(check(pid).is_ok());
        child.kill().unwrap();
        wait_for('Z');
        assert!(matches!(check(pid), Err(Error::Zombie(_))));
        child.wait().unwrap();
    }
}
