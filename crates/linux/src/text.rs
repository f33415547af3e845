//! Writing to text: two writers, each of which says what width it can write without tearing.
//!
//! | writer | guarantees | costs | refused |
//! |---|---|---|---|
//! | [`Window`] | [`Unit::Eight`] | two `mprotect` per range, nothing per site | under `PR_SET_MDWE` and by some security modules |
//! | [`ProcMem`] | [`Unit::Byte`] | one `pwrite` per write | without /proc, with `proc_mem.force_override=never`; where a trap has more than one byte, unless everybody is parked |
//!
//! Neither replaces a mapping: the pages written to become private copies, as they do under a debugger, and the mapping
//! keeps its file, offset and flags.

use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use textpoke_core::{Site, Unit};

use crate::range::{Prot, Range};
use crate::sys::{self, Errno, Result, flags};

/// Bytes of the smallest page that Linux has anywhere. Where pages are larger, what is done for each is done more often.
pub const PAGE: u64 = 4096;

/// Pages between two sites that are made private along with theirs rather than with a system call of their own.
const GAP: u64 = 8 * PAGE;

/// Text that is writable and executable for the time of a batch.
///
/// There is no way to take execution away meanwhile, as other threads keep running in it.
#[derive(Debug)]
pub struct Window<'a> {
    ranges: &'a [Range],
}

impl<'a> Window<'a> {
    /// The widest store that is not torn.
    pub const GUARANTEES: Unit = Unit::Eight;

    /// Makes `ranges` writable, and the pages of `sites` private and present, so that no store to a site can fail.
    ///
    /// Pages are made private in one go, because the first store to each would otherwise interrupt the other CPUs
    /// singly. That takes Linux 5.14; before, each page is touched with an atomic instruction that changes nothing.
    ///
    /// # Errors
    /// Those of `mprotect` and `madvise`. The ranges have their old protections then.
    ///
    /// # Safety
    /// The ranges must be mapped with the protections that they name, private, and contain all sites, which ascend.
    pub unsafe fn open(ranges: &'a [Range], sites: &[Site]) -> Result<Self> {
        for (i, range) in ranges.iter().enumerate() {
            let prot = range.prot.0 | Prot::RWX.0;
            // SAFETY: more permissions break nobody who runs there.
            if let Err(errno) = unsafe { sys::mprotect(range.start, range.len(), prot) } {
                // What failed may be the second part of a range; taking writability away again needs no new resources.
                let _ = Window { ranges: &ranges[..=i] }.close();
                return Err(errno);
            }
        }
        let window = Self { ranges };
        if let Err(errno) = populate(sites) {
            let _ = window.close();
            return Err(errno);
        }
        Ok(window)
    }

    /// Stores `bytes` at `addr`, so that nobody sees halves of any naturally aligned piece of `unit` bytes.
    ///
    /// # Safety
    /// The bytes must lie in the window, and whoever executes them meanwhile must not be harmed, which is the
    /// protocol's business.
    pub unsafe fn store(&self, addr: u64, bytes: &[u8], unit: Unit) {
        match unit {
            Unit::Byte => {
                for (i, &byte) in bytes.iter().enumerate() {
                    // SAFETY: writable as the caller promises; text is nobody's Rust object, others only execute it.
                    let place = unsafe { AtomicU8::from_ptr((addr + i as u64) as *mut u8) };
                    place.store(byte, Ordering::Release);
                }
            }
            // Every narrower unit lies inside an aligned word.
            _ => {
                let mut rest = bytes;
                let mut addr = addr;
                while !rest.is_empty() {
                    let offset = (addr % 8) as usize;
                    let (piece, behind) = rest.split_at(rest.len().min(8 - offset));
                    // SAFETY: in an aligned word on a page that is writable as the caller promises.
                    unsafe { store_piece(addr, piece) };
                    addr += piece.len() as u64;
                    rest = behind;
                }
            }
        }
    }

    /// Gives the ranges their old protections again. All are tried; the first error is returned, and then it may be
    /// tried again.
    pub fn close(&self) -> Result {
        let mut result = Ok(());
        for range in self.ranges {
            // SAFETY: these are the protections with which everybody but us knows the text.
            let closed = unsafe { sys::mprotect(range.start, range.len(), range.prot.0) };
            result = result.and(closed);
        }
        result
    }
}

