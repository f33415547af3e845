//! A ring: one thread of the target writes records, the tracer reads them.
//!
//! The writer reserves a slot in one step (`xadd` or its like on [`RingHeader::head`]), because a signal handler that is
//! traced too may run between any two, gives it back if the ring is full, and commits it by storing word 0 last. Positions count bytes since the ring was
//! made and never wrap. The reader takes committed slots in order, zeroes word 0 of each and then publishes how far it got.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::record::{RECORD_BYTES, Record};

/// Values of [`RingHeader::state`].
pub mod state {
    /// Nobody writes; any thread may claim the ring.
    pub const FREE: u32 = 0;
    /// A thread writes. Its tid appears a little later.
    pub const CLAIMED: u32 = 1;
}

/// In front of the slots. What the writer changes and what the reader changes lie on different pairs of cache lines.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct RingHeader {
    /// Position of the next slot to reserve. In a full ring it moves on for a moment and back.
    pub head: AtomicU64,
    /// Position at which the writer looks at [`tail`](Self::tail) and [`state`](Self::state) again: `tail + bytes` when
    /// it last looked. 0 makes it look at once.
    pub limit: AtomicU64,
    /// Records that were lost because the ring was full.
    pub lost: AtomicU64,
    /// Position of the slot that the last one of them would have had.
    pub lost_at: AtomicU64,
    /// Address of the first slot in the target. Set by the tracer.
    pub slots: AtomicU64,
    /// Bytes of all slots minus 1. Set by the tracer.
    pub mask: AtomicU64,
    /// Thread id of the writer as the target's PID namespace numbers it; 0 = not known (yet), negative = gettid failed.
    pub tid: AtomicU32,
    /// One of [`state`].
    pub state: AtomicU32,
    /// Position of the first slot that the reader has not given back. Written by the reader only.
    pub tail: Aligned,
}

/// A position on cache lines of its own.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct Aligned(pub AtomicU64);

/// Room for one record.
#[repr(C, align(16))]
#[derive(Debug, Default)]
pub struct Slot {
    /// Word 0; 0 = not committed.
    pub commit: AtomicU64,
    /// Word 1.
    pub word: AtomicU64,
}

const _: () = assert!(size_of::<Slot>() == RECORD_BYTES && size_of::<RingHeader>() == 256);

/// What to do at a slot that was reserved and not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holes {
    /// Stop there: its writer may be off the CPU, or in a signal handler. Only when the handler (or what came after it:
    /// it may have jumped out and never come back) has filled half of the ring behind the slot, go on.
    Wait,
    /// Nobody will commit it any more: go on.
    Skip,
}

/// The tracer's position in one ring. It is kept here and not read back from shared memory, where a program that writes
/// through wild pointers could change it.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    tail: u64,
    /// Value of [`RingHeader::lost`] when it was last read.
    full: u64,
    lost: u64,
    tsc: u64,
    gaps: Gaps,
}

/// Slots after which the reader tells the writer how far it got, so that it need not wait for the end of a full ring.
const PUBLISH_EVERY: u64 = 1024;

