//! The threads of this process as /proc shows them: who blocks what, who sleeps where.

use std::vec::Vec;

use crate::sys::{self, Errno, Result, flags};

/// Thread flags in `/proc/…/stat` of threads that the kernel runs on the process's behalf (io_uring workers). They block
/// all signals, and never execute program code.
const WORKERS: u64 = 0x10 | 0x4000;

/// `/proc/self/task`, open.
#[derive(Debug)]
pub(crate) struct Tasks {
    fd: i32,
    emulator: Emulator,
}

/// Whether a program in between shows its own state where the kernel would show ours: QEMU's user mode passes this folder
/// through, so that it tells where *its* code sleeps and what *it* blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Emulator {
    None,
    /// A thread of its own that never executes program code, if there is one: it is the oldest but the first, which is the
    /// second that the kernel lists (`next_tid` goes by age; numbers begin anew at some time), and blocks everything.
    Of(Option<i32>),
}

/// Signals that no thread blocks all of for anything but an emulator's purposes: those that programs use.
const REAL_TIME: u64 = !0 << 33;

/// What a thread's `status` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// `R`, `S`, `D`, `T`, `t`, `Z`, `X`…
    pub state: u8,
    /// Blocked signals.
    pub blocked: u64,
    /// How often it left a CPU, of its own will or not: when this and the place are the same at two times, it has not
    /// run in between.
    pub switches: u64,
}

/// Where a thread is in user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It runs or is about to: unknown.
    Running,
    /// It does not run, and will go on from here.
    Asleep { sp: u64, pc: u64 },
}

impl Tasks {
    pub fn open() -> Result<Self> {
        let how = flags::O_RDONLY | flags::O_CLOEXEC | flags::O_DIRECTORY;
        let fd = sys::open(b"/proc/self/task\0", how)?;
        let mut tasks = Self { fd, emulator: Emulator::None };
        if !tasks.shows_us() {
            let (first, mut second) = (sys::getpid(), None);
            tasks.each(&mut [0; 4096], |tid| second = second.or((tid != first).then_some(tid)))?;
            tasks.emulator = Emulator::Of(second);
        }
        Ok(tasks)
    }

    /// Whether the calling thread, in the system call that reads it, is shown with this very stack.
    fn shows_us(&self) -> bool {
        const NEAR: u64 = 1 << 16;
        let mark = 0u8;
        let here = &raw const mark as u64;
        matches!(self.place(sys::gettid()), Some(Place::Asleep { sp, .. }) if sp.abs_diff(here) < NEAR)
    }

    /// Whether where threads are can be read here.
    pub fn shows_places(&self) -> bool {
        self.emulator == Emulator::None
    }

    /// All threads at one moment during the call.
    ///
    /// One pass over the directory can miss a thread when another one exits meanwhile, so it is repeated until the
    /// count agrees with the kernel's; [`Errno::AGAIN`] if that does not come about.
    pub fn list(&self) -> Result<Vec<i32>> {
        let mut buf = std::vec![0u8; 32768];
        for _ in 0..100 {
            let before = self.count()?;
            let tids = self.list_once(&mut buf)?;
            if tids.len() == before && self.count()? == before {
                return Ok(tids);
            }
            sys::yield_now();
        }
        Err(Errno::AGAIN)
    }

    /// The threads as one pass shows them: one may be missing when others come and go.
    pub fn list_roughly(&self) -> Result<Vec<i32>> {
        self.list_once(&mut std::vec![0u8; 32768])
    }

    fn count(&self) -> Result<usize> {
        // The kernel shows the number of threads as links of the directory: one each, and two.
        Ok((sys::links(self.fd)? as usize).saturating_sub(2))
    }

    fn list_once(&self, buf: &mut [u8]) -> Result<Vec<i32>> {
        let mut tids = Vec::new();
        self.pass(buf, |tid| tids.push(tid))?;
        Ok(tids)
    }

    /// Calls `f` with each thread, without allocating. Returns whether none can have been missed.
    pub fn each(&self, buf: &mut [u8], f: impl FnMut(i32)) -> Result<bool> {
        let before = self.count()?;
        let seen = self.pass(buf, f)?;
        Ok(seen == before && self.count()? == before)
    }

    /// One pass over the directory.
    fn pass(&self, buf: &mut [u8], mut f: impl FnMut(i32)) -> Result<usize> {
        sys::rewind(self.fd)?;
        let mut seen = 0;
        loop {
            let n = sys::getdents(self.fd, buf)?;
            if n == 0 {
                return Ok(seen);
            }
            let mut rest = &buf[..n];
            // struct linux_dirent64: inode 8, offset 8, length 2, type 1, name.
            while let Some(&[lo, hi]) = rest.get(16..18) {
                let (entry, behind) = rest.split_at(usize::from(u16::from_le_bytes([lo, hi])).clamp(19, rest.len()));
                if let Some(tid) = number(&entry[19..]) {
                    seen += 1;
                    f(tid);
                }
                rest = behind;
            }
        }
    }

    /// The thread's status; `None` when it is gone.
    pub fn status(&self, tid: i32) -> Option<Status> {
        let mut buf = [0; 4096];
        let text = self.read(tid, b"/status\0", &mut buf)?;
        let mut status = Status::default();
        for line in text.split(|&b| b == b'\n') {
            let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
            let value = line[colon + 1..].trim_ascii();
            match &line[..colon] {
                b"State" => status.state = *value.first()?,
                b"SigBlk" => status.blocked = parse(value, 16)?,
                b"voluntary_ctxt_switches" | b"nonvoluntary_ctxt_switches" => status.switches += parse(value, 10)?,
                _ => {}
            }
        }
        Some(status)
    }

