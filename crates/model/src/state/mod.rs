//! The packed state: 16 bytes for the patcher and memory, 16 for every CPU.

mod data;
mod thread;

pub use data::DataStore;
pub use thread::*;

/// Everything, for `N` CPUs besides the patcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State<const N: usize> {
    /// The text, two bits a lane.
    pub text: u32,
    /// The step that the patcher performs next.
    pub node: u16,
    /// How far it has got in it.
    pub sub: u16,
    /// See the constants of this module.
    pub misc: u64,
    /// The other CPUs; the patcher's own, if it takes NMIs, is the last.
    pub threads: [Thread; N],
}

/// Three bits: the published table, 0 none, else a set of sites and a direction.
const TABLE_BITS: u64 = 7;
/// The text can be written.
pub const OPEN: u64 = 1 << 3;
/// Somebody answers traps.
pub const HANDLER: u64 = 1 << 4;
/// Everybody else is being parked.
pub const PARKING: u64 = 1 << 5;
/// There are two buffers for records, and the announcement says which.
pub const TWO_BUFFERS: u64 = 1 << 6;
/// The version that is the right one after a call returned, as a mask; 0: none is.
const RIGHT: u32 = 7;
/// Which record is announced to NMIs; 0 none.
const ANNOUNCED: u32 = 14;
/// Which records the address buffers and the byte buffers hold, as masks.
const ADDRESS: u32 = 16;
const BYTES: u32 = 18;
/// Data stores that the patcher has made and nobody sees yet, oldest lowest, four bits each.
const PENDING: u32 = 20;
/// What may be at the point where instruction and data caches meet: four bits a lane (Arm with IDC = 0).
const UNIFIED: u32 = 40;

impl<const N: usize> State<N> {
    /// The published table.
    pub fn table(&self) -> u8 {
        (self.misc & TABLE_BITS) as u8
    }

    fn field(&self, at: u32, mask: u64) -> u64 {
        self.misc >> at & mask
    }

    fn set_field(&mut self, at: u32, mask: u64, value: u64) {
        self.misc = self.misc & !(mask << at) | (value & mask) << at;
    }

    /// The versions that may be executed although a call has returned; 0: nothing is promised at the moment.
    pub fn right(&self) -> u8 {
        self.field(RIGHT, 15) as u8
    }

    /// A call has returned (or the next one begins).
    pub fn set_right(&mut self, versions: u8) {
        self.set_field(RIGHT, 15, u64::from(versions));
    }

    /// How many NMIs run that were counted when they came in.
    pub fn running(&self) -> usize {
        self.threads.iter().map(|th| th.counted()).sum()
    }

    /// The records in the address buffers and in the byte buffers, as masks.
    pub fn records(&self) -> (u8, u8) {
        (self.field(ADDRESS, 3) as u8, self.field(BYTES, 3) as u8)
    }

    /// The record that is announced, 0 if none is.
    pub fn announced(&self) -> u8 {
        self.field(ANNOUNCED, 3) as u8
    }

    /// What the point of unification may hold.
    pub fn unified(&self) -> u64 {
        self.misc >> UNIFIED
    }

    /// Sets it.
    pub fn set_unified(&mut self, set: u64) {
        self.misc = self.misc & ((1 << UNIFIED) - 1) | set << UNIFIED;
    }

    /// A data store becomes visible.
    pub fn apply(&mut self, store: DataStore) {
        match store {
            DataStore::Flag(r) => self.set_field(ANNOUNCED, 3, u64::from(r)),
            DataStore::Address(r) => self.set_field(ADDRESS, 3, self.buffered(ADDRESS, r)),
            DataStore::Bytes(r) => self.set_field(BYTES, 3, self.buffered(BYTES, r)),
            DataStore::Table(table) => {
                if self.table() != table {
                    // Handlers between their two reads notice.
                    self.threads = self.threads.map(Thread::table_changes);
                }
                self.misc = self.misc & !TABLE_BITS | u64::from(table);
            }
        }
    }

    /// What a buffer, or a pair of buffers, holds when this record was written.
    fn buffered(&self, at: u32, record: u8) -> u64 {
        let others = if self.misc & TWO_BUFFERS != 0 { self.field(at, 3) } else { 0 };
        others | 1 << (record - 1)
    }

    /// The `i`-th store that nobody sees yet.
    pub fn pending(&self, i: u32) -> Option<DataStore> {
        DataStore::unpack(self.field(PENDING + 4 * i, 15))
    }

