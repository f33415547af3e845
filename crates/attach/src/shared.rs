//! The tracer's side of the memory that it shares with the target: the executable image, DATA, and through it the
//! sidecar's ear and the rings.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use textpoke_core::journal::{Header, MAGIC, State, VERSION};
use textpoke_core::{Cause, Outcome, Site};
use textpoke_linux::sys::{self, Timespec};
use textpoke_trace::control::{self, Control, MAX_RANGES, MAX_STEPS, Side, ToSidecar, ToTracer, Turn};
use textpoke_trace::layout::{JOURNAL_BYTES, PAGE, SITE_BYTES};
use textpoke_trace::local::{self, GS_WINDOW_END, GS_WINDOW_START};
use textpoke_trace::params::Params;
use textpoke_trace::ring::{RingHeader, Slot, state};
use textpoke_trace::{Layout, table};

use crate::arch;
use crate::error::Error;
use crate::inject::{Area, Regions};
use crate::proc::Mapping;

const _: () = assert!(size_of::<Site>() == SITE_BYTES && size_of::<Header>() == JOURNAL_BYTES);

/// A mapping in this process.
struct Mapped {
    start: *mut u8,
    len: usize,
}

// SAFETY: the memory belongs to whoever has the value, on whatever thread; everything in it that others write at the
// same time is accessed as atomics.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    fn new(file: &File, offset: u64, len: usize) -> Result<Self, Error> {
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_NORESERVE);
        // SAFETY: a new mapping at a place of the kernel's choice.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, file.as_raw_fd(), offset as libc::off_t) };
        if at == libc::MAP_FAILED {
            return Err(Error::Io("mapping the shared memory", std::io::Error::last_os_error()));
        }
        Ok(Self { start: at.cast(), len })
    }

    /// A reference to a `T` at `offset`.
    ///
    /// # Safety
    /// All bytes patterns must be valid for `T`, and what others may change in it must be atomic.
    unsafe fn at<T>(&self, offset: usize) -> &T {
        assert!(offset.is_multiple_of(align_of::<T>()) && offset + size_of::<T>() <= self.len);
        // SAFETY: inside the mapping and aligned, as just checked; the rest is the caller's duty.
        unsafe { &*self.start.add(offset).cast::<T>() }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: our own mapping, to which no reference outlives `self`.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

/// Shared memory of one session.
pub struct Shared {
    data: Mapped,
    /// The parameter page of each executable area.
    params: Vec<Mapped>,
    layout: Layout,
}

impl Shared {
    /// Sizes the memory file, writes the executable areas into it and maps what the tracer uses. The file must be empty.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn create(file: &File, regions: &Regions, areas: &[(Area, Vec<u8>)]) -> Result<Self, Error> {
        let failed = |e| Error::Io("filling the shared memory", e);
        file.set_len(regions.data_offset + regions.layout.bytes as u64).map_err(failed)?;
        let mut params = Vec::with_capacity(areas.len());
        for (area, bytes) in areas {
            file.write_all_at(bytes, area.offset).map_err(failed)?;
            params.push(Mapped::new(file, area.offset, PAGE)?);
        }
        let data = Mapped::new(file, regions.data_offset, regions.layout.bytes)?;
        Ok(Self { data, params, layout: regions.layout })
    }

    /// Fills in everything that the agent reads, once all regions are mapped in the target and before anything runs
    /// there. `life_fd` is the sidecar's descriptor that ends with the tracer (-1: none), `target` the target's process
    /// id in its own PID namespace. That the trap handler will be installed is taken for granted.
    ///
    /// # Errors
    /// When there are more sites or text ranges than there is room for.
    pub fn fill(
        &self,
        regions: &Regions,
        sites: &[Site],
        ranges: &[Mapping],
        life_fd: i32,
        target: i32,
    ) -> Result<(), Error> {
        if sites.len() > self.layout.site_capacity {
            return Err(Error::Unsupported("there are more sites than was said when the memory was made"));
        }
        if ranges.len() > MAX_RANGES {
            return Err(Error::Unsupported("the functions lie in more files than one session can patch"));
        }
        for i in 0..self.layout.rings {
            let ring = self.ring(i);
            ring.slots.store(regions.data + self.layout.ring_slots(i) as u64, Relaxed);
            ring.mask.store(self.layout.ring_bytes as u64 - 1, Relaxed);
        }
        self.write_journal(sites);
        let control = self.control();
        for (shared, range) in control.ranges.iter().zip(ranges) {
            shared.start.store(range.start, Relaxed);
            shared.end.store(range.end, Relaxed);
            shared.prot.store(range.prot as u64, Relaxed);
        }
        control.range_count.store(ranges.len() as u32, Relaxed);
        control.tracer_fd.store(life_fd, Relaxed);
        control.target_pid.store(target as u32, Relaxed);
        control.handler.store(1, Relaxed);
        control.probes.free.store(self.layout.rings as i32, Relaxed);
        // The first thread that looks begins one further, at ring 0.
        control.probes.hint.store(u32::MAX, Relaxed);
        control.turn.0.store(Turn::FIRST, Relaxed);
        control.magic.store(control::MAGIC, Release);
        for params in self.params() {
            self.fill_params(params, regions);
        }
        self.switch_probes_on();
        Ok(())
    }

    fn fill_params(&self, params: &Params, regions: &Regions) {
        let layout = &self.layout;
        for (field, value) in [
            (&params.headers, regions.local + local::thread_header(0) as u64),
            (&params.hash, local::HASH),
            (&params.local, regions.local),
            (&params.control, regions.data),
            (&params.rings, regions.data + layout.headers as u64),
            (&params.ring_count, layout.rings as u64),
            (&params.window_start, GS_WINDOW_START),
            (&params.window_len, GS_WINDOW_END - GS_WINDOW_START),
            (&params.journal, regions.data + layout.journal as u64),
            (&params.site_capacity, layout.site_capacity as u64),
            (&params.table, regions.table),
            (&params.site_copy, regions.table + table::SITE_COPY as u64),
        ] {
            field.store(value, Relaxed);
        }
        for ([start, len], area) in params.areas.iter().zip(&regions.text) {
            start.store(area.addr, Relaxed);
            len.store(area.len, Relaxed);
        }
    }

    /// Replaces the sites, of which there must be no more than before, while none is installed and no batch runs.
    ///
    /// # Errors
    /// There are more than there is room for.
    pub fn set_sites(&self, sites: &[Site]) -> Result<(), Error> {
        if sites.len() > self.layout.site_capacity {
            return Err(Error::Unsupported("there are more sites than was said when the memory was made"));
        }
        self.write_journal(sites);
        Ok(())
    }

    fn write_journal(&self, sites: &[Site]) {
        let header =
            Header { magic: MAGIC, version: VERSION, state: State::Idle as u32, sites: sites.len() as u64, first: 0 };
        assert!(self.layout.site(sites.len()) <= self.data.len);
        // SAFETY: header and sites lie inside the mapping (just checked) and are aligned to 8 bytes as `Layout` makes
        // them; nothing else touches them: no sidecar runs yet, or it waits for the next order.
        unsafe {
            self.data.start.add(self.layout.journal).cast::<Header>().write(header);
            let to = self.data.start.add(self.layout.sites).cast::<Site>();
            std::ptr::copy_nonoverlapping(sites.as_ptr(), to, sites.len());
        }
    }

    /// What is where.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The start of DATA.
    pub fn control(&self) -> &Control {
        // SAFETY: made of atomics.
        unsafe { self.data.at(0) }
    }

    /// A ring's header. Panics if there is no such ring.
    pub fn ring(&self, index: usize) -> &RingHeader {
        assert!(index < self.layout.rings);
        // SAFETY: made of atomics.
        unsafe { self.data.at(self.layout.ring_header(index)) }
    }

    /// A ring's slots. Panics if there is no such ring.
    pub fn slots(&self, index: usize) -> &[Slot] {
        assert!(index < self.layout.rings);
        let offset = self.layout.ring_slots(index);
        assert!(offset + self.layout.ring_bytes <= self.data.len);
        // SAFETY: inside the mapping (just checked), on a page; slots are made of atomics.
        unsafe {
            let first = self.data.start.add(offset).cast::<Slot>();
            std::slice::from_raw_parts(first, self.layout.ring_bytes / size_of::<Slot>())
        }
    }

    fn params(&self) -> impl Iterator<Item = &Params> {
        // SAFETY: each mapping is a page that begins with parameters, which are made of atomics.
        self.params.iter().map(|page| unsafe { page.at(0) })
    }

    /// Makes every probe that runs from now on return at once, without touching LOCAL or DATA. One that has already
    /// looked may still write a record.
    pub fn switch_probes_off(&self) {
        for params in self.params() {
            params.enabled.store(0, Relaxed);
            params.headers_len.store(0, Release);
        }
    }

    /// The opposite.
    pub fn switch_probes_on(&self) {
        let bytes = arch::headers(self.layout.rings) * size_of::<local::ThreadHeader>();
        for params in self.params() {
            params.enabled.store(1, Relaxed);
            params.headers_len.store(bytes as u64, Release);
        }
    }

    /// Tells the sidecar something. Only with the turn, that is after [`Shared::heard`] gave a message.
    pub fn say(&self, what: ToSidecar) {
        let control = self.control();
        debug_assert_eq!(control.turn.read().0, Side::Tracer);
        control.to_sidecar.write(what.to_words());
        control.turn.pass();
        // Nobody waiting is fine.
        let _ = sys::futex_wake(&control.turn.0, 1);
    }

    /// Answers a request.
    pub fn answer(&self, outcome: Result<(), Cause>) {
        let outcome = outcome.map_or_else(Outcome::Failed, |()| Outcome::Ok);
        self.say(ToSidecar::Answer(outcome.to_words()));
    }

    /// What the sidecar said, if it has passed the turn; the same again until something is said to it.
    pub fn heard(&self) -> Option<ToTracer> {
        let control = self.control();
        let (side, _) = control.turn.read();
        // What makes no sense was not said by our sidecar: as if it had not understood us.
        (side == Side::Tracer).then(|| ToTracer::from_words(control.to_tracer.read()).unwrap_or(ToTracer::Refused))
    }

    /// Sleeps until the sidecar has passed the turn, or for `patience`.
    pub fn wait(&self, patience: Duration) {
        let control = self.control();
        if let (Side::Sidecar, word) = control.turn.read() {
            let span = Timespec::from_nanos(patience.as_nanos() as u64);
            // Woken, timed out, interrupted, or late: the caller looks itself.
            let _ = sys::futex_wait(&control.turn.0, word, Some(span));
        }
    }

    /// Membarrier calls of the last batch.
    pub fn membarriers(&self) -> u32 {
        self.control().report.membarriers.load(Relaxed)
    }

    /// Ticks of the CPU's counter that each step of the last batch took.
    pub fn step_ticks(&self) -> Vec<u64> {
        let report = &self.control().report;
        let count = (report.steps.load(Acquire) as usize).min(MAX_STEPS);
        report.ticks[..count].iter().map(|t| t.load(Relaxed)).collect()
    }

    /// Gives a ring to whichever thread comes next. Its thread must be gone and its records read.
    ///
    /// A thread that was born with a dead thread's GS base *and* thread pointer passes for that thread until it finds
    /// the limit 0, which sends it to look at the ring's state.
    pub fn free_ring(&self, index: usize) {
        let ring = self.ring(index);
        ring.limit.store(0, Relaxed);
        ring.tid.store(0, Relaxed);
        ring.state.store(state::FREE, Release);
        let probes = &self.control().probes;
        // The lowest free ring first: rings whose memory was used before. (What a probe stores meanwhile is lost or wins;
        // either is a place to begin.) The hint is the index before it, which can be -1.
        let before = index as i32 - 1;
        if before < probes.hint.load(Relaxed) as i32 {
            probes.hint.store(before as u32, Relaxed);
        }
        probes.free.fetch_add(1, Release);
    }
}