    /// Whether the thread never executes program code; `None` when it is gone.
    pub fn is_worker(&self, tid: i32) -> Option<bool> {
        let mut buf = [0; 1024];
        let text = self.read(tid, b"/stat\0", &mut buf)?;
        // The name in parentheses may hold anything; the flags are the seventh field behind it.
        let behind = &text[text.iter().rposition(|&b| b == b')')? + 1..];
        let flags = behind.split(|&b| b == b' ').filter(|f| !f.is_empty()).nth(6)?;
        let worker = parse(flags, 10)? & WORKERS != 0;
        let emulators = || self.status(tid).is_some_and(|status| status.blocked & REAL_TIME == REAL_TIME);
        Some(worker || (self.emulator == Emulator::Of(Some(tid)) && emulators()))
    }

    /// Where the thread is; `None` when it is gone. The calling thread itself counts as asleep in the call.
    pub fn place(&self, tid: i32) -> Option<Place> {
        let mut buf = [0; 512];
        let text = self.read(tid, b"/syscall\0", &mut buf)?.trim_ascii();
        let mut fields = text.rsplit(|&b| b == b' ');
        let (pc, sp) = (fields.next()?, fields.next());
        let hex = |field: &[u8]| parse(field.strip_prefix(b"0x")?, 16);
        match (sp.and_then(hex), hex(pc)) {
            (Some(sp), Some(pc)) => Some(Place::Asleep { sp, pc }),
            _ => Some(Place::Running),
        }
    }

    fn read<'b>(&self, tid: i32, file: &[u8], buf: &'b mut [u8]) -> Option<&'b [u8]> {
        let mut path = [0u8; 32];
        let mut len = 0;
        let mut divisor = 1_000_000_000;
        while divisor > 0 {
            let digit = tid as u32 / divisor % 10;
            if digit > 0 || len > 0 {
                path[len] = b'0' + digit as u8;
                len += 1;
            }
            divisor /= 10;
        }
        path[len..len + file.len()].copy_from_slice(file);
        let fd = sys::open_at(self.fd, &path[..len + file.len()], flags::O_RDONLY | flags::O_CLOEXEC).ok()?;
        let read = sys::read(fd, buf);
        let _ = sys::close(fd);
        read.ok().map(|n| &buf[..n])
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        let _ = sys::close(self.fd);
    }
}

fn number(name: &[u8]) -> Option<i32> {
    let end = name.iter().position(|&b| b == 0)?;
    parse(&name[..end], 10).and_then(|n| i32::try_from(n).ok())
}

fn parse(digits: &[u8], radix: u32) -> Option<u64> {
    u64::from_str_radix(core::str::from_utf8(digits).ok()?, radix).ok()
}

/// A thread that blocks `signal` and may execute program code, if there is one.
///
/// libc blocks all signals for moments when it creates threads or starts programs, so a thread counts only if it is not
/// once seen without for `patience` nanoseconds. One that is ready to run, or an emulator's, may just not have had a CPU, and
/// gets ten times as long.
pub(crate) fn blocker(signal: i32, patience: u64) -> Result<Option<i32>> {
    let tasks = Tasks::open()?;
    let blocks = |tid: &i32| {
        let blocked = |s: Status| s.blocked & crate::signal::bit(signal) != 0 && !b"ZX".contains(&s.state);
        tasks.status(*tid).is_some_and(blocked) && tasks.is_worker(*tid) == Some(false)
    };
    // Masks change at any moment anyway, so that this cannot be more than a likely answer.
    let tids = tasks.list().or_else(|_| tasks.list_roughly())?;
    let mut suspects: Vec<i32> = tids.into_iter().filter(blocks).collect();
    let mut start = None;
    while let Some(&suspect) = suspects.first() {
        let now = sys::now();
        let ready = !tasks.shows_places() || tasks.status(suspect).is_some_and(|status| status.state == b'R');
        let patience = if ready { 10 * patience } else { patience };
        if now - *start.get_or_insert(now) >= patience {
            return Ok(Some(suspect));
        }
        sys::nap(50_000);
        suspects.retain(blocks);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn threads_are_listed_and_their_masks_read() {
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let sleeper = std::thread::spawn(move || {
            sys::set_sigmask(crate::signal::bit(10)).unwrap();
            tell.send(sys::gettid()).unwrap();
            let _ = ended.recv();
        });
        let tid = told.recv().unwrap();
        let tasks = Tasks::open().unwrap();
        let all = tasks.list().unwrap();
        assert!(all.contains(&tid) && all.contains(&sys::gettid()));
        assert_eq!(tasks.status(tid).unwrap().blocked, crate::signal::bit(10));
        assert_eq!(blocker(10, 100_000_000), Ok(Some(tid)));
        assert_eq!(tasks.is_worker(tid), Some(false));
        let asleep = || matches!(tasks.place(tid), Some(Place::Asleep { sp, pc }) if sp != 0 && pc != 0);
        while !asleep() {
            sys::yield_now();
        }
        drop(end);
        sleeper.join().unwrap();
        while tasks.status(tid).is_some() {
            sys::yield_now();
        }
        assert_eq!(tasks.place(tid), None);
    }
}