    /// A store goes to the store buffer. False: it is full.
    pub fn push(&mut self, store: DataStore) -> bool {
        let Some(i) = (0..5).find(|&i| self.pending(i).is_none()) else { return false };
        self.set_field(PENDING + 4 * i, 15, store.pack());
        true
    }

    /// The `i`-th store leaves the buffer and becomes visible.
    pub fn commit(&mut self, i: u32) {
        let Some(store) = self.pending(i) else { return };
        let all = self.field(PENDING, 0xf_ffff);
        let below = all & ((1 << (4 * i)) - 1);
        self.set_field(PENDING, 0xf_ffff, below | all >> (4 * (i + 1)) << (4 * i));
        self.apply(store);
    }

    /// A barrier: everything becomes visible.
    pub fn drain(&mut self) {
        while self.pending(0).is_some() {
            self.commit(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_thread_disturbs_anything_else() {
        let spots = [(0, 1, 1), (2, 4, 6), (OWN, 0, 0), (1, 7, 7)];
        for (site, offset, came) in spots {
            let spot = Spot { site, offset, came };
            for saved in [Saved::Nothing, Saved::Signal(spot), Saved::Call(spot)] {
                let th = Thread { fetch: 7, ..Thread::default() }.saving(saved).with(SEEN).with_nmis(2);
                let inside = th.inside(spot);
                assert_eq!((inside.spot(), inside.stage(), inside.saved()), (Some(spot), Stage::Program, saved));
                let trapped = inside.trapped(spot);
                assert_eq!((trapped.spot(), trapped.stage()), (Some(spot), Stage::Pending));
                let holds = trapped.looked(true).table_changes().read(4);
                assert_eq!(
                    (holds.stage(), holds.still(), holds.changed(), holds.table()),
                    (Stage::Holds, true, true, 4)
                );
                assert_eq!(
                    (holds.spot(), holds.saved(), holds.is(SEEN), holds.is(ACKED)),
                    (Some(spot), saved, true, false)
                );
                assert_eq!(holds.outside(), th);
                assert_eq!(th.table_changes(), th, "only a handler between its reads notices");
                let nmi = holds.interrupted();
                assert_eq!((nmi.visit(), nmi.spot(), nmi.below().unwrap().spot()), (Visit::Arrived, None, Some(spot)));
                let busy = nmi.visiting(Visit::Writes).with_record(2).at_index(9).inside(spot).with(UNMASKED);
                assert_eq!((busy.record(), busy.index(), busy.visit()), (2, 9, Visit::Writes));
                assert_eq!(busy.resumed(), holds.with_nmis(1));
                let second = busy.outside();
                assert!(!busy.can_nest() && second.can_nest() && !second.with_nmis(0).can_nest());
                let nested = second.nests();
                assert_eq!((nested.visit(), nested.nested(), nested.counted()), (Visit::Arrived, Visit::Writes, 1));
                assert!(!nested.visiting(Visit::Handles).can_nest(), "two deep");
                let first = nested.visiting(Visit::Handles).with_record(1).at_index(3).unnested();
                assert_eq!((first, second.index(), first.index()), (second.with_nmis(0).at_index(0), 9, 0));
                let looked = trapped.looked(true).interrupted().table_changes();
                assert!(looked.resumed().changed(), "an interrupted handler notices, too");
            }
        }
    }

    #[test]
    fn data_stores_become_visible_one_by_one() {
        let mut s = State { text: 0, node: 0, sub: 0, misc: 0, threads: [Thread::default()] };
        s.set_unified(0xab);
        let all = [DataStore::Address(2), DataStore::Bytes(1), DataStore::Flag(2), DataStore::Table(4)];
        assert!(all.iter().all(|&store| s.push(store)));
        assert_eq!((s.records(), s.table(), s.announced()), ((0, 0), 0, 0));
        s.commit(2);
        assert_eq!((s.pending(2), s.announced()), (Some(DataStore::Table(4)), 2));
        s.set_right(8);
        s.drain();
        assert_eq!((s.records(), s.table(), s.pending(0)), ((2, 1), 4, None));
        assert_eq!((s.right(), s.running(), s.unified()), (8, 0, 0xab));
    }

    #[test]
    fn states_are_small() {
        assert_eq!((size_of::<State<1>>(), size_of::<State<3>>()), (32, 64));
    }
}
