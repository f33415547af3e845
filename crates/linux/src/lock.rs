//! The lock that lets one batch run at a time, and survives a fork in the middle of one.
//!
//! A fork child gets a copy of the lock word. If another thread of the parent held it, nobody in the child ever will give
//! it back. So a page that the kernel wipes in fork children tells a child apart, and its first caller takes the lock
//! over and is told so.

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::SeqCst};

use crate::sys::{self, Result, flags};

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Held, and somebody sleeps.
const WAITED_FOR: u32 = 2;

/// Values of the mark. A fork child finds 0.
const FORKED: u32 = 0;
const KNOWN: u32 = 1;
const TAKEN_OVER: u32 = 2;

static WORD: AtomicU32 = AtomicU32::new(FREE);
static MARK: AtomicPtr<AtomicU32> = AtomicPtr::new(core::ptr::null_mut());

/// Holds the lock.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Whether this is the first time that the lock is held since a fork: what it protects may be in any state.
    pub forked: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if WORD.swap(FREE, SeqCst) == WAITED_FOR {
            let _ = sys::futex_wake(&WORD, 1);
        }
    }
}

/// Takes the lock, waiting for it as long as it takes.
///
/// # Errors
/// When the page that notices forks cannot be had.
pub(crate) fn lock() -> Result<Guard> {
    let mark = mark()?;
    // No thread of a fork child touches WORD before one of them has taken it over.
    if mark.compare_exchange(FORKED, TAKEN_OVER, SeqCst, SeqCst).is_ok() {
        WORD.store(WAITED_FOR, SeqCst);
        mark.store(KNOWN, SeqCst);
        return Ok(Guard { forked: true });
    }
    while mark.load(SeqCst) == TAKEN_OVER {
        sys::yield_now();
    }
    if WORD.compare_exchange(FREE, HELD, SeqCst, SeqCst).is_err() {
        while WORD.swap(WAITED_FOR, SeqCst) != FREE {
            // Interrupted or changed meanwhile: the swap tells.
            let _ = sys::futex_wait(&WORD, WAITED_FOR, None);
        }
    }
    Ok(Guard { forked: false })
}

fn mark() -> Result<&'static AtomicU32> {
    let known = MARK.load(SeqCst);
    if !known.is_null() {
        // SAFETY: set below to a page that is never unmapped.
        return Ok(unsafe { &*known });
    }
    let (read_write, private) = (flags::PROT_READ | flags::PROT_WRITE, flags::MAP_PRIVATE | flags::MAP_ANONYMOUS);
    // SAFETY: fresh memory.
    let page = unsafe { sys::mmap(0, crate::text::PAGE, read_write, private, -1, 0) }?;
    // SAFETY: as above; the page is ours.
    if let Err(errno) = unsafe { sys::madvise(page, crate::text::PAGE, flags::MADV_WIPEONFORK) } {
        // SAFETY: nobody knows it yet.
        let _ = unsafe { sys::munmap(page, crate::text::PAGE) };
        return Err(errno);
    }
    let fresh = page as *mut AtomicU32;
    // SAFETY: page-aligned, zeroed, ours; it becomes 'static by never being unmapped once it is in MARK.
    unsafe { &*fresh }.store(KNOWN, SeqCst);
    match MARK.compare_exchange(core::ptr::null_mut(), fresh, SeqCst, SeqCst) {
        // SAFETY: as above.
        Ok(_) => Ok(unsafe { &*fresh }),
        Err(other) => {
            // SAFETY: another thread was first; nobody knows this page.
            let _ = unsafe { sys::munmap(page, crate::text::PAGE) };
            // SAFETY: as above, the other thread's.
            Ok(unsafe { &*other })
        }
    }
}
