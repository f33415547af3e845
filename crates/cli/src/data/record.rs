//! The 16-byte record and a streaming reader of record files.

use std::io::{self, Read};

/// Length of a record in bytes.
pub const RECORD_LEN: usize = 16;

/// The site id that marks lost records instead of a site.
pub const LOST_SITE: u32 = 0xff_ffff;

/// Bits of word 1 above the site id: the stack pointer divided by 8, modulo 2^40.
pub const SP_BITS: u32 = 40;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Time stamp counter; never 0 in a committed record.
    pub tsc: u64,
    /// Stack pointer at the site divided by 8, its low [`SP_BITS`] bits; for a marker of loss the
    /// number of lost records (saturating).
    pub sp8: u64,
    /// Site id (24 bits), or [`LOST_SITE`].
    pub site: u32,
}

impl Record {
    /// A record of `site` with the stack pointer `sp` (bytes).
    #[must_use]
    pub fn new(tsc: u64, sp: u64, site: u32) -> Self {
        Self { tsc, sp8: (sp >> 3) & ((1 << SP_BITS) - 1), site: site & LOST_SITE }
    }

    /// A marker: `count` records were lost before this point.
    #[must_use]
    pub fn lost(tsc: u64, count: u64) -> Self {
        Self { tsc, sp8: count.min((1 << SP_BITS) - 1), site: LOST_SITE }
    }

    /// As it lies in a file.
    #[must_use]
    pub fn to_bytes(self) -> [u8; RECORD_LEN] {
        let mut bytes = [0; RECORD_LEN];
        bytes[..8].copy_from_slice(&self.tsc.to_le_bytes());
        bytes[8..].copy_from_slice(&((self.sp8 << 24) | u64::from(self.site)).to_le_bytes());
        bytes
    }

    /// From the bytes in a file.
    #[must_use]
    pub fn from_bytes(bytes: [u8; RECORD_LEN]) -> Self {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        Self::from_words([word(0), word(8)])
    }

    /// From the two words in a ring.
    #[must_use]
    pub fn from_words([tsc, meaning]: [u64; 2]) -> Self {
        Self { tsc, sp8: meaning >> 24, site: (meaning & u64::from(LOST_SITE)) as u32 }
    }
}

/// Bytes per read: large enough that system calls do not show, small enough for a cache.
const CHUNK: usize = 256 * 1024;

/// Reads records from a file front to back with constant memory.
#[derive(Debug)]
pub struct RecordReader<R> {
    input: R,
    buffer: Vec<u8>,
    /// Unread records are at `at..end` of the buffer.
    at: usize,
    end: usize,
    finished: bool,
    /// Bytes after the last whole record.
    torn: usize,
}

impl<R: Read> RecordReader<R> {
    /// A reader from the start of `input`.
    pub fn new(input: R) -> Self {
        Self { input, buffer: vec![0; CHUNK], at: 0, end: 0, finished: false, torn: 0 }
    }

    /// The next record; `None` at the end. Slots that were never committed (time 0) are skipped.
    ///
    /// # Errors
    /// What reading the file returns.
    pub fn next_record(&mut self) -> io::Result<Option<Record>> {
        loop {
            if self.end - self.at < RECORD_LEN {
                if self.finished {
                    self.torn = self.end - self.at;
                    return Ok(None);
                }
                self.fill()?;
                continue;
            }
            let bytes = std::array::from_fn(|i| self.buffer[self.at + i]);
            self.at += RECORD_LEN;
            let record = Record::from_bytes(bytes);
            if record.tsc != 0 {
                return Ok(Some(record));
            }
        }
    }

    /// After the end: bytes of an incomplete last record, 0 for a whole file.
    #[must_use]
    pub fn torn_bytes(&self) -> usize {
        self.torn
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.at..self.end, 0);
        self.end -= self.at;
        self.at = 0;
        match self.input.read(&mut self.buffer[self.end..]) {
            Ok(0) => self.finished = true,
            Ok(n) => self.end += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_time_then_stack_and_site() {
        let record = Record::new(0x1122_3344_5566_7788, 0x7ffd_1234_5678, 0x00_abcd);
        let bytes = record.to_bytes();
        assert_eq!(bytes[..8], 0x1122_3344_5566_7788_u64.to_le_bytes());
        let word = u64::from_le_bytes(bytes[8..].try_into().unwrap());
        assert_eq!(word & 0xff_ffff, 0xabcd);
        assert_eq!(word >> 24, (0x7ffd_1234_5678 >> 3) & ((1 << 40) - 1));
        assert_eq!(Record::from_bytes(bytes), record);
    }

    #[test]
    fn count_of_lost_saturates() {
        assert_eq!(Record::lost(1, u64::MAX).sp8, (1 << 40) - 1);
    }

    /// A reader that returns odd pieces, as a pipe may.
    struct Pieces<'a>(&'a [u8]);
    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(into.len()).min(7);
            into[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn reads_pieces_skips_uncommitted_and_reports_a_torn_tail() {
        let mut file = Vec::new();
        for (tsc, site) in [(5, 1), (0, 2), (9, 3)] {
            file.extend(Record::new(tsc, 0x1000, site).to_bytes());
        }
        file.extend([1, 2, 3]);
        let mut reader = RecordReader::new(Pieces(&file));
        let mut sites = Vec::new();
        while let Some(record) = reader.next_record().unwrap() {
            sites.push(record.site);
        }
        assert_eq!(sites, [1, 3]);
        assert_eq!(reader.torn_bytes(), 3);
    }
}
