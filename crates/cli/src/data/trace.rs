//! A trace directory opened for reading.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::calls::{Calls, Sites};
use super::clock::Clock;
use super::event::Sink;
use super::filter::Filter;
use super::meta::{self, Meta, Thread};
use super::record::{RECORD_BYTES, RecordReader};
use crate::error::{Doing, Error, Result};

/// Records between two looks at the progress bar and at [`Sink::done`].
const STRIDE: u64 = 1 << 14;

/// An opened trace.
#[derive(Debug)]
pub struct Trace {
    dir: PathBuf,
    /// The side tables, checked: sites refer to functions, the clock runs.
    pub meta: Meta,
    sites: Sites,
    /// Things that are wrong with the trace but do not keep it from being read.
    pub warnings: Vec<String>,
}

impl Trace {
    /// Opens `dir` and checks its tables. Damaged record files become [`Trace::warnings`].
    ///
    /// # Errors
    /// No such directory, not a trace, a newer format, or inconsistent tables.
    pub fn open(dir: &Path) -> Result<Self> {
        let mut meta = read_meta(dir)?;
        let bad = |what: &str| Error::new(format!("{} is damaged: {what}", dir.display()));
        if !(meta.tsc_hz.is_finite() && meta.tsc_hz > 0.0) {
            return Err(bad("the clock rate in meta.json is not a positive number"));
        }
        let functions = meta.functions.len();
        if meta.sites.iter().any(|site| site.function as usize >= functions) {
            return Err(bad("a site in meta.json refers to a function that is not there"));
        }
        let mut warnings = Vec::new();
        if meta.tsc_end == 0 {
            adopt_unfinished(dir, &mut meta)?;
            warnings.push("the recording was cut off; reading what is there".into());
        }
        check_files(dir, &mut meta, &mut warnings);
        let sites = Sites::new(&meta);
        Ok(Self { dir: dir.to_path_buf(), meta, sites, warnings })
    }

    /// The directory it was opened from.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Converts time stamps of this trace.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock::new(self.meta.tsc_start, self.meta.tsc_hz)
    }

    /// Length of the trace in nanoseconds.
    #[must_use]
    pub fn duration_ns(&self) -> u64 {
        self.clock().ns(self.meta.tsc_end)
    }

    /// Records in all files.
    #[must_use]
    pub fn total_records(&self) -> u64 {
        self.meta.threads.iter().map(|t| t.records).sum()
    }

    /// The filter of the command line, with what `record` was told as the default.
    #[must_use]
    pub fn filter(&self, given: Filter) -> Filter {
        Filter { depth: given.depth.or(self.meta.depth), min_ns: given.min_ns.or(self.meta.min_ns), ..given }
    }

    /// Reads thread `index` from front to back into `sink`. `progress` is told how many records
    /// were read since it was last told.
    ///
    /// # Errors
    /// Reading the file, or the sink.
    pub fn walk(
        &self,
        index: usize,
        filter: Filter,
        sink: &mut impl Sink,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let thread = &self.meta.threads[index];
        let path = self.dir.join(&thread.file);
        let reading = || format!("cannot read {}", path.display());
        let file = match File::open(&path) {
            Ok(file) => file,
            // Already warned about when the trace was opened.
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io(reading(), &e)),
        };
        let mut reader = RecordReader::new(file);
        let mut calls = Calls::new(&self.sites, self.clock());
        let mut chain = filter.before(sink);
        let mut since = 0;
        while let Some(record) = reader.next_record().doing(reading)? {
            calls.record(record, &mut chain)?;
            since += 1;
            if since == STRIDE {
                progress(since);
                since = 0;
                if chain.done() {
                    return Ok(());
                }
            }
        }
        progress(since);
        calls.finish(thread.ended_tsc.unwrap_or(self.meta.tsc_end), &mut chain)
    }
}

fn read_meta(dir: &Path) -> Result<Meta> {
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    let not_a_trace = |why: &str| {
        Error::new(format!(
            "{} is not a textpoke trace: {why}; name the directory that `textpoke record -o` wrote",
            dir.display()
        ))
    };
    match fs::metadata(dir) {
        Ok(found) if !found.is_dir() => return Err(not_a_trace("it is not a directory")),
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(Error::new(format!(
                "there is no trace at {}; make one with `textpoke record -o {0} -- CMD`",
                dir.display()
            )));
        }
        Err(e) => return Err(Error::io(format!("cannot open {}", dir.display()), &e)),
    }
    let path = dir.join(meta::FILE_NAME);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(not_a_trace("it holds no meta.json"));
        }
        Err(e) => return Err(Error::io(format!("cannot read {}", path.display()), &e)),
    };
    // The version first: a newer format may differ in anything else.
    let Version { version } =
        serde_json::from_str(&text).map_err(|e| not_a_trace(&format!("meta.json cannot be understood ({e})")))?;
    if version > meta::VERSION {
        return Err(Error::new(format!(
            "{} was written by a newer textpoke (format {version}, this one reads up to {}); \
             use that version to read it",
            dir.display(),
            meta::VERSION
        )));
    }
    serde_json::from_str(&text).map_err(|e| Error::new(format!("{} is damaged: {e}", path.display())))
}

/// Fills in what the writer could not write any more: which files there are and when it ended.
fn adopt_unfinished(dir: &Path, meta: &mut Meta) -> Result<()> {
    let listing = || format!("cannot list {}", dir.display());
    let mut last = meta.tsc_start;
    let mut threads = Vec::new();
    for entry in fs::read_dir(dir).doing(listing)? {
        let path = entry.doing(listing)?.path();
        let (Some(name), Some("rec")) =
            (path.file_name().and_then(|n| n.to_str()), path.extension().and_then(|e| e.to_str()))
        else {
            continue;
        };
        let Some(tid) = name.split(['-', '.']).next().and_then(|t| t.parse().ok()) else {
            continue;
        };
        let known = meta.threads.iter().find(|t| t.file == name);
        let (mut records, mut lost) = (0, 0);
        let reading = || format!("cannot read {}", path.display());
        let mut reader = RecordReader::new(File::open(&path).doing(reading)?);
        while let Some(record) = reader.next_record().doing(reading)? {
            records += 1;
            last = last.max(record.tsc);
            if record.is_lost() {
                lost += record.sp8;
            }
        }
        let name_of_thread = known.map(|t| t.name.clone()).unwrap_or_default();
        let file = name.to_string();
        threads.push(Thread { tid, name: name_of_thread, file, records, lost, ended_tsc: None });
    }
    threads.sort_by_key(|t| t.tid);
    meta.lost = meta.lost.max(threads.iter().map(|t| t.lost).sum());
    meta.threads = threads;
    meta.tsc_end = last;
    Ok(())
}

/// Compares the files with the table; corrects the counts and notes what is missing.
fn check_files(dir: &Path, meta: &mut Meta, warnings: &mut Vec<String>) {
    for thread in &mut meta.threads {
        let path = dir.join(&thread.file);
        let Ok(found) = fs::metadata(&path) else {
            warnings.push(format!(
                "{} is missing: the {} records of thread {} are not shown",
                path.display(),
                thread.records,
                thread.tid
            ));
            thread.records = 0;
            continue;
        };
        let there = found.len() / RECORD_BYTES as u64;
        if there < thread.records {
            warnings.push(format!("{} is cut short: {there} of {} records are there", path.display(), thread.records));
            thread.records = there;
        } else if found.len() % RECORD_BYTES as u64 != 0 {
            warnings.push(format!("{} ends within a record; the rest is read", path.display()));
        }
    }
}
