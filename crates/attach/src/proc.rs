//! What `/proc` tells of a process and its threads, read without stopping any of them.

use std::fs;
use std::io;

/// The lines of `/proc/PID/status` that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Command name, at most 15 bytes.
    pub name: String,
    /// State letter: R, S, D, T, t, Z, X, I.
    pub state: char,
    /// The process that the thread belongs to.
    pub tgid: i32,
    /// Who traces it, or 0.
    pub tracer: i32,
    /// Effective user.
    pub euid: u32,
    /// Pending for this thread; bit `n-1` is signal `n`.
    pub sig_pending: u64,
    /// Pending for the process.
    pub shared_pending: u64,
    /// Blocked by this thread.
    pub sig_blocked: u64,
    /// Ignored.
    pub sig_ignored: u64,
    /// Caught by a handler.
    pub sig_caught: u64,
    /// 0 none, 1 strict, 2 filter.
    pub seccomp: u32,
    /// Whether a shadow stack guards its return addresses (CET SHSTK).
    pub shadow_stack: bool,
    /// Whether the process has memory of its own to speak of (kernel threads have none).
    pub has_memory: bool,
}

/// Parses the text of a `status` file.
pub fn parse_status(text: &str) -> Status {
    let mut status = Status::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        let number = || value.split_whitespace().next().and_then(|v| v.parse().ok()).unwrap_or(0);
        let mask = || u64::from_str_radix(value, 16).unwrap_or(0);
        match key {
            "Name" => status.name = value.to_owned(),
            "State" => status.state = value.chars().next().unwrap_or('?'),
            "Tgid" => status.tgid = number(),
            "TracerPid" => status.tracer = number(),
            "Uid" => status.euid = value.split_whitespace().nth(1).and_then(|v| v.parse().ok()).unwrap_or(0),
            "SigPnd" => status.sig_pending = mask(),
            "ShdPnd" => status.shared_pending = mask(),
            "SigBlk" => status.sig_blocked = mask(),
            "SigIgn" => status.sig_ignored = mask(),
            "SigCgt" => status.sig_caught = mask(),
            "Seccomp" => status.seccomp = number() as u32,
            "x86_Thread_features" => status.shadow_stack = value.split_whitespace().any(|f| f == "shstk"),
            "VmSize" => status.has_memory = true,
            _ => {}
        }
    }
    status
}

/// Status of a process, or of one thread of it by the thread's id.
pub fn status(id: i32) -> io::Result<Status> {
    Ok(parse_status(&fs::read_to_string(format!("/proc/{id}/status"))?))
}

/// The number that a process has in its own PID namespace.
pub fn inner_pid(pid: i32) -> i32 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("NSpid:"));
    line.and_then(|l| l.split_whitespace().next_back()?.parse().ok()).unwrap_or(pid)
}

/// Status of one thread.
pub fn thread_status(pid: i32, tid: i32) -> io::Result<Status> {
    Ok(parse_status(&fs::read_to_string(format!("/proc/{pid}/task/{tid}/status"))?))
}

/// The threads of a process at this moment.
pub fn threads(pid: i32) -> io::Result<Vec<i32>> {
    let mut tids = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        if let Some(tid) = entry?.file_name().to_str().and_then(|n| n.parse().ok()) {
            tids.push(tid);
        }
    }
    tids.sort_unstable();
    Ok(tids)
}

/// Where a thread is, as `/proc/PID/task/TID/syscall` tells without disturbing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// On a CPU or waiting for one: no telling where.
    Running,
    /// Asleep in the kernel.
    Asleep {
        /// Number of the system call, or -1 when it sleeps for another reason (a page fault).
        call: i64,
        /// Stack pointer in user space.
        sp: u64,
        /// Where it will go on in user space.
        pc: u64,
    },
}

