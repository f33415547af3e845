//! A streaming reader of record files. The record itself is in `textpoke-trace`.

use std::io::{self, Read};

pub use textpoke_trace::record::{RECORD_BYTES, Record, SITE_LOST, SP_BITS};

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
            if self.end - self.at < RECORD_BYTES {
                if self.finished {
                    self.torn = self.end - self.at;
                    return Ok(None);
                }
                self.fill()?;
                continue;
            }
            let bytes = std::array::from_fn(|i| self.buffer[self.at + i]);
            self.at += RECORD_BYTES;
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
