//! The engine words: the one place that all copies of the library in a process share, and others look at from outside.
//!
//! A program and each library that it loads may bring a copy of textpoke along, and `textpoke keys` comes from outside;
//! all patch the same text, one at a time. `docs/keys.md` has the layout, which is an interface.

use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering::SeqCst};

use crate::sys::{self, Errno, Result, flags};
use crate::text::PAGE;

const MARK: u64 = u64::from_le_bytes(*b"textpok1");
/// Distance between two places where the words may be.
const STRIDE: u64 = 0x10000;
const PLACES: u64 = 16;
/// Distances where no place near is free, powers of two: programs that emulators load stand close to others.
const FAR_BELOW: core::ops::RangeInclusive<u32> = 21..=36;
/// The same above programs that stand at the very beginning.
const FAR_ABOVE: core::ops::RangeInclusive<u32> = 32..=35;
/// Program headers of the main program, in the auxiliary vector.
const AT_PHDR: u64 = 3;
/// There is something there already.
const EXIST: Errno = Errno(17);

/// The first page.
#[repr(C)]
#[derive(Debug)]
pub struct Words {
    mark: AtomicU64,
    /// 0, or the holder's thread id, with [`crate::lock`]'s bit for waiters.
    pub(crate) lock: AtomicU32,
    /// How often the lock was taken over.
    pub(crate) epoch: AtomicU32,
    /// The holder's start time, if it is no thread of this process.
    pub(crate) started: AtomicU64,
    /// How often objects with sites came or went.
    pub generation: AtomicU32,
    /// How often whoever wants the lock lets somebody go first who works from outside.
    pub(crate) ahead: AtomicU32,
    /// Address of the changes under way.
    pub changes: AtomicU64,
    /// How many there are.
    pub change_count: AtomicU32,
    reserved: AtomicU32,
    /// Address of the SIGTRAP handler.
    pub(crate) handler: AtomicU64,
    /// Address of the word that points to the table that the handler uses.
    pub(crate) place: AtomicU64,
}

const _: () = assert!(size_of::<Words>() == 64);

impl Words {
    /// How often the lock was taken over from somebody who died, or in a fork child.
    pub fn epoch(&self) -> u32 {
        self.epoch.load(SeqCst)
    }

    /// The word that the kernel wipes in fork children.
    pub(crate) fn fork_mark(&self) -> &AtomicU32 {
        // SAFETY: the second page belongs to the words, is never unmapped, and holds this word only.
        unsafe { &*core::ptr::from_ref(self).cast::<AtomicU32>().byte_add(PAGE as usize) }
    }
}

static KNOWN: AtomicPtr<Words> = AtomicPtr::new(core::ptr::null_mut());

/// The words of this process, if somebody has made them.
pub fn existing() -> Option<&'static Words> {
    let known = KNOWN.load(SeqCst);
    if !known.is_null() {
        // SAFETY: set below; never unmapped.
        return Some(unsafe { &*known });
    }
    let found = places().ok()?.find(|&at| has_mark(at))?;
    Some(remember(found))
}

/// The words of this process, made if nobody has yet.
///
/// # Errors
/// Where /proc is not mounted, the kernel has no `MADV_WIPEONFORK`, or all places are taken.
pub fn get() -> Result<&'static Words> {
    if let Some(words) = existing() {
        return Ok(words);
    }
    let mut reason = EXIST;
    for at in places()? {
        match make(at) {
            Ok(()) => return Ok(remember(at)),
            Err(EXIST) if awaited(at) => return Ok(remember(at)),
            // Taken, or behind the end of the address space.
            Err(errno) => reason = errno,
        }
    }
    Err(reason)
}

fn remember(at: u64) -> &'static Words {
    let words = at as *mut Words;
    KNOWN.store(words, SeqCst);
    // SAFETY: two pages with the mark, which nobody unmaps.
    unsafe { &*words }
}

/// Where the words may be, as `docs/keys.md` has it. Read from the kernel's own copy of the vector, which a dynamic loader
/// that was called by name does not change, and which others can read.
fn places() -> Result<impl Iterator<Item = u64>> {
    let fd = sys::open(b"/proc/self/auxv\0", flags::O_RDONLY | flags::O_CLOEXEC)?;
    let mut buf = [0; 1024];
    let read = sys::read(fd, &mut buf);
    let _ = sys::close(fd);
    let (entries, _) = buf[..read?].as_chunks::<16>();
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    let headers = entries.iter().find(|entry| word(&entry[..8]) == AT_PHDR).map(|entry| word(&entry[8..]));
    let base = headers.ok_or(Errno::INVAL)? & !(STRIDE - 1);
    let near = (1..=PLACES).map(|n| n * STRIDE);
    let below = near.chain(FAR_BELOW.map(|bit| 1 << bit)).filter_map(move |distance| base.checked_sub(distance));
    Ok(below.chain(FAR_ABOVE.filter_map(move |bit| base.checked_add(1 << bit))).filter(|&at| at != 0))
}

/// Makes the words at `at`, if nothing is there. Who comes first wins; the mark is the last thing stored.
fn make(at: u64) -> Result {
    let (prot, how) =
        (flags::PROT_READ | flags::PROT_WRITE, flags::MAP_PRIVATE | flags::MAP_ANONYMOUS | flags::MAP_FIXED_NOREPLACE);
    // SAFETY: replaces nothing.
    let got = unsafe { sys::mmap(at, 2 * PAGE, prot, how, -1, 0) }?;
    let undo = || {
        // SAFETY: just mapped; without the mark nobody uses it.
        let _ = unsafe { sys::munmap(got, 2 * PAGE) };
    };
    if got != at {
        // A kernel before 4.17 takes the address for a hint.
        undo();
        return Err(EXIST);
    }
    // SAFETY: the second page, which is ours.
    if let Err(errno) = unsafe { sys::madvise(at + PAGE, PAGE, flags::MADV_WIPEONFORK) } {
        undo();
        return Err(errno);
    }
    // SAFETY: ours, zeroed, and never unmapped from here on.
    let words = unsafe { &*(at as *const Words) };
    words.fork_mark().store(crate::lock::KNOWN, SeqCst);
    words.mark.store(MARK, SeqCst);
    Ok(())
}

fn has_mark(at: u64) -> bool {
    let mut mark = [0; 8];
    // It may be anybody's memory, or none.
    sys::read_own_memory(at, &mut mark).is_ok_and(|n| n == 8) && u64::from_le_bytes(mark) == MARK
}

/// Whether what stands in the way is the words, perhaps just being made.
fn awaited(at: u64) -> bool {
    let mut mark = [0; 8];
    for _ in 0..1000 {
        if !sys::read_own_memory(at, &mut mark).is_ok_and(|n| n == 8) {
            return false;
        }
        match u64::from_le_bytes(mark) {
            MARK => return true,
            0 => sys::nap(20_000),
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_finds_the_same_words() {
        let all: std::vec::Vec<usize> = std::thread::scope(|scope| {
            let looking: std::vec::Vec<_> =
                (0..8).map(|_| scope.spawn(|| core::ptr::from_ref(get().unwrap()).addr())).collect();
            looking.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(all.iter().all(|&at| at == all[0]));
        // Another copy of the library has nothing but the places.
        let found = places().unwrap().find(|&at| has_mark(at)).unwrap();
        assert_eq!(found as usize, all[0]);
        assert!(awaited(found) && make(found) == Err(EXIST));
    }
}
