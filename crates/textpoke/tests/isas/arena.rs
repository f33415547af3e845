//! Memory for generated code: written first, executable afterwards, never both.

use textpoke::linux::sys::{self, flags};
use textpoke::linux::{code, process};

/// Code under construction. Stays mapped for good.
pub struct Arena {
    start: u64,
    end: u64,
    at: u64,
}

/// Bytes that the largest page has.
const PAGE: u64 = 0x1_0000;

impl Arena {
    pub fn new(len: u64) -> Self {
        Self::near(0, len)
    }

    /// At `hint`, if there is room.
    pub fn near(hint: u64, len: u64) -> Self {
        let len = len.next_multiple_of(PAGE);
        let (prot, map) = (flags::PROT_READ | flags::PROT_WRITE, flags::MAP_PRIVATE | flags::MAP_ANONYMOUS);
        // SAFETY: fresh memory.
        let start = unsafe { sys::mmap(hint, len, prot, map, -1, 0) }.unwrap();
        Self { start, end: start + len, at: start }
    }

    /// The next address that is `offset` behind a multiple of `align`.
    pub fn next(&mut self, align: u64, offset: u64) -> u64 {
        self.at = self.at.next_multiple_of(align) + offset;
        self.at
    }

    /// Puts bytes at an address; returns the address behind them.
    pub fn put(&mut self, addr: u64, bytes: &[u8]) -> u64 {
        let behind = addr + bytes.len() as u64;
        assert!(self.start <= addr && behind <= self.end, "the arena is full");
        // SAFETY: our own memory, where nobody runs yet.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), addr as *mut u8, bytes.len()) };
        self.at = self.at.max(behind);
        behind
    }

    /// Puts instructions of four bytes.
    pub fn words(&mut self, addr: u64, words: &[u32]) -> u64 {
        words.iter().fold(addr, |addr, word| self.put(addr, &word.to_le_bytes()))
    }

    /// Makes it executable.
    pub fn seal(self) -> Text {
        self.seal_with(0).unwrap()
    }

    /// The same with more protections, if the kernel has them.
    pub fn seal_with(self, prot: u32) -> sys::Result<Text> {
        let len = self.end - self.start;
        // SAFETY: our own memory.
        unsafe { sys::mprotect(self.start, len, flags::PROT_READ | flags::PROT_EXEC | prot) }?;
        process::prepare().unwrap();
        code::ready(self.start, len).unwrap();
        let text = Text { start: self.start, original: Vec::new() };
        Ok(Text { original: text.bytes(len), ..text })
    }
}

/// Finished code, and how it looked when it was finished.
pub struct Text {
    start: u64,
    original: Vec<u8>,
}

impl Text {
    fn bytes(&self, len: u64) -> Vec<u8> {
        // SAFETY: mapped readable for good.
        (0..len).map(|i| unsafe { ((self.start + i) as *const u8).read_volatile() }).collect()
    }

    /// Fails unless every byte and all protections are as they were.
    pub fn assert_untouched(&self) {
        let now = self.bytes(self.original.len() as u64);
        assert_eq!((0..now.len()).find(|&i| now[i] != self.original[i]), None, "offset of the first difference");
        let end = self.start + now.len() as u64;
        let maps = textpoke::linux::maps::read().unwrap();
        for map in maps.iter().filter(|m| m.range.start < end && self.start < m.range.end) {
            assert!(!map.range.prot.writes(), "{map:?}");
        }
    }
}