impl Reader {
    /// Records lost so far, skipped slots included. The markers that were handed out add up to it after a last
    /// [`Reader::drain`] that skips holes; before, some may still be to come.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Hands all committed records to `sink`, in order, and a [marker](Record::lost) where some were lost. Returns their
    /// number without markers. At most one full ring per call.
    ///
    /// `slots` must have a power of two of elements, as [`Layout`](crate::Layout) makes them.
    pub fn drain(&mut self, header: &RingHeader, slots: &[Slot], holes: Holes, mut sink: impl FnMut([u64; 2])) -> u64 {
        let bytes = size_of_val(slots) as u64;
        let mask = slots.len() - 1;
        self.publish(header);
        let end = self.tail.wrapping_add(self.pending(header, bytes));
        let mut count = 0;
        let mut skipped = 0;
        while self.tail != end {
            while let Some(lost) = self.gaps.reached(self.tail) {
                self.mark(lost, &mut sink);
            }
            let slot = &slots[(self.tail as usize / RECORD_BYTES) & mask];
            let tsc = slot.commit.load(Ordering::Acquire);
            if tsc == 0 {
                if holes == Holes::Wait && !self.is_abandoned(header, slots) {
                    break;
                }
                skipped += 1;
                self.lost += 1;
            } else {
                self.mark(core::mem::take(&mut skipped), &mut sink);
                sink([tsc, slot.word.load(Ordering::Relaxed)]);
                slot.commit.store(0, Ordering::Relaxed);
                self.tsc = tsc;
                count += 1;
            }
            self.tail = self.tail.wrapping_add(RECORD_BYTES as u64);
            if self.tail.is_multiple_of(PUBLISH_EVERY * RECORD_BYTES as u64) {
                self.publish(header);
            }
        }
        self.mark(skipped, &mut sink);
        self.publish(header);
        // With nobody left to write, nothing comes before the places that were not reached.
        let place = if holes == Holes::Skip { u64::MAX } else { self.tail };
        while let Some(lost) = self.gaps.reached(place) {
            self.mark(lost, &mut sink);
        }
        count
    }

    fn pending(&self, header: &RingHeader, bytes: u64) -> u64 {
        let distance = header.head.load(Ordering::Acquire).wrapping_sub(self.tail);
        // Threads that share one FS base race for one ring and may set its head back.
        if distance as i64 <= 0 { 0 } else { distance.min(bytes) & !(RECORD_BYTES as u64 - 1) }
    }

    /// Gives back what was read, and notes what the writer has lost meanwhile: the place is as far ahead as the ring was
    /// full.
    fn publish(&mut self, header: &RingHeader) {
        header.tail.0.store(self.tail, Ordering::Release);
        let full = header.lost.load(Ordering::Acquire);
        let lost = full.wrapping_sub(self.full);
        if lost > 0 {
            self.full = full;
            self.lost = self.lost.wrapping_add(lost);
            self.gaps.note(header.lost_at.load(Ordering::Relaxed), lost);
        }
    }

    /// Whether the slot at the tail, reserved and not committed, is behind the times: half a ring was reserved after it,
    /// and some of that is committed. (In a full ring a slot that is about to be given back has nothing behind it.)
    fn is_abandoned(&self, header: &RingHeader, slots: &[Slot]) -> bool {
        let pending = self.pending(header, size_of_val(slots) as u64) as usize / RECORD_BYTES;
        let first = self.tail as usize / RECORD_BYTES;
        let committed = |i: usize| slots[(first + i) & (slots.len() - 1)].commit.load(Ordering::Relaxed) != 0;
        pending > slots.len() / 2 && (1..pending).any(committed)
    }

    fn mark(&mut self, lost: u64, sink: &mut impl FnMut([u64; 2])) {
        if lost > 0 {
            sink(Record::lost(self.tsc.max(1), lost).to_words());
        }
    }
}

/// Places ahead at which records were lost, in order: position and number.
#[derive(Clone, Debug, Default)]
struct Gaps {
    noted: [(u64, u64); 8],
    len: usize,
}

impl Gaps {
    /// Notes a place. If there are too many, the last one stands for the rest.
    fn note(&mut self, at: u64, lost: u64) {
        let room = self.len < self.noted.len();
        match self.noted[..self.len].last_mut() {
            Some(last) if last.0 == at || !room => last.1 = last.1.wrapping_add(lost),
            _ => {
                self.noted[self.len] = (at, lost);
                self.len += 1;
            }
        }
    }

