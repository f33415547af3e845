//! One recording: attach, drain until it is over, detach, write down how it went.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use textpoke_attach::launch::Launched;
use textpoke_attach::rings::{RingId, Rings};
use textpoke_attach::session::{Options, Session};
use textpoke_attach::{clock, proc};

use super::AGENT;
use super::probes::Selection;
use crate::data::meta::{self, End, Meta};
use crate::data::writer::{ThreadKey, TraceWriter};
use crate::error::{Error, Result};

/// What ends a recording, besides the end of its target.
#[derive(Debug, Default)]
pub struct Limits {
    /// After this long.
    pub duration: Option<Duration>,
    /// When this becomes true (Ctrl-C).
    pub stop: Arc<AtomicBool>,
}

/// What to record.
pub struct Recording<'a> {
    /// The process.
    pub pid: i32,
    /// The program, if it was started for this and stands at its entry.
    pub launched: Option<&'a mut Launched>,
    /// What is traced.
    pub selection: Selection,
    /// Bytes of each thread's ring.
    pub ring_bytes: u64,
    /// Where it goes.
    pub writer: TraceWriter,
    /// Defaults for readers.
    pub depth: Option<u32>,
    /// Defaults for readers, nanoseconds.
    pub min_ns: Option<u64>,
}

/// What became of it.
#[derive(Debug)]
pub struct Recorded {
    /// The side tables as written.
    pub meta: Meta,
    /// Records written.
    pub records: u64,
    /// Address range of code that had to stay in the target, if any.
    pub stays: Option<(u64, u64)>,
    /// Traps that threads took and were helped over while text changed.
    pub traps: u64,
    /// How long the text was being changed: installing and removing.
    pub patching: [Duration; 2],
}

impl Recording<'_> {
    /// Records until `limits` or the target end it. `tick` is called now and then with the number of records so far.
    ///
    /// # Errors
    /// Attaching failed; the disk is full (the target was released properly and what fitted is kept); detaching failed.
    pub fn run(mut self, limits: &Limits, mut tick: impl FnMut(u64, u64)) -> Result<Recorded> {
        let mut meta = self.first_meta();
        let options = Options { ring_bytes: self.ring_bytes as usize, ..Options::default() };
        let launched = self.launched.is_some();
        let attached =
            self.selection.with_probes(|probes| Session::attach(self.pid, launched, AGENT, probes, &options));
        let mut session = attached.map_err(|e| Error::new(e.to_string()))?;
        self.selection.refuse_sites(session.refused());
        self.tables(&mut meta);
        let begun = Instant::now();
        let mut disk = self.writer.begin(&meta);

        let mut threads = Threads::default();
        let mut last_look = Instant::now();
        let end = loop {
            let before = self.writer.records();
            if disk.is_ok() {
                disk = threads.drain(&mut session, &mut self.writer, self.pid, false);
            }
            if disk.is_err() || limits.stop.load(Ordering::Relaxed) {
                break End::Interrupted;
            }
            if limits.duration.is_some_and(|d| begun.elapsed() >= d) {
                break End::Detached;
            }
            if last_look.elapsed() > Duration::from_millis(20) {
                last_look = Instant::now();
                if let Some(end) = over(self.pid, self.launched.as_deref_mut(), &session) {
                    break end;
                }
                if disk.is_ok() {
                    disk = threads.recycle(&mut session, &mut self.writer, self.pid);
                }
                tick(self.writer.records(), self.writer.lost());
            }
            if self.writer.records() - before < 4096 {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        meta.tsc_end = clock::tsc();
        let ran = begun.elapsed();
        let install = session.install_time();
        let traps_before = session.traps();
        let (verified, stays, traps, removal) = match end {
            End::Detached | End::Interrupted => {
                let released = session.detach();
                let mut released = match released {
                    Ok(released) => released,
                    Err(error) => {
                        let _ = self.writer.finish(meta);
                        return Err(Error::new(error.to_string()));
                    }
                };
                if disk.is_ok() {
                    disk = threads.drain_rest(&mut released.rings, &mut self.writer, self.pid);
                }
                self.writer.lose(stray(&released.rings));
                (released.verified, released.stays, released.traps, released.took)
            }
            _ => {
                let mut rings = session.bury();
                if disk.is_ok() {
                    disk = threads.drain_rest(&mut rings, &mut self.writer, self.pid);
                }
                self.writer.lose(stray(&rings));
                (false, None, traps_before, Duration::ZERO)
            }
        };
        meta.tsc_hz = clock::hz_over(meta.tsc_end.wrapping_sub(meta.tsc_start), ran);
        meta.end = end;
        meta.verified = verified;
        let records = self.writer.records();
        let finished = self.writer.finish(meta);
        disk?;
        Ok(Recorded { meta: finished?, records, stays, traps, patching: [install, removal] })
    }

    fn first_meta(&self) -> Meta {
        let pid = self.pid;
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let arguments = command.split(|&b| b == 0).map(|a| String::from_utf8_lossy(a).into_owned());
        let mut command: Vec<String> = arguments.collect();
        command.pop();
        let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        Meta {
            version: meta::VERSION,
            command,
            pid: pid as u32,
            exe: exe.display().to_string(),
            started_unix_ns: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64),
            tsc_start: clock::tsc(),
            tsc_end: 0,
            tsc_hz: clock::hz(),
            functions: Vec::new(),
            sites: Vec::new(),
            threads: Vec::new(),
            lost: 0,
            refused: Vec::new(),
            end: End::Interrupted,
            verified: false,
            depth: self.depth,
            min_ns: self.min_ns,
        }
    }

    fn tables(&self, meta: &mut Meta) {
        meta.functions.clone_from(&self.selection.functions);
        meta.sites.clone_from(&self.selection.sites);
        meta.refused.clone_from(&self.selection.refused);
    }
}

