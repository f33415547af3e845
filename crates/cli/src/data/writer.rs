//! Writing a trace directory.
//!
//! `create` makes the directory and a first `meta.json` before the target is touched, so a bad
//! output path harms nobody. From then on the directory can be read at any moment: if the writer
//! is killed or the disk fills up, what is there is a shorter trace, not a broken one.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::meta::{self, Meta, Thread};
use super::record::{RECORD_BYTES, Record};
use crate::error::{Doing, Error, Result};

/// Bytes kept per thread before a write.
const BUFFER: usize = 256 * 1024;

/// A trace directory being written.
#[derive(Debug)]
pub struct TraceWriter {
    dir: PathBuf,
    files: Vec<ThreadFile>,
    /// Lost records that belong to no file.
    stray: u64,
}

/// Names a thread of a [`TraceWriter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ThreadKey(usize);

impl TraceWriter {
    /// Creates the directory. An existing empty directory is used; an existing trace is replaced
    /// only with `force`; anything else is never touched.
    ///
    /// # Errors
    /// The output exists, or the directory cannot be made.
    pub fn create(dir: &Path, force: bool) -> Result<Self> {
        // mkdir both checks and makes: of two recorders with the same output one is refused.
        match fs::create_dir(dir) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::AlreadyExists => clear(dir, force)?,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Err(Error::new(format!(
                    "cannot create {}: its parent directory does not exist",
                    dir.display()
                )));
            }
            Err(e) => return Err(Error::io(format!("cannot create {}", dir.display()), &e)),
        }
        Ok(Self { dir: dir.to_path_buf(), files: Vec::new(), stray: 0 })
    }

    /// The directory being written.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes the side tables as known at the start (with `tsc_end` 0), which is what a reader
    /// has if [`TraceWriter::finish`] is never reached.
    ///
    /// # Errors
    /// Writing the file.
    pub fn begin(&self, meta: &Meta) -> Result<()> {
        self.write_meta(&Meta { tsc_end: 0, ..meta.clone() })
    }

    /// Opens the record file of a thread.
    ///
    /// # Errors
    /// Creating the file.
    pub fn add_thread(&mut self, tid: u32, slot: u32, name: &str) -> Result<ThreadKey> {
        let mut file_name = format!("{tid}-{slot}.rec");
        let mut again = 1;
        // A thread id may come back within one trace, even in the same slot.
        while self.files.iter().any(|f| f.thread.file == file_name) {
            again += 1;
            file_name = format!("{tid}-{slot}-{again}.rec");
        }
        let path = self.dir.join(&file_name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .doing(|| format!("cannot create {}", path.display()))?;
        let thread = Thread { tid, name: name.into(), file: file_name, records: 0, lost: 0, ended_tsc: None };
        self.files.push(ThreadFile { path, file, buffer: Vec::with_capacity(BUFFER), thread });
        Ok(ThreadKey(self.files.len() - 1))
    }

    /// Renames a thread: programs set names after the first record.
    pub fn rename_thread(&mut self, key: ThreadKey, name: &str) {
        self.files[key.0].thread.name = name.into();
    }

    /// Notes that the thread has ended, at this time stamp.
    pub fn end_thread(&mut self, key: ThreadKey, tsc: u64) {
        self.files[key.0].thread.ended_tsc = Some(tsc);
    }

    /// Appends one record. Buffered: errors of the disk appear here or at [`TraceWriter::finish`].
    ///
    /// # Errors
    /// Writing the file. The file then still ends with a whole record; stop recording, detach, and
    /// call `finish`.
    pub fn append(&mut self, key: ThreadKey, record: Record) -> Result<()> {
        self.files[key.0].append(record)
    }

    /// Appends a record as the two words that lie in a ring.
    ///
    /// # Errors
    /// Like [`TraceWriter::append`].
    pub fn append_words(&mut self, key: ThreadKey, words: [u64; 2]) -> Result<()> {
        self.files[key.0].append(Record::from_words(words))
    }

    /// Appends many records as they lie in a ring, markers of loss among them.
    ///
    /// # Errors
    /// Like [`TraceWriter::append`].
    pub fn append_all(&mut self, key: ThreadKey, records: &[[u64; 2]]) -> Result<()> {
        let file = &mut self.files[key.0];
        for part in records.chunks(BUFFER / RECORD_BYTES) {
            if file.buffer.len() + part.len() * RECORD_BYTES > BUFFER {
                file.flush()?;
            }
            for &words in part {
                file.buffer.extend_from_slice(&Record::from_words(words).to_bytes());
                let record = Record::from_words(words);
                if record.is_lost() {
                    file.thread.lost += record.sp8;
                }
            }
            file.thread.records += part.len() as u64;
        }
        Ok(())
    }

    /// Marks that `count` records of this thread were lost before this point, and counts them.
    ///
    /// # Errors
    /// Like [`TraceWriter::append`].
    pub fn append_lost(&mut self, key: ThreadKey, tsc: u64, count: u64) -> Result<()> {
        self.files[key.0].thread.lost += count;
        self.files[key.0].append(Record::lost(tsc, count))
    }

    /// Counts records that were lost by threads without a file.
    pub fn lose(&mut self, count: u64) {
        self.stray += count;
    }

    /// Records written so far, in all threads.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.files.iter().map(|f| f.thread.records).sum()
    }

    /// Records lost so far, in all threads.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.files.iter().map(|f| f.thread.lost).sum::<u64>() + self.stray
    }

    /// Writes everything out and puts the final `meta.json` in place; fills in its `threads` and
    /// `lost`. Call it also after an error of `append`: what fits is kept.
    ///
    /// # Errors
    /// The first thing that could not be written. The directory can be read nevertheless.
    pub fn finish(mut self, mut meta: Meta) -> Result<Meta> {
        let mut first_error = Ok(());
        for file in &mut self.files {
            first_error = first_error.and(file.flush());
        }
        meta.lost = self.lost();
        meta.threads = self.files.into_iter().map(|f| f.thread).collect();
        meta.threads.sort_by_key(|t| t.tid);
        first_error.and(write_meta(&self.dir, &meta)).map(|()| meta)
    }

    fn write_meta(&self, meta: &Meta) -> Result<()> {
        write_meta(&self.dir, meta)
    }
}

