//! The memory of another process, read page by page and remembered.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use textpoke_keys::find::Memory;

const PAGE: u64 = 4096;
/// So many pages are remembered at most.
const MOST_PAGES: usize = 16 << 10;

/// Reads `/proc/PID/mem`. What was read once is not read again: names lie close together.
pub struct Pages<'a> {
    file: &'a File,
    pages: HashMap<u64, Option<Box<[u8; PAGE as usize]>>>,
}

impl<'a> Pages<'a> {
    /// Nothing is read yet.
    pub fn new(file: &'a File) -> Self {
        Self { file, pages: HashMap::new() }
    }

    fn page(&mut self, at: u64) -> Option<&[u8; PAGE as usize]> {
        if self.pages.len() >= MOST_PAGES {
            self.pages.clear();
        }
        let file = self.file;
        let read = || {
            let mut page = Box::new([0; PAGE as usize]);
            file.read_exact_at(&mut page[..], at).is_ok().then_some(page)
        };
        self.pages.entry(at).or_insert_with(read).as_deref()
    }
}

impl Memory for Pages<'_> {
    fn read(&mut self, addr: u64, buf: &mut [u8]) -> bool {
        // Offsets in files are signed.
        let Some(end) = addr.checked_add(buf.len() as u64).filter(|&end| end < 1 << 63) else { return false };
        if end - addr > PAGE {
            return self.file.read_exact_at(buf, addr).is_ok();
        }
        let mut at = addr;
        while at < end {
            let (page, from) = (at & !(PAGE - 1), (at % PAGE) as usize);
            let len = (end - at).min(PAGE - at % PAGE) as usize;
            let Some(bytes) = self.page(page) else { return false };
            buf[(at - addr) as usize..][..len].copy_from_slice(&bytes[from..from + len]);
            at += len as u64;
        }
        true
    }
}