/// Events of threads that had no ring: there were more threads than rings, or the thread uses the GS base itself.
fn stray(rings: &Rings) -> u64 {
    let (no_ring, foreign) = rings.lost_without_ring();
    no_ring + foreign
}

/// Whether the target is no more, and how it ended.
fn over(pid: i32, launched: Option<&mut Launched>, session: &Session) -> Option<End> {
    if let Some(launched) = launched
        && let Ok(Some(status)) = launched.try_wait()
    {
        return Some(if status.code().is_some() { End::TargetExited } else { End::TargetKilled });
    }
    match proc::status(pid) {
        Err(_) => Some(End::TargetExited),
        Ok(status) if matches!(status.state, 'Z' | 'X') => Some(ended_by(pid)),
        Ok(_) if session.target_execed() => Some(End::Exec),
        Ok(_) => None,
    }
}

/// How a zombie ended, as far as it can be seen without being its parent.
fn ended_by(pid: i32) -> End {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let code: i32 = stat.split_whitespace().next_back().and_then(|c| c.parse().ok()).unwrap_or(0);
    if code & 0x7f == 0 { End::TargetExited } else { End::TargetKilled }
}

/// Which file a ring's records go to.
#[derive(Default)]
struct Threads {
    keys: HashMap<RingId, ThreadKey>,
}

impl Threads {
    fn drain(&mut self, session: &mut Session, writer: &mut TraceWriter, pid: i32, all: bool) -> Result<()> {
        self.drain_rings(session.rings(), writer, pid, all)
    }

    fn drain_rest(&mut self, rings: &mut Rings, writer: &mut TraceWriter, pid: i32) -> Result<()> {
        self.drain_rings(rings, writer, pid, true)
    }

    fn recycle(&mut self, session: &mut Session, writer: &mut TraceWriter, pid: i32) -> Result<()> {
        let mut outcome = Ok(());
        let mut gone = Vec::new();
        session.rings().recycle(
            |ring, records| {
                if outcome.is_ok() {
                    outcome = self.write(ring, records, writer, pid);
                }
            },
            |ring| gone.push(ring),
        );
        for ring in gone {
            if let Some(key) = self.keys.remove(&ring) {
                writer.end_thread(key, clock::tsc());
            }
        }
        outcome
    }

    fn write(&mut self, ring: RingId, records: &[[u64; 2]], writer: &mut TraceWriter, pid: i32) -> Result<()> {
        let key = self.key(ring, writer, pid)?;
        writer.append_all(key, records)
    }

    fn drain_rings(&mut self, rings: &mut Rings, writer: &mut TraceWriter, pid: i32, all: bool) -> Result<()> {
        let mut outcome = Ok(());
        rings.drain(all, |ring, records| {
            if outcome.is_ok() {
                outcome = self.write(ring, records, writer, pid);
            }
        });
        outcome
    }

    fn key(&mut self, ring: RingId, writer: &mut TraceWriter, pid: i32) -> Result<ThreadKey> {
        if let Some(&key) = self.keys.get(&ring) {
            return Ok(key);
        }
        let name = std::fs::read_to_string(format!("/proc/{pid}/task/{}/comm", ring.tid)).unwrap_or_default();
        let key = writer.add_thread(ring.tid, ring.slot, name.trim_end())?;
        self.keys.insert(ring, key);
        Ok(key)
    }
}