/// A thread that slept in a system call: what is seen of the call without stopping it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleeper {
    /// Number of the system call.
    pub call: i64,
    /// Its arguments.
    pub args: [u64; 6],
    /// Stack pointer in user space.
    pub sp: u64,
    /// Where it will go on in user space.
    pub pc: u64,
    /// How often it has gone to sleep in its life.
    pub sleeps: u64,
}

/// What a thread sleeps in at this moment; `None` unless it sleeps in a system call.
pub fn sleeper(pid: i32, tid: i32) -> Option<Sleeper> {
    let read = |what| fs::read_to_string(format!("/proc/{pid}/task/{tid}/{what}"));
    let sleeps = || parse_sleeps(&read("status").ok()?);
    // The number last: if it was the same before, nothing was between.
    let before = sleeps()?;
    let sleeper = parse_sleeper(&read("syscall").ok()?, before)?;
    (sleeps()? == before).then_some(sleeper)
}

/// How often a thread has gone to sleep.
pub fn sleeps(pid: i32, tid: i32) -> Option<u64> {
    parse_sleeps(&fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).ok()?)
}

fn parse_sleeps(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
}

fn parse_sleeper(syscall: &str, sleeps: u64) -> Option<Sleeper> {
    let Some(Whereabouts::Asleep { call: call @ 0.., sp, pc }) = parse_syscall(syscall) else { return None };
    let mut args = [0; 6];
    for (arg, word) in args.iter_mut().zip(syscall.split_whitespace().skip(1)) {
        *arg = u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()?;
    }
    Some(Sleeper { call, args, sp, pc, sleeps })
}

/// Parses the text of a `syscall` file.
pub fn parse_syscall(text: &str) -> Option<Whereabouts> {
    let text = text.trim();
    if text == "running" {
        return Some(Whereabouts::Running);
    }
    let mut fields = text.split_whitespace();
    let call = fields.next()?.parse().ok()?;
    let mut last = fields.rev();
    let hex = |s: &str| u64::from_str_radix(s.strip_prefix("0x")?, 16).ok();
    let pc = hex(last.next()?)?;
    let sp = hex(last.next()?)?;
    Some(Whereabouts::Asleep { call, sp, pc })
}

/// Where a thread is. An error means that it has ended.
pub fn whereabouts(pid: i32, tid: i32) -> io::Result<Whereabouts> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall"))?;
    parse_syscall(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("unknown form: {text:?}")))
}

/// One line of `/proc/PID/maps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// `PROT_READ` | `PROT_WRITE` | `PROT_EXEC`.
    pub prot: i32,
    /// Whether it is shared.
    pub shared: bool,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Inode, 0 if there is no file.
    pub inode: u64,
    /// Path or name; empty if anonymous.
    pub path: String,
}

/// Parses the text of a `maps` file.
pub fn parse_maps(text: &str) -> Vec<Mapping> {
    text.lines().filter_map(parse_mapping).collect()
}

fn parse_mapping(line: &str) -> Option<Mapping> {
    let mut rest = line;
    let mut field = || {
        rest = rest.trim_start();
        let (one, more) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = more;
        one
    };
    let (start, end) = field().split_once('-')?;
    let perms = field().as_bytes();
    let offset = u64::from_str_radix(field(), 16).ok()?;
    let _device = field();
    let inode = field().parse().ok()?;
    let bit = |i: usize, letter: u8, prot: i32| if perms.get(i) == Some(&letter) { prot } else { 0 };
    Some(Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        prot: bit(0, b'r', libc::PROT_READ) | bit(1, b'w', libc::PROT_WRITE) | bit(2, b'x', libc::PROT_EXEC),
        shared: perms.get(3) == Some(&b's'),
        offset,
        inode,
        path: rest.trim().to_owned(),
    })
}

/// The mappings of a process.
pub fn maps(pid: i32) -> io::Result<Vec<Mapping>> {
    Ok(parse_maps(&fs::read_to_string(format!("/proc/{pid}/maps"))?))
}

