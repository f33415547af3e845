//! Memory for generated code: written first, executable afterwards, never both.

use textpoke::linux::sys::{self, flags};

/// Bytes per page.
pub const PAGE: u64 = 4096;

/// Code under construction, filled with INT3 so that every wrong branch dies. Stays mapped for good.
pub struct Arena {
    start: u64,
    code: Vec<u8>,
}

impl Arena {
    /// Room for `len` bytes, starting at a page.
    pub fn new(len: u64) -> Self {
        let len = len.next_multiple_of(PAGE);
        let (prot, map) = (flags::PROT_READ | flags::PROT_WRITE, flags::MAP_PRIVATE | flags::MAP_ANONYMOUS);
        // SAFETY: fresh memory.
        let start = unsafe { sys::mmap(0, len, prot, map, -1, 0) }.unwrap();
        Self { start, code: vec![0xcc; len as usize] }
    }

    /// Address of the first byte.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Puts bytes at an address of the arena; returns the address behind them.
    pub fn put(&mut self, addr: u64, bytes: &[u8]) -> u64 {
        let at = (addr - self.start) as usize;
        self.code[at..at + bytes.len()].copy_from_slice(bytes);
        addr + bytes.len() as u64
    }

    /// Makes it executable; returns the address range.
    pub fn seal(self) -> Text {
        // SAFETY: our own fresh memory, as long as `code`; nobody runs there yet.
        unsafe {
            core::ptr::copy_nonoverlapping(self.code.as_ptr(), self.start as *mut u8, self.code.len());
            sys::mprotect(self.start, self.code.len() as u64, flags::PROT_READ | flags::PROT_EXEC).unwrap();
        }
        Text { start: self.start, original: self.code }
    }
}

/// Finished code, and how it looked when it was finished.
pub struct Text {
    start: u64,
    original: Vec<u8>,
}

impl Text {
    /// Fails unless every byte is as it was.
    pub fn assert_untouched(&self) {
        for (i, &byte) in self.original.iter().enumerate() {
            let addr = self.start + i as u64;
            // SAFETY: mapped readable for good.
            let now = unsafe { (addr as *const u8).read_volatile() };
            assert_eq!(now, byte, "byte at {addr:#x}, {i} bytes into the arena");
        }
    }

    /// Fails unless the whole arena is one read-only executable mapping.
    pub fn assert_protected(&self) {
        let end = self.start + self.original.len() as u64;
        let maps = textpoke::linux::maps::read().unwrap();
        for map in maps.iter().filter(|m| m.range.start < end && self.start < m.range.end) {
            assert_eq!(map.range.prot, textpoke::linux::Prot::RX, "{map:?}");
        }
    }
}