/// Stores bytes that lie in one aligned word of 8 bytes at once.
///
/// By a store of their own width where there is one: where instructions may only change singly, a wider store would count
/// as a change of the neighbour, too.
///
/// # Safety
/// The word is mapped writable.
unsafe fn store_piece(addr: u64, piece: &[u8]) {
    // SAFETY: the caller's duty, and aligned: a piece that is as long as its address is aligned.
    unsafe {
        if addr.is_multiple_of(piece.len() as u64) {
            if let Ok(bytes) = piece.try_into() {
                return AtomicU64::from_ptr(addr as *mut u64).store(u64::from_le_bytes(bytes), Ordering::Release);
            }
            if let Ok(bytes) = piece.try_into() {
                return AtomicU32::from_ptr(addr as *mut u32).store(u32::from_le_bytes(bytes), Ordering::Release);
            }
            if let Ok(bytes) = piece.try_into() {
                return AtomicU16::from_ptr(addr as *mut u16).store(u16::from_le_bytes(bytes), Ordering::Release);
            }
        }
        let offset = (addr % 8) as usize;
        store_within(AtomicU64::from_ptr((addr - offset as u64) as *mut u64), offset, piece);
    }
}

/// Replaces some bytes of a word in one store, without losing what somebody else changes in the others meanwhile.
fn store_within(word: &AtomicU64, offset: usize, bytes: &[u8]) {
    let merge = |word: u64| {
        let mut held = word.to_le_bytes();
        held[offset..offset + bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(held)
    };
    let mut seen = word.load(Ordering::Acquire);
    while let Err(now) = word.compare_exchange(seen, merge(seen), Ordering::AcqRel, Ordering::Acquire) {
        seen = now;
    }
}

/// Makes the pages of all sites present and writable, neighbouring ones together.
fn populate(sites: &[Site]) -> Result {
    let page_of = |addr: u64| addr & !(PAGE - 1);
    let mut rest = sites;
    while let Some(first) = rest.first() {
        let (from, mut to) = (page_of(first.addr), 0);
        let near = |to: &mut u64, site: &Site| {
            let joins = *to == 0 || page_of(site.addr) <= *to + GAP;
            if joins {
                *to = page_of(site.end() - 1) + PAGE;
            }
            joins
        };
        let count = rest.iter().take_while(|site| near(&mut to, site)).count();
        let (run, behind) = rest.split_at(count);
        populate_run(from, to, run)?;
        rest = behind;
    }
    Ok(())
}

fn populate_run(from: u64, to: u64, sites: &[Site]) -> Result {
    // SAFETY: faults pages in and changes no contents.
    match unsafe { sys::madvise(from, to - from, flags::MADV_POPULATE_WRITE) } {
        // EINVAL: an older kernel, or a page between that may not be written. ENOMEM (12), EFAULT (14): likewise.
        Err(Errno::INVAL | Errno(12 | 14)) => {
            for addr in sites.iter().flat_map(|site| [site.addr, site.end() - 1]) {
                // SAFETY: a byte of the site, in the window.
                unsafe { crate::arch::touch(addr) };
            }
            Ok(())
        }
        other => other,
    }
}

/// `/proc/PID/mem`: writes in spite of the protections, as a debugger does, so that text stays unwritable for everybody
/// else and no window is open.
#[derive(Debug)]
pub struct ProcMem {
    fd: i32,
}

impl ProcMem {
    /// The widest store that is not torn.
    pub const GUARANTEES: Unit = Unit::Byte;

    /// Opens the calling process's own memory.
    pub fn open() -> Result<Self> {
        sys::open(b"/proc/self/mem\0", flags::O_RDWR | flags::O_CLOEXEC).map(|fd| Self { fd })
    }

    /// Uses a descriptor of `/proc/PID/mem` that somebody else opened; it is closed with the value.
    pub const fn from_fd(fd: i32) -> Self {
        Self { fd }
    }

    /// Reads bytes, readable for the program or not.
    pub fn read(&self, addr: u64, buf: &mut [u8]) -> Result {
        whole(sys::pread(self.fd, buf, addr)?, buf.len())
    }

    /// Makes sure that the byte at `addr` can be stored, and its page private, by storing what is there.
    pub fn claim(&self, addr: u64) -> Result {
        let mut byte = [0];
        self.read(addr, &mut byte)?;
        // SAFETY: the same byte again harms nobody.
        unsafe { self.store(addr, &byte) }
    }

    /// Stores bytes, in any order and widths.
    ///
    /// # Safety
    /// Whoever executes the bytes meanwhile must not be harmed.
    pub unsafe fn store(&self, addr: u64, bytes: &[u8]) -> Result {
        // SAFETY: the caller's duty.
        whole(unsafe { sys::pwrite(self.fd, bytes, addr) }?, bytes.len())
    }
}

fn whole(done: usize, wanted: usize) -> Result {
    // A shorter transfer means that the next page refused: EFAULT.
    if done == wanted { Ok(()) } else { Err(Errno(14)) }
}

impl Drop for ProcMem {
    fn drop(&mut self) {
        let _ = sys::close(self.fd);
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use std::vec::Vec;
    use sys::flags::*;

    /// Two private pages of NOPs, RX.
    fn text() -> Range {
        // SAFETY: fresh memory.
        let start = unsafe { sys::mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) };
        let start = start.unwrap();
        // SAFETY: as above.
        unsafe {
            core::ptr::write_bytes(start as *mut u8, 0x90, 2 * PAGE as usize);
            sys::mprotect(start, 2 * PAGE, Prot::RX.0).unwrap();
        }
        Range::new(start, start + 2 * PAGE, Prot::RX)
    }

    fn bytes(addr: u64, len: usize) -> Vec<u8> {
        // SAFETY: inside `text`.
        (0..len as u64).map(|i| unsafe { ((addr + i) as *const u8).read_volatile() }).collect()
    }

    fn prot_of(addr: u64) -> std::string::String {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| {
            let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
            (u64::from_str_radix(start, 16).unwrap()..u64::from_str_radix(end, 16).unwrap()).contains(&addr)
        });
        line.unwrap().split(' ').nth(1).unwrap().into()
    }

    #[test]
    fn a_window_writes_any_width_and_leaves_no_trace() {
        let range = text();
        let sites = [
            Site::single(range.start + 6, &[0x90; 5], &[0xcc; 5]).unwrap(),
            Site::single(range.start + PAGE - 3, &[0x90; 5], &[0xcc; 5]).unwrap(),
        ];
        // SAFETY: the range is ours and nobody runs there.
        let window = unsafe { Window::open(core::slice::from_ref(&range), &sites) }.unwrap();
        assert_eq!(prot_of(range.start), "rwxp");
        for (site, unit) in sites.iter().zip([Unit::Byte, Unit::Eight]) {
            // SAFETY: as above.
            unsafe { window.store(site.addr, &[1, 2, 3, 4, 5], unit) };
            assert_eq!(bytes(site.addr - 1, 7), [0x90, 1, 2, 3, 4, 5, 0x90]);
        }
        window.close().unwrap();
        assert_eq!((prot_of(range.start), prot_of(range.start + PAGE)), ("r-xp".into(), "r-xp".into()));
    }

    #[test]
    fn proc_mem_writes_through_the_protections() {
        let range = text();
        let mem = ProcMem::open().unwrap();
        let addr = range.start + PAGE - 2;
        // SAFETY: nobody runs there.
        unsafe { mem.store(addr, &[1, 2, 3, 4]) }.unwrap();
        assert_eq!(bytes(addr - 1, 6), [0x90, 1, 2, 3, 4, 0x90]);
        let mut read = [0; 4];
        mem.read(addr, &mut read).unwrap();
        assert_eq!(read, [1, 2, 3, 4]);
        assert_eq!(prot_of(range.start), "r-xp");
        assert!(mem.read(8, &mut read).is_err(), "nothing is mapped at 8");
    }

    #[test]
    fn a_window_that_cannot_open_restores_what_it_had_opened() {
        let good = text();
        let gone = text();
        // SAFETY: nobody uses it.
        unsafe { sys::munmap(gone.start, gone.len()) }.unwrap();
        let mut ranges = [good, gone];
        ranges.sort_by_key(|r| r.start);
        let site = [Site::single(good.start, &[0x90], &[0xc3]).unwrap()];
        // SAFETY: the bad range is what is tested: nothing is mapped there.
        assert!(unsafe { Window::open(&ranges, &site) }.is_err());
        assert_eq!(prot_of(good.start), "r-xp");
    }
}