/// The value of one entry of the auxiliary vector (`AT_*`), if present.
pub fn auxv(pid: i32, key: u64) -> io::Result<Option<u64>> {
    let bytes = fs::read(format!("/proc/{pid}/auxv"))?;
    let word = |chunk: &[u8]| u64::from_ne_bytes(chunk.try_into().unwrap_or_default());
    Ok(bytes.chunks_exact(16).find(|pair| word(&pair[..8]) == key).map(|pair| word(&pair[8..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines() {
        let text = "Name:\tpython3\nState:\tS (sleeping)\nTgid:\t42\nTracerPid:\t7\nUid:\t1\t2\t3\t4\nVmSize:\t 8 kB\n\
                    x86_Thread_features:\tshstk \n\
                    SigPnd:\t0000000000000010\nSigBlk:\tfffffffe7ffbfeff\nSigCgt:\t0000000000000002\nSeccomp:\t2\n";
        let status = parse_status(text);
        assert_eq!((status.name.as_str(), status.state, status.tgid, status.tracer), ("python3", 'S', 42, 7));
        assert_eq!((status.euid, status.sig_pending, status.seccomp), (2, 0x10, 2));
        assert!(status.has_memory && status.shadow_stack && status.sig_blocked >> 4 & 1 == 1);
    }

    #[test]
    fn syscall_lines() {
        assert_eq!(parse_syscall("running\n"), Some(Whereabouts::Running));
        assert_eq!(
            parse_syscall("232 0x3 0x7ffd 0x20 0xffffffff 0x0 0x0 0x7ffc10 0x7f00e9\n"),
            Some(Whereabouts::Asleep { call: 232, sp: 0x7ffc10, pc: 0x7f00e9 })
        );
        assert_eq!(
            parse_syscall("-1 0x7ffc10 0x7f00e9"),
            Some(Whereabouts::Asleep { call: -1, sp: 0x7ffc10, pc: 0x7f00e9 })
        );
        assert_eq!(parse_syscall(""), None);
        let sleeper = parse_sleeper("232 0x3 0x7ffd 0x20 0xffffffff 0x0 0x9 0x7ffc10 0x7f00e9\n", 5).unwrap();
        assert_eq!((sleeper.call, sleeper.args), (232, [3, 0x7ffd, 0x20, 0xffff_ffff, 0, 9]));
        assert_eq!((sleeper.sp, sleeper.pc, sleeper.sleeps), (0x7ffc10, 0x7f00e9, 5));
        assert_eq!(parse_sleeper("-1 0x7ffc10 0x7f00e9", 5), None);
        assert_eq!(
            parse_sleeps("Name:\tx\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t545\n"),
            Some(150)
        );
    }

    #[test]
    fn mapping_lines() {
        let maps = parse_maps(
            "55d0c0a00000-55d0c0a21000 r-xp 00002000 fe:00 1234                       /tmp/a b\n\
             7ffd1000-7ffd2000 rw-s 00000000 00:01 9 /memfd:textpoke (deleted)\n7f0000-7f1000 ---p 00000000 00:00 0 \n",
        );
        assert_eq!(maps.len(), 3);
        assert_eq!((maps[0].start, maps[0].offset, maps[0].path.as_str()), (0x55d0_c0a0_0000, 0x2000, "/tmp/a b"));
        assert_eq!(maps[0].prot, libc::PROT_READ | libc::PROT_EXEC);
        assert!(maps[1].shared && maps[1].path == "/memfd:textpoke (deleted)");
        assert_eq!((maps[2].prot, maps[2].path.as_str()), (0, ""));
    }

    #[test]
    fn this_process_can_be_read() {
        let me = std::process::id() as i32;
        assert_eq!(status(me).unwrap().tgid, me);
        assert!(threads(me).unwrap().contains(&me));
        assert!(maps(me).unwrap().iter().any(|m| m.path == "[stack]"));
        assert!(auxv(me, libc::AT_ENTRY).unwrap().is_some());
    }
}
