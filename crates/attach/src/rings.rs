//! The tracer's side of all rings of a session.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use textpoke_trace::ring::{Holes, Reader, state};

use crate::proc;
use crate::shared::Shared;

/// A thread's use of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RingId {
    /// Index of the ring.
    pub slot: u32,
    /// Thread, as the target numbers it.
    pub tid: u32,
    /// Counts the threads that had this ring before.
    pub generation: u32,
}

/// All rings, readable also when the target is no more.
pub struct Rings {
    shared: Shared,
    pid: i32,
    readers: Vec<(Reader, u32)>,
    /// What one drain of one ring gives, kept for the next.
    batch: Vec<[u64; 2]>,
    /// Thread ids in the rings are those of `/proc`: the target is in our PID namespace.
    same_namespace: bool,
}

impl Rings {
    pub(crate) fn new(shared: Shared, pid: i32) -> Self {
        let readers = vec![(Reader::default(), 0); shared.layout().rings];
        let namespace = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/pid")).ok();
        let same_namespace = namespace("self").is_some() && namespace("self") == namespace(&pid.to_string());
        Self { shared, pid, readers, batch: Vec::new(), same_namespace }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Hands the committed records of each ring to `sink`, in order, many at a time. With `rest`, gaps left by threads that are gone
    /// are skipped: only when nobody writes any more. Returns the number of records.
    pub fn drain(&mut self, rest: bool, mut sink: impl FnMut(RingId, &[[u64; 2]])) -> u64 {
        let holes = if rest { Holes::Skip } else { Holes::Wait };
        let mut count = 0;
        for slot in 0..self.readers.len() {
            let header = self.shared.ring(slot);
            if header.state.load(Ordering::Acquire) == state::CLAIMED {
                count += self.drain_one(slot, holes, &mut sink);
            }
        }
        count
    }

    fn drain_one(&mut self, slot: usize, holes: Holes, sink: &mut impl FnMut(RingId, &[[u64; 2]])) -> u64 {
        let header = self.shared.ring(slot);
        let (reader, generation) = &mut self.readers[slot];
        let id = RingId { slot: slot as u32, tid: header.tid.load(Ordering::Relaxed), generation: *generation };
        self.batch.clear();
        let count = reader.drain(header, self.shared.slots(slot), holes, |words| self.batch.push(words));
        if !self.batch.is_empty() {
            sink(id, &self.batch);
        }
        count
    }

    /// Takes back the rings of threads that have ended, after a last drain into `sink`; `ended` hears of each.
    pub fn recycle(&mut self, mut sink: impl FnMut(RingId, &[[u64; 2]]), mut ended: impl FnMut(RingId)) {
        if !self.same_namespace {
            return;
        }
        // The claimed rings first and the living threads second: a thread that claims a ring in between is alive.
        let claimed: Vec<(usize, u32)> = (0..self.readers.len())
            .filter_map(|slot| {
                let header = self.shared.ring(slot);
                let claimed = header.state.load(Ordering::Acquire) == state::CLAIMED;
                let tid = header.tid.load(Ordering::Acquire);
                (claimed && tid as i32 > 0).then_some((slot, tid))
            })
            .collect();
        let Ok(alive) = proc::threads(self.pid) else { return };
        let alive: HashSet<i32> = alive.into_iter().collect();
        for (slot, tid) in claimed {
            if alive.contains(&(tid as i32)) {
                continue;
            }
            self.drain_one(slot, Holes::Skip, &mut sink);
            ended(RingId { slot: slot as u32, tid, generation: self.readers[slot].1 });
            self.readers[slot].1 += 1;
            self.shared.free_ring(slot);
        }
    }

    /// Events that found no ring, and events of threads that use the GS base themselves.
    pub fn lost_without_ring(&self) -> (u64, u64) {
        let probes = &self.shared.control().probes;
        (probes.no_ring.load(Ordering::Relaxed), probes.foreign.load(Ordering::Relaxed))
    }
}