/// Writes beside and renames: a reader (and a full disk) sees the old or the new, never half.
fn write_meta(dir: &Path, meta: &Meta) -> Result<()> {
    let path = dir.join(meta::FILE_NAME);
    let beside = dir.join("meta.json.new");
    let text = serde_json::to_vec(meta).map_err(|e| Error::new(format!("cannot write {}: {e}", path.display())))?;
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, &path));
    if written.is_err() {
        // Best effort: the error below is the one that matters.
        let _ = fs::remove_file(&beside);
    }
    written.doing(|| format!("cannot write {}", path.display()))
}

/// Empties an existing output directory, if that is allowed.
fn clear(dir: &Path, force: bool) -> Result<()> {
    let listing = || format!("cannot use {} as output", dir.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).doing(listing)? {
        names.push(entry.doing(listing)?.path());
    }
    if names.is_empty() {
        return Ok(());
    }
    let is_trace = dir.join(meta::FILE_NAME).is_file();
    if !is_trace {
        return Err(Error::new(format!(
            "{} exists and is not a trace; choose another directory with -o",
            dir.display()
        )));
    }
    if !force {
        return Err(Error::new(format!(
            "{} already holds a trace; choose another directory with -o, or replace it with --force",
            dir.display()
        )));
    }
    // The tables first: without them no half of an old trace can be mistaken for the new one.
    names.sort_by_key(|path| path.file_name() != Some(meta::FILE_NAME.as_ref()));
    for path in names {
        let ours = path.extension().is_some_and(|e| e == "rec") || path.file_name() == Some(meta::FILE_NAME.as_ref());
        if ours {
            fs::remove_file(&path).doing(|| format!("cannot replace {}", path.display()))?;
        }
    }
    Ok(())
}

#[derive(Debug)]
struct ThreadFile {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    thread: Thread,
}

impl ThreadFile {
    fn append(&mut self, record: Record) -> Result<()> {
        if self.buffer.len() + RECORD_BYTES > BUFFER {
            self.flush()?;
        }
        self.buffer.extend_from_slice(&record.to_bytes());
        self.thread.records += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let mut done = 0;
        let outcome = loop {
            match self.file.write(&self.buffer[done..]) {
                Ok(0) if done == self.buffer.len() => break Ok(()),
                Ok(0) => break Err(std::io::Error::from(ErrorKind::WriteZero)),
                Ok(n) => done += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
        };
        if outcome.is_err() {
            let kept = done / RECORD_BYTES;
            let dropped = self.buffer.len() / RECORD_BYTES - kept;
            self.thread.records -= dropped as u64;
            self.thread.lost += dropped as u64;
            // Cut a torn record off. If even that fails the reader ignores the torn tail.
            let _ = self.file.set_len(self.thread.records * RECORD_BYTES as u64);
        }
        self.buffer.clear();
        outcome.doing(|| format!("cannot write {} (the trace up to here is kept)", self.path.display()))
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