    /// Takes the first place if it is not behind `tail`.
    fn reached(&mut self, tail: u64) -> Option<u64> {
        let &(at, lost) = self.noted[..self.len].first()?;
        if at > tail {
            return None;
        }
        self.noted.copy_within(1..self.len, 0);
        self.len -= 1;
        Some(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::vec::Vec;

    const SLOTS: usize = 256;

    /// The probe's writing side, in the order in which the assembly does it.
    struct Ring {
        header: RingHeader,
        slots: Vec<Slot>,
    }

    impl Ring {
        fn new() -> Self {
            Self { header: RingHeader::default(), slots: (0..SLOTS).map(|_| Slot::default()).collect() }
        }

        fn reserve(&self) -> Option<usize> {
            let h = &self.header;
            let at = h.head.fetch_add(RECORD_BYTES as u64, Ordering::Relaxed);
            if at >= h.limit.load(Ordering::Relaxed) {
                let limit = h.tail.0.load(Ordering::Acquire) + (SLOTS * RECORD_BYTES) as u64;
                h.limit.store(limit, Ordering::Relaxed);
                if at >= limit {
                    h.head.fetch_sub(RECORD_BYTES as u64, Ordering::Relaxed);
                    h.lost_at.store(at, Ordering::Relaxed);
                    h.lost.fetch_add(1, Ordering::Relaxed);
                    return None;
                }
            }
            Some(at as usize / RECORD_BYTES % SLOTS)
        }

        fn commit(&self, slot: usize, tsc: u64) {
            self.slots[slot].word.store(tsc << 24, Ordering::Relaxed);
            self.slots[slot].commit.store(tsc, Ordering::Release);
        }

        fn write(&self, tsc: u64) -> bool {
            self.reserve().map(|slot| self.commit(slot, tsc)).is_some()
        }
    }

    fn drain(reader: &mut Reader, ring: &Ring, holes: Holes) -> Vec<Record> {
        let mut all = Vec::new();
        reader.drain(&ring.header, &ring.slots, holes, |words| all.push(Record::from_words(words)));
        all
    }

    fn times(records: &[Record]) -> Vec<u64> {
        records.iter().map(|r| if r.is_lost() { 0 } else { r.tsc }).collect()
    }

    #[test]
    fn what_is_written_is_read_once_and_in_order_over_many_laps() {
        let (ring, mut reader) = (Ring::new(), Reader::default());
        let mut next = 1;
        for chunk in [1, 100, 192, 7, 150].iter().cycle().take(100) {
            for _ in 0..*chunk {
                assert!(ring.write(next));
                next += 1;
            }
            let got = times(&drain(&mut reader, &ring, Holes::Wait));
            assert_eq!(got, (next - chunk..next).collect::<Vec<_>>());
        }
        assert_eq!(reader.lost(), 0);
    }

    #[test]
    fn a_full_ring_loses_and_says_where() {
        let (ring, mut reader) = (Ring::new(), Reader::default());
        let room = SLOTS as u64;
        for i in 1..=room + 5 {
            assert_eq!(ring.write(i), i <= room);
        }
        let got = drain(&mut reader, &ring, Holes::Wait);
        assert_eq!(got.len() as u64, room + 1);
        assert_eq!(got[room as usize], Record::lost(room, 5));
        assert!(ring.write(1000));
        assert_eq!(times(&drain(&mut reader, &ring, Holes::Wait)), [1000]);
        assert_eq!(reader.lost(), 5);
    }

    /// What comes behind the loss is already in the ring when the loss is noticed, and the marker stands in between.
    #[test]
    fn the_marker_stands_where_the_loss_was() {
        let (ring, mut reader) = (Ring::new(), Reader::default());
        let room = SLOTS as u64;
        (1..=room + 5).for_each(|i| _ = ring.write(i));
        // The reader gives half of it back, then the writer goes on until the ring is full once more.
        for slot in &ring.slots[..SLOTS / 2] {
            slot.commit.store(0, Ordering::Relaxed);
        }
        reader.tail = room / 2 * RECORD_BYTES as u64;
        ring.header.tail.0.store(reader.tail, Ordering::Release);
        let mut want: Vec<u64> = (room / 2 + 1..=room).chain([0]).collect();
        (1001..=1000 + room / 2).for_each(|i| assert!(ring.write(i)));
        want.extend(1001..=1000 + room / 2);
        reader.publish(&ring.header);
        assert!(!ring.write(7));
        want.push(0);
        let got = drain(&mut reader, &ring, Holes::Wait);
        assert_eq!(times(&got), want);
        let counts: Vec<u64> = got.iter().filter(|r| r.is_lost()).map(|r| r.sp8).collect();
        assert_eq!((counts, reader.lost()), ([5, 1].into(), 6));
    }

    #[test]
    fn more_losses_than_can_be_noted_are_still_counted() {
        let mut gaps = Gaps::default();
        (1..=20).for_each(|at| gaps.note(at * 16, 1));
        let all: Vec<u64> = core::iter::from_fn(|| gaps.reached(u64::MAX)).collect();
        assert_eq!((all.len(), all.iter().sum::<u64>()), (8, 20));
    }

    #[test]
    fn a_hole_is_waited_for() {
        let (ring, mut reader) = (Ring::new(), Reader::default());
        ring.write(1);
        let outer = ring.reserve().unwrap();
        ring.write(2);
        assert_eq!(times(&drain(&mut reader, &ring, Holes::Wait)), [1]);
        ring.commit(outer, 3);
        assert_eq!(times(&drain(&mut reader, &ring, Holes::Wait)), [3, 2]);
    }

    #[test]
    fn a_hole_that_was_jumped_out_of_does_not_stop_the_ring() {
        let (ring, mut reader) = (Ring::new(), Reader::default());
        ring.reserve().unwrap();
        for i in 1..=10 {
            ring.write(i);
        }
        assert_eq!(drain(&mut reader, &ring, Holes::Wait), []);
        let mut written = 10;
        while ring.write(written + 1) {
            written += 1;
        }
        let got = drain(&mut reader, &ring, Holes::Wait);
        assert_eq!(got[0], Record::lost(1, 1));
        assert_eq!(times(&got[1..=written as usize]), (1..=written).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_ring_that_is_about_to_give_a_slot_back_has_no_hole() {
        let (ring, mut reader) = (Ring::new(), Reader::default());
        for i in 1..=SLOTS as u64 {
            assert!(ring.write(i));
        }
        ring.header.head.fetch_add(RECORD_BYTES as u64, Ordering::Relaxed);
        assert_eq!(drain(&mut reader, &ring, Holes::Wait).len(), SLOTS);
        assert_eq!(drain(&mut reader, &ring, Holes::Wait), []);
        ring.header.head.fetch_sub(RECORD_BYTES as u64, Ordering::Relaxed);
        assert!(ring.write(7));
        assert_eq!(times(&drain(&mut reader, &ring, Holes::Wait)), [7]);
        assert_eq!(reader.lost(), 0);
    }

    #[test]
    fn at_the_end_holes_are_skipped() {
        let (ring, mut reader) = (Ring::new(), Reader::default());
        ring.write(1);
        ring.reserve().unwrap();
        ring.reserve().unwrap();
        ring.write(2);
        ring.reserve().unwrap();
        let got = drain(&mut reader, &ring, Holes::Skip);
        assert_eq!(got, [Record::new(1, 8, 0), Record::lost(1, 2), Record::new(2, 16, 0), Record::lost(2, 1)]);
        assert_eq!(reader.lost(), 3);
    }

    #[test]
    fn nonsense_in_shared_memory_is_survived() {
        let (ring, mut reader) = (Ring::new(), Reader::default());
        for head in [u64::MAX, 1 << 63, 7, (1 << 40) + 3] {
            ring.header.head.store(head, Ordering::Relaxed);
            drain(&mut reader, &ring, Holes::Skip);
            drain(&mut reader, &ring, Holes::Wait);
        }
    }
}
