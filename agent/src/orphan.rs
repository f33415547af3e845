//! What the sidecar does when its tracer was killed: take the patches away where that is safe, and end.
//!
//! Traps are now met by the handler in the target alone, and a thread that runs into one while it blocks SIGTRAP dies of
//! it. So patches are removed only while no thread does. Otherwise they stay: a jump to a probe whose ring nobody reads
//! costs some nanoseconds and harms nothing, and `textpoke repair`, which can catch traps, removes it at any time.
//!
//! The mappings stay in any case, for threads may be inside.

use core::sync::atomic::Ordering::Relaxed;

use textpoke_core::Verdict;
use textpoke_linux::signal::{SIGTRAP, bit};
use textpoke_linux::sys::{self, flags};

use crate::params::control;
use crate::sidecar::Books;
use crate::talk::Line;

/// How often it is tried, and how long it waits in between, in nanoseconds: threads block signals for moments.
const TRIES: u32 = 20;
const PAUSE: u64 = 250_000_000;

/// Removes what is installed, if it can, and ends the process.
pub fn clean_up(line: &Line, books: &mut Books) -> ! {
    let mut tries = 0;
    while let Some(order) = books.last() {
        let handled = control().handler.load(Relaxed) == 1;
        if handled && nobody_blocks(control().target_pid.load(Relaxed)) {
            if !matches!(books.perform(line, order), Some(Verdict::Performed(_))) {
                break;
            }
            continue;
        }
        tries += 1;
        if !handled || tries == TRIES || line.target_is_gone() {
            break;
        }
        sys::nap(PAUSE);
    }
    sys::exit_group(0)
}

/// Whether every thread of the process can take a SIGTRAP. A thread that waits for its vfork child (state D) counts as one
/// that cannot: the child runs in this memory, and whether it blocks signals is not seen here.
fn nobody_blocks(pid: u32) -> bool {
    let mut path = Path::new();
    path.push(b"/proc/").number(pid).push(b"/task\0");
    let Ok(dir) = sys::open(path.bytes(), flags::O_RDONLY | flags::O_DIRECTORY | flags::O_CLOEXEC) else {
        return false;
    };
    let mut entries = [0u8; 2048];
    let all = loop {
        match sys::getdents(dir, &mut entries) {
            Ok(0) => break true,
            Ok(len) if every_entry(&entries[..len.min(entries.len())], |name| can_trap(dir, name)) => {}
            _ => break false,
        }
    };
    let _ = sys::close(dir);
    all
}

/// Whether `test` holds for the name of each `struct linux_dirent64` that is a number.
fn every_entry(mut entries: &[u8], test: impl Fn(&[u8]) -> bool) -> bool {
    const NAME: usize = 19;
    while let Some((&[low, high], name)) = entries.get(16..18).and_then(<[u8]>::as_array).zip(entries.get(NAME..)) {
        let name = name.split(|&b| b == 0).next().unwrap_or_default();
        if name.first().is_some_and(u8::is_ascii_digit) && !test(name) {
            return false;
        }
        let Some(rest) = entries.get(usize::from(u16::from_le_bytes([low, high])).max(NAME)..) else { break };
        entries = rest;
    }
    true
}

fn can_trap(dir: i32, name: &[u8]) -> bool {
    let mut path = Path::new();
    path.push(name).push(b"/status\0");
    let mut text = [0u8; 2048];
    // One that cannot be read has ended.
    let Ok(fd) = sys::open_at(dir, path.bytes(), flags::O_RDONLY | flags::O_CLOEXEC) else { return true };
    let read = sys::read(fd, &mut text);
    let _ = sys::close(fd);
    let Some(text) = read.ok().and_then(|len| text.get(..len)) else { return true };
    let mut state = 0;
    let mut blocked = u64::MAX;
    for line in text.split(|&b| b == b'\n') {
        if let Some(rest) = line.strip_prefix(b"State:\t") {
            state = rest.first().copied().unwrap_or(0);
        } else if let Some(rest) = line.strip_prefix(b"SigBlk:\t") {
            blocked = rest.iter().fold(0, |n, &digit| n << 4 | u64::from((digit as char).to_digit(16).unwrap_or(0)));
        }
    }
    state != b'D' && blocked & bit(SIGTRAP) == 0
}

/// A short path in an array.
struct Path {
    bytes: [u8; 64],
    len: usize,
}

impl Path {
    fn new() -> Self {
        Self { bytes: [0; 64], len: 0 }
    }

    fn push(&mut self, part: &[u8]) -> &mut Self {
        for &byte in part {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = byte;
                self.len += 1;
            }
        }
        self
    }

    fn number(&mut self, number: u32) -> &mut Self {
        let mut power = 1_000_000_000;
        while power > number.max(1) {
            power /= 10;
        }
        while power > 0 {
            self.push(&[b'0' + (number / power % 10) as u8]);
            power /= 10;
        }
        self
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len.min(self.bytes.len())]
    }
}
