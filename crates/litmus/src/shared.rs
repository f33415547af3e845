//! Counters that outlive the child which counts: a piece of memory that it shares with its parent.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use crate::counts::Counts;

/// Room for a sentence.
const NOTE: usize = 960;

/// What is shared. All zeros is a valid beginning. Each counter has one writer, so that all are read and written
/// relaxed; the parent reads those of a child that is gone, or for a progress bar.
#[repr(C)]
#[derive(Debug)]
pub struct Shared {
    /// Written by the executor and its signal handlers.
    pub executor: Executor,
    /// Written by the patcher.
    pub patcher: Patcher,
    refused: AtomicU32,
    note_len: AtomicU32,
    note: [AtomicU8; NOTE],
}

/// The executor's counters, on cache lines of their own; their names are those of [`Counts`].
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Executor {
    pub executions: AtomicU64,
    pub old: AtomicU64,
    pub new: AtomicU64,
    pub wrong: AtomicU64,
    pub stale: AtomicU64,
    pub segv: AtomicU64,
    pub ill: AtomicU64,
    pub other: AtomicU64,
    pub stray: AtomicU64,
    pub lost: AtomicU64,
}

/// The patcher's counters; likewise.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Patcher {
    pub flips: AtomicU64,
    pub undone: AtomicU64,
    pub hung: AtomicU64,
}

/// Counts one more. One writer.
pub fn count(counter: &AtomicU64) {
    counter.store(counter.load(Relaxed) + 1, Relaxed);
}

impl Shared {
    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        let (e, p) = (&self.executor, &self.patcher);
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        Counts {
            executions: get(&e.executions),
            flips: get(&p.flips),
            undone: get(&p.undone),
            old: get(&e.old),
            new: get(&e.new),
            wrong: get(&e.wrong),
            stale: get(&e.stale),
            segv: get(&e.segv),
            ill: get(&e.ill),
            other: get(&e.other),
            stray: get(&e.stray),
            lost: get(&e.lost),
            hung: get(&p.hung),
            died: 0,
        }
    }

    /// Leaves word of why the child cannot do its work.
    pub fn refuse(&self, why: &str) {
        let why = &why.as_bytes()[..why.len().min(NOTE)];
        for (place, &byte) in self.note.iter().zip(why) {
            place.store(byte, Relaxed);
        }
        self.note_len.store(why.len() as u32, Relaxed);
        // Whoever sees the mark sees the words.
        self.refused.store(1, SeqCst);
    }

    /// That word, if there is one.
    pub fn refusal(&self) -> Option<String> {
        if self.refused.load(SeqCst) == 0 {
            return None;
        }
        let len = (self.note_len.load(Relaxed) as usize).min(NOTE);
        let bytes: Vec<u8> = self.note[..len].iter().map(|b| b.load(Relaxed)).collect();
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The memory, for as long as this lives.
#[derive(Debug)]
pub struct Mapping {
    at: *const Shared,
}

// SAFETY: what is behind the pointer is made of atomics, and mapped until the drop.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Fresh memory and the descriptor that names it, for a child.
    ///
    /// # Errors
    /// The kernel's.
    pub fn create() -> io::Result<(Self, OwnedFd)> {
        // SAFETY: a constant string; the descriptor is nobody's yet.
        let fd = unsafe { libc::memfd_create(c"textpoke-litmus".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: takes numbers only.
        if unsafe { libc::ftruncate(fd.as_raw_fd(), size_of::<Shared>() as libc::off_t) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((Self::open(fd.as_fd())?, fd))
    }

    /// The memory behind a descriptor that came from [`Mapping::create`].
    ///
    /// # Errors
    /// The kernel's, and if it is something else.
    pub fn open(fd: BorrowedFd<'_>) -> io::Result<Self> {
        // A file that is shorter would make accesses fault.
        // SAFETY: takes numbers only.
        if unsafe { libc::lseek(fd.as_raw_fd(), 0, libc::SEEK_END) } != size_of::<Shared>() as libc::off_t {
            return Err(io::Error::other("not the memory of a litmus run"));
        }
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping where the kernel likes it.
        let at =
            unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Shared>(), prot, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self { at: at.cast() }) }
    }
}

impl std::ops::Deref for Mapping {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        // SAFETY: 1. Mapped, page-aligned and long enough until the drop. 2. Atomics of any value are valid.
        unsafe { &*self.at }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: ours, and the borrows have ended.
        unsafe { libc::munmap(self.at.cast_mut().cast(), size_of::<Shared>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_see_the_same() {
        let (parent, fd) = Mapping::create().expect("a memfd");
        let child = Mapping::open(fd.as_fd()).expect("the same");
        count(&child.executor.segv);
        count(&child.patcher.flips);
        assert_eq!(parent.counts(), Counts { segv: 1, flips: 1, ..Counts::default() });
        assert_eq!(parent.refusal(), None);
        child.refuse("because");
        assert_eq!(parent.refusal().as_deref(), Some("because"));
        child.refuse(&"x".repeat(5000));
        assert_eq!(parent.refusal().map(|why| why.len()), Some(NOTE));
    }

    #[test]
    fn something_else_is_not_taken_for_it() {
        let file = std::fs::File::open("/proc/self/exe").expect("ourselves");
        assert!(Mapping::open(file.as_fd()).is_err());
    }
}
