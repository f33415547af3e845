//! Who holds the engine's lock of a process, and whether that one is still there.
//!
//! The lock names its holder as the process sees it. That process may live in PID and time namespaces of its own, where
//! threads have other numbers and start times than here.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::proc;

/// Clock ticks of `/proc/PID/stat` in a second (`USER_HZ`, the same on every Linux).
const TICKS: i64 = 100;

/// When a thread was born, as `/proc/TID/stat` says inside the process's time namespace. 0 if it is not there.
pub fn start_time_inside(pid: i32, tid: i32) -> u64 {
    let offset =
        |who: &str| boot_offset(&fs::read_to_string(format!("/proc/{who}/timens_offsets")).unwrap_or_default());
    let stat = fs::read_to_string(format!("/proc/{tid}/stat")).unwrap_or_default();
    let Some((_, start)) = parse_stat(&stat) else { return 0 };
    start.wrapping_add_signed(offset(&pid.to_string()) - offset("self"))
}

/// Whether the holder is there, and is the one that took the lock: `started` is 0 for a thread of the process. In doubt
/// it is.
pub fn is_alive(pid: i32, holder: u32, started: u64) -> bool {
    let Some(tid) = outside(pid, holder) else { return false };
    match fs::read_to_string(format!("/proc/{tid}/stat")) {
        Ok(stat) => {
            let Some((state, _)) = parse_stat(&stat) else { return true };
            let same = started == 0 || start_time_inside(pid, tid).abs_diff(started) <= 1;
            same && !matches!(state, 'Z' | 'X' | 'x')
        }
        Err(e) => e.kind() != std::io::ErrorKind::NotFound && e.raw_os_error() != Some(libc::ESRCH),
    }
}

/// The number here of what has the number `inner` in the PID namespace of a process.
fn outside(pid: i32, inner: u32) -> Option<i32> {
    let namespace = |who: &str| fs::metadata(format!("/proc/{who}/ns/pid")).map(|m| m.ino()).ok();
    let theirs = namespace(&pid.to_string());
    if theirs.is_none() || theirs == namespace("self") {
        return i32::try_from(inner).ok();
    }
    let is_it = |&tid: &i32| proc::inner_pid(tid) as u32 == inner;
    if let Some(thread) = proc::threads(pid).ok()?.into_iter().find(is_it) {
        return Some(thread);
    }
    let processes = fs::read_dir("/proc").ok()?.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    processes.filter(|other: &i32| namespace(&other.to_string()) == theirs).find(is_it)
}

/// State and start time of the text of a `stat` file. The name in it may hold anything, also parentheses.
fn parse_stat(text: &str) -> Option<(char, u64)> {
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.nth(18)?.parse().ok()?))
}

/// How far the boot clock of a time namespace is ahead, in ticks, from the text of `timens_offsets`.
fn boot_offset(text: &str) -> i64 {
    let line = text.lines().find_map(|line| line.strip_prefix("boottime"));
    let mut numbers = line.unwrap_or_default().split_whitespace().map(|n| n.parse::<i64>().unwrap_or(0));
    let (seconds, nanoseconds) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    seconds.saturating_mul(TICKS).saturating_add(nanoseconds * TICKS / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_known_by_its_start_time() {
        let me = std::process::id();
        let pid = me as i32;
        let started = start_time_inside(pid, pid);
        assert!(is_alive(pid, me, 0) && is_alive(pid, me, started));
        assert!(!is_alive(pid, me, started - 10), "another one had this number");
        assert!(!is_alive(pid, 0x3fff_fff0, 0));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let other = child.id();
        while !fs::read_to_string(format!("/proc/{other}/stat")).unwrap().contains(") Z ") {
            std::thread::yield_now();
        }
        assert!(!is_alive(pid, other, 0), "a zombie holds nothing");
        child.wait().unwrap();
    }

    #[test]
    fn texts_of_the_kernel() {
        let stat = "12 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parse_stat(stat), Some(('S', 4711)));
        assert_eq!(parse_stat("12 (a"), None);
        assert_eq!(boot_offset("monotonic           0         0\nboottime           -3  500000000\n"), -250);
        assert_eq!(boot_offset(""), 0);
    }
}
