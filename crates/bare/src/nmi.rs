//! The NMI's side, performed: what comes in while text changes writes the same bytes first.

use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use textpoke_core::nmi::{Act, Buffer, Counters, Gate, Visit};
use textpoke_core::{Direction, Phase, Site, Unit};

use crate::hooks::Hooks;
use crate::write;

/// What NMIs and the patcher share: one per kernel.
#[derive(Debug)]
pub(crate) struct Nmis {
    pub gate: Gate,
    pub counters: Counters,
    records: [Record; 2],
    /// The buffer that is announced: 0 for none, 1, 2. The patcher's own note, which outlives a batch that broke.
    announced: AtomicU32,
}

/// A batch as an NMI writes it. It is written while it is not announced and nobody reads it, and read when it was found
/// announced, so that the gate's word orders all accesses.
#[derive(Debug)]
struct Record {
    sites: AtomicPtr<Site>,
    len: AtomicUsize,
    /// 0 is [`Direction::Install`].
    dir: AtomicU32,
}

impl Record {
    const fn new() -> Self {
        Self { sites: AtomicPtr::new(core::ptr::null_mut()), len: AtomicUsize::new(0), dir: AtomicU32::new(0) }
    }
}

impl Nmis {
    pub const fn new() -> Self {
        Self {
            gate: Gate::new(),
            counters: Counters::new(),
            records: [Record::new(), Record::new()],
            announced: AtomicU32::new(0),
        }
    }

    /// Notes what is announced from now on.
    pub fn set_announced(&self, buffer: Option<Buffer>) {
        let number = match buffer {
            None => 0,
            Some(Buffer::First) => 1,
            Some(Buffer::Second) => 2,
        };
        self.announced.store(number, Ordering::Relaxed);
    }

    /// The buffer that is not announced: where the next record goes.
    pub fn free(&self) -> Buffer {
        if self.announced.load(Ordering::Relaxed) == 1 { Buffer::Second } else { Buffer::First }
    }

    fn record(&self, buffer: Buffer) -> &Record {
        match buffer {
            Buffer::First => &self.records[0],
            Buffer::Second => &self.records[1],
        }
    }

    /// Lays a batch out in a buffer that is not announced and that no NMI reads.
    pub fn lay_out(&self, buffer: Buffer, sites: &[Site], dir: Direction) {
        let record = self.record(buffer);
        record.sites.store(sites.as_ptr().cast_mut(), Ordering::Relaxed);
        record.len.store(sites.len(), Ordering::Relaxed);
        record.dir.store((dir == Direction::Remove) as u32, Ordering::Relaxed);
    }

    /// One NMI, from its entry to its return.
    ///
    /// # Safety
    /// What is announced was made by a machine that keeps its sites until nobody reads the record any more.
    pub unsafe fn visit<H: Hooks>(&self, hooks: &H, handle: impl FnOnce()) {
        let mut handle = Some(handle);
        let mut visit = Visit::new();
        let mut announced = None;
        let mut batch: (&[Site], Direction) = (&[], Direction::Install);
        loop {
            match visit.next(announced.is_some()) {
                Act::Enter => announced = self.gate.enter(),
                Act::Read => {
                    if let Some(buffer) = announced {
                        let record = self.record(buffer);
                        let (start, len) = (record.sites.load(Ordering::Relaxed), record.len.load(Ordering::Relaxed));
                        let remove = record.dir.load(Ordering::Relaxed) != 0;
                        // SAFETY: the announcement was seen, so that these are the sites of a machine (`lay_out`); it waits
                        // for this NMI to leave before it lets go of them.
                        let sites = unsafe { core::slice::from_raw_parts(start, len) };
                        batch = (sites, if remove { Direction::Remove } else { Direction::Install });
                    }
                }
                Act::Write => {
                    self.counters.writes.fetch_add(1, Ordering::Relaxed);
                    for site in batch.0 {
                        // SAFETY: announced between open and close. These are the bytes that stand there or that the
                        // patcher is about to write, and no other NMI that runs began before the announcement.
                        unsafe { write::phase(hooks, site, Phase::Whole, Unit::Byte, batch.1) };
                    }
                }
                Act::Maintain => batch.0.iter().for_each(|site| textpoke_cpu::maintain(site.addr, u64::from(site.len))),
                Act::Synchronise => textpoke_cpu::serialize(),
                Act::Handle => {
                    if let Some(handle) = handle.take() {
                        handle();
                    }
                }
                Act::Leave => self.gate.leave(),
                Act::Return => return,
            }
        }
    }
}
