//! One run of a guest: QEMU, the console, and the end of both.

use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::{Arch, Job};

/// How long kernel and first process may take until the first command begins: one virtual CPU of a busy machine.
const BOOT: Duration = Duration::from_secs(300);
/// How much longer than its limit a command may seem to take from here, where the guest should have ended it.
const GRACE: Duration = Duration::from_secs(60);
/// What begins a frame of `xtask/guest/init.c`.
const FRAME: u8 = 0x1e;

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code, or 128 and the signal.
    pub code: i32,
    /// Everything that it printed.
    pub output: String,
}

/// Boots, and reads the console until the guest has switched itself off. A guest that hangs is ended.
pub fn boot(arch: Arch, kernel: &Path, files: &Path, jobs: &[Job]) -> Result<Vec<Ended>, String> {
    let guest = Guest::start(arch, kernel, files)?;
    let mut log = Log::default();
    let mut limit = BOOT;
    let mut since = Instant::now();
    loop {
        match guest.console.recv_timeout(limit.saturating_sub(since.elapsed())) {
            Ok(bytes) => {
                let before = log.progress();
                log.take(&bytes)?;
                if log.progress() != before {
                    since = Instant::now();
                    limit = jobs.get(log.ended.len()).map_or(GRACE, |job| job.limit + GRACE);
                }
            }
            Err(RecvTimeoutError::Timeout) => return Err(format!("the guest hangs{}", log.whereabouts(jobs))),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if log.done && log.ended.len() == jobs.len() {
        return Ok(log.ended);
    }
    Err(format!("the guest ended too early{}", log.whereabouts(jobs)))
}

struct Guest {
    qemu: Child,
    console: Receiver<Vec<u8>>,
}

impl Guest {
    fn start(arch: Arch, kernel: &Path, files: &Path) -> Result<Self, String> {
        let (console, more): (_, &[&str]) = match arch {
            // With the pointer authentication of QEMU's own making, which takes no time worth speaking of.
            Arch::Arm64 => ("ttyAMA0", &["-cpu", "max,pauth-impdef=on"]),
            Arch::Riscv64 => ("ttyS0", &[]),
        };
        let program = format!("qemu-system-{}", arch.cpu());
        let mut command = Command::new(&program);
        command.args(["-M", "virt", "-smp", "2", "-m", "2G", "-nographic", "-no-reboot", "-nic", "none"]).args(more);
        command.args(["-append", &format!("console={console} quiet loglevel=0 panic=-1")]);
        command.arg("-kernel").arg(kernel).arg("-initrd").arg(files);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut qemu = command.spawn().map_err(|error| format!("cannot run {program}: {error}"))?;
        let mut output = qemu.stdout.take().ok_or("no pipe to QEMU")?;
        let (send, console) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                match output.read(&mut bytes) {
                    Ok(0) => break,
                    Ok(len) if send.send(bytes[..len].to_vec()).is_ok() => {}
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    _ => break,
                }
            }
        });
        Ok(Self { qemu, console })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// The console, cut into commands and their output.
#[derive(Default)]
struct Log {
    ended: Vec<Ended>,
    output: Vec<u8>,
    /// Bytes of a frame that has not ended; `None` outside frames.
    frame: Option<Vec<u8>>,
    begun: usize,
    done: bool,
}

impl Log {
    fn progress(&self) -> (usize, usize, bool) {
        (self.begun, self.ended.len(), self.done)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut echo = Vec::new();
        for &byte in bytes {
            match (&mut self.frame, byte) {
                (None, FRAME) => self.frame = Some(Vec::new()),
                (None, _) => {
                    self.output.push(byte);
                    // The firmware's and the kernel's own words are of interest only where something goes wrong.
                    if self.begun > self.ended.len() {
                        echo.push(byte);
                    }
                }
                (Some(frame), b'\n') => {
                    let frame = std::mem::take(frame);
                    self.frame = None;
                    self.meet(&String::from_utf8_lossy(&frame))?;
                }
                (Some(frame), _) => frame.push(byte),
            }
        }
        let _ = std::io::stdout().write_all(&echo).and_then(|()| std::io::stdout().flush());
        Ok(())
    }

    fn meet(&mut self, frame: &str) -> Result<(), String> {
        let words: Vec<&str> = frame.split_whitespace().collect();
        let number = |word: &str| word.parse::<i32>().map_err(|_| format!("the guest's frame is damaged: {frame:?}"));
        match words[..] {
            ["begin", n, _] if number(n)? as usize == self.begun => {
                self.begun += 1;
                self.output.clear();
            }
            ["end", n, code] if number(n)? as usize == self.ended.len() => {
                let output = String::from_utf8_lossy(&std::mem::take(&mut self.output)).into_owned();
                self.ended.push(Ended { code: number(code)?, output });
            }
            ["late", _, seconds] => println!("the command took longer than {seconds} seconds and was ended"),
            ["done", ..] => self.done = true,
            _ => return Err(format!("the guest's frame makes no sense: {frame:?}")),
        }
        Ok(())
    }

    fn whereabouts(&self, jobs: &[Job]) -> String {
        let last: Vec<&str> = std::str::from_utf8(&self.output).unwrap_or_default().lines().rev().take(20).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        let place = match jobs.get(self.ended.len()) {
            _ if self.begun == 0 => "before its first command".to_owned(),
            Some(job) => format!("in `{}`", job.words.join(" ")),
            None => "behind its last command".to_owned(),
        };
        format!(" {place}; last it said:\n{}", last.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_is_cut_into_commands() {
        let mut log = Log::default();
        for part in
            ["noise\n\u{1e}beg", "in 0 0\nhel", "lo\n\u{1e}end 0 3\n\u{1e}begin 1 0\n\u{1e}end 1 0\n\u{1e}done 2 0\n"]
        {
            log.take(part.as_bytes()).unwrap();
        }
        assert!(log.done);
        assert_eq!(log.ended[0], Ended { code: 3, output: "hello\n".into() });
        assert_eq!(log.ended[1], Ended { code: 0, output: String::new() });
    }

    #[test]
    fn damage_is_no_success() {
        assert!(Log::default().take(b"\x1eend 1 0\n").is_err());
        assert!(Log::default().take(b"\x1ebegin x 0\n").is_err());
        assert!(Log::default().take(b"\x1ewhat\n").is_err());
    }
}
