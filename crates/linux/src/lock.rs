//! The lock that lets one batch run at a time, in a process with several copies of this library, and survives a fork or
//! the death of its holder in the middle of one.
//!
//! A fork child gets a copy of the lock word. If another thread of the parent held it, nobody in the child ever will give
//! it back. So a page that the kernel wipes in fork children tells a child apart, and its first caller takes the lock
//! over. A holder that is another process (it shares the memory, or works from outside) may be killed; who waits looks
//! now and then whether it is still there. Either way the epoch grows, by which each copy learns that it has to put
//! things in order.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use crate::sys::{self, Result, Timespec, flags};
use crate::words::{self, Words};

const FREE: u32 = 0;
/// Somebody sleeps.
const WAITED_FOR: u32 = 1 << 31;

/// Values of the mark. A fork child finds 0.
const FORKED: u32 = 0;
pub(crate) const KNOWN: u32 = 1;
const TAKEN_OVER: u32 = 2;

/// How long a thread sleeps that lets somebody outside go first. Nanoseconds.
const COURTESY: u64 = 1_000_000;

/// How long a waiter sleeps before it looks whether the holder is still there. Nanoseconds.
const GLANCE: u64 = 50_000_000;

/// The epoch that this copy of the library knows.
static SEEN: AtomicU32 = AtomicU32::new(0);

/// Holds the lock.
#[derive(Debug)]
pub(crate) struct Guard {
    pub words: &'static Words,
    /// Whether the lock was taken over since this copy held it last: what it protects may be in any state.
    pub renewed: bool,
}

impl Guard {
    /// Declares things to be in order.
    pub fn in_order(&mut self) {
        SEEN.store(self.words.epoch.load(SeqCst), SeqCst);
        self.renewed = false;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let lock = &self.words.lock;
        if lock.swap(FREE, SeqCst) & WAITED_FOR != 0 {
            let _ = sys::futex_wake(lock, 1);
        }
    }
}

/// Takes the lock, waiting for it as long as it takes.
///
/// # Errors
/// When the engine words cannot be had.
pub(crate) fn lock() -> Result<Guard> {
    let words = words::get()?;
    let me = sys::gettid() as u32;
    let mark = words.fork_mark();
    // No thread of a fork child touches the lock before one of them has taken it over.
    if mark.compare_exchange(FORKED, TAKEN_OVER, SeqCst, SeqCst).is_ok() {
        words.lock.store(me | WAITED_FOR, SeqCst);
        words.started.store(0, SeqCst);
        words.epoch.fetch_add(1, SeqCst);
        mark.store(KNOWN, SeqCst);
        return Ok(held(words));
    }
    while mark.load(SeqCst) == TAKEN_OVER {
        sys::yield_now();
    }
    give_way(words);
    if words.lock.compare_exchange(FREE, me, SeqCst, SeqCst).is_err() {
        wait(words, me);
    }
    Ok(held(words))
}

fn held(words: &'static Words) -> Guard {
    Guard { words, renewed: words.epoch.load(SeqCst) != SEEN.load(SeqCst) }
}

/// Lets somebody outside go first, who cannot sleep on the word and would hardly ever find it free where threads take it
/// all the time. Not more often than was asked for: who asked may have been killed.
fn give_way(words: &Words) {
    while words.ahead.fetch_update(SeqCst, SeqCst, |times| times.checked_sub(1)).is_ok() {
        sys::nap(COURTESY);
    }
}

fn wait(words: &Words, me: u32) {
    let lock = &words.lock;
    loop {
        let now = lock.load(SeqCst);
        if now == FREE {
            give_way(words);
            if lock.compare_exchange(FREE, me | WAITED_FOR, SeqCst, SeqCst).is_ok() {
                return;
            }
            continue;
        }
        if now & WAITED_FOR == 0 && lock.compare_exchange(now, now | WAITED_FOR, SeqCst, SeqCst).is_err() {
            continue;
        }
        let slept = sys::futex_wait(lock, now | WAITED_FOR, Some(Timespec::from_nanos(GLANCE)));
        if slept == Err(sys::Errno::TIMEDOUT)
            && lock.load(SeqCst) == now | WAITED_FOR
            && !alive(now & !WAITED_FOR, &words.started)
        {
            // First, so that nobody takes the dead one's start time for ours.
            words.started.store(0, SeqCst);
            if lock.compare_exchange(now | WAITED_FOR, me | WAITED_FOR, SeqCst, SeqCst).is_ok() {
                words.epoch.fetch_add(1, SeqCst);
                return;
            }
        }
    }
}

/// Whether the holder exists, and is the one that took the lock. In doubt it is.
fn alive(tid: u32, started: &AtomicU64) -> bool {
    let mut path = *b"/proc/0000000000/stat\0";
    let mut rest = tid;
    for digit in path[6..16].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    // The kernel takes no leading zeros.
    let first = path[6..16].iter().position(|&digit| digit != b'0').unwrap_or(9);
    path.copy_within(6 + first.., 6);
    let fd = match sys::open(&path, flags::O_RDONLY | flags::O_CLOEXEC) {
        Ok(fd) => fd,
        Err(sys::Errno(2)) => return false,
        Err(_) => return true,
    };
    let mut buf = [0; 1024];
    let read = sys::read(fd, &mut buf);
    let _ = sys::close(fd);
    let text = match read {
        Ok(n) => &buf[..n],
        Err(errno) => return errno != sys::Errno::SRCH,
    };
    // The name in parentheses may hold anything; behind it the state is the first field, the start time the twentieth.
    let Some(behind) = text.iter().rposition(|&byte| byte == b')') else { return true };
    let mut fields = text[behind + 1..].split(|&byte| byte == b' ').filter(|field| !field.is_empty());
    if let Some(b"Z" | b"X" | b"x") = fields.next() {
        return false;
    }
    let start = fields.nth(18).and_then(|field| core::str::from_utf8(field).ok()?.trim().parse::<u64>().ok());
    let known = started.load(SeqCst);
    known == 0 || start.is_none_or(|start| start == known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_alive_until_it_is_gone() {
        let none = AtomicU64::new(0);
        assert!(alive(sys::gettid() as u32, &none) && alive(std::process::id(), &none));
        assert!(!alive(sys::gettid() as u32, &AtomicU64::new(1)), "nothing here has started with the machine");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        let exited = || std::fs::read_to_string(std::format!("/proc/{pid}/stat")).unwrap().contains(") Z ");
        while !exited() {
            sys::yield_now();
        }
        assert!(!alive(pid, &none), "a zombie holds nothing");
        child.wait().unwrap();
        assert!(!alive(pid, &none));
    }

    #[test]
    fn who_works_from_outside_goes_first_but_not_for_ever() {
        let words = words::get().unwrap();
        words.ahead.store(20, SeqCst);
        drop(lock().unwrap());
        assert_eq!(words.ahead.load(SeqCst), 0);
    }

    #[test]
    fn the_lock_of_a_dead_holder_is_taken_over_and_told() {
        drop(lock().unwrap());
        let words = words::get().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let before = {
            let guard = lock().unwrap();
            // As if the child had taken it and been killed: the guard's owner goes without giving it back.
            words.lock.store(child.id(), SeqCst);
            core::mem::forget(guard);
            words.epoch.load(SeqCst)
        };
        drop(lock().unwrap());
        assert_ne!(words.epoch.load(SeqCst), before, "the lock was never given back");
    }
}
