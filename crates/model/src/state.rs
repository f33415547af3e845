//! The packed state: 16 bytes for the patcher and memory, 16 for every CPU.

/// What a thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Executing program code.
    Program = 0,
    /// It executed a trap instruction; the system has not started the handler yet.
    Pending = 1,
    /// The handler has read the trap instruction, or the table if that comes first.
    Looked = 2,
    /// The handler has read both.
    Holds = 3,
}

/// The site number of a trap instruction that is the program's own.
pub const OWN: u8 = 3;

/// Somewhere in a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The site, or [`OWN`].
    pub site: u8,
    /// Offset of the next instruction, in bytes.
    pub offset: u8,
    /// The versions of the site that the instructions executed before it belong to, as a mask; 0 at the head.
    pub came: u8,
}

impl Spot {
    /// The head of a site.
    pub const fn head(site: u8) -> Self {
        Self { site, offset: 0, came: 0 }
    }
    pub(crate) const fn pack(self) -> u64 {
        (self.site as u64) | (self.offset as u64) << 2 | (self.came as u64) << 5
    }
    pub(crate) const fn unpack(bits: u64) -> Self {
        Self { site: (bits & 3) as u8, offset: (bits >> 2 & 7) as u8, came: (bits >> 5 & 7) as u8 }
    }
}

/// Why a thread will come back to the spot that it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// It will not.
    Nothing,
    /// A signal handler returns there.
    Signal(Spot),
    /// A called function returns there.
    Call(Spot),
}

/// How far a non-maskable interrupt has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Visit {
    /// There is none.
    None = 0,
    /// It came in.
    Arrived = 1,
    /// It is counted, and has not read the flag yet.
    Counted = 2,
    /// It is to help, and reads the record's address next.
    Address = 3,
    /// It reads the record's bytes next.
    Bytes = 4,
    /// It writes.
    Writes = 5,
    /// It maintains caches next.
    Maintains = 6,
    /// It does what it came for.
    Handles = 7,
}

/// One CPU and the thread on it.
///
/// `fetch` is what instruction fetch may return, in the form that the profile needs: a set of values for each lane, two
/// such sets, or the queue of fetched instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Thread {
    /// See above.
    pub fetch: u64,
    pub(crate) word: u64,
}

// What it is doing at the moment: a frame of 16 bits, of which an NMI pushes one.
const INSIDE: u64 = 1 << 8;
const STAGE: u32 = 9;
const STILL: u64 = 1 << 11;
const CHANGED: u64 = 1 << 12;
const TABLE: u32 = 13;
const FRAME: u64 = 0xffff;
// Where a signal handler or a called function returns to.
const SAVED: u32 = 16;
// The frame that an NMI interrupted, and the NMI.
const PUSHED: u32 = 26;
const VISIT: u32 = 42;
const INDEX: u32 = 45;
const RECORD: u32 = 50;
const LEFT: u32 = 52;
const FLAGS: u32 = 56;

/// It passed a synchronising point in this `SyncCores`.
pub const ACKED: u64 = 1;
/// `AwaitNoneInside` has found it outside.
pub const SEEN: u64 = 2;
/// It executes no program code.
pub const PARKED: u64 = 4;
/// It is the patcher's own CPU, which executes sites in NMIs only.
pub const PATCHER: u64 = 8;
/// A trap of its NMI returned: another NMI may come in.
pub const UNMASKED: u64 = 16;
/// It synchronises when its NMI returns, because it was unparked meanwhile.
pub const DUE: u64 = 32;

impl Thread {
    fn with_frame(self, frame: u64) -> Self {
        Self { word: self.word & !FRAME | frame, ..self }
    }

    /// The stage.
    pub fn stage(self) -> Stage {
        match self.word >> STAGE & 3 {
            0 => Stage::Program,
            1 => Stage::Pending,
            2 => Stage::Looked,
            _ => Stage::Holds,
        }
    }

    /// The spot inside a site where it stands, or where its trap instruction is. None: it executes other code, which
    /// may bring it to the head of any site.
    pub fn spot(self) -> Option<Spot> {
        (self.stage() != Stage::Program || self.word & INSIDE != 0).then(|| Spot::unpack(self.word))
    }

    /// Executing other code.
    pub fn outside(self) -> Self {
        self.with_frame(0)
    }

    /// About to execute the instruction at a spot behind a head.
    pub fn inside(self, spot: Spot) -> Self {
        self.with_frame(spot.pack() | INSIDE)
    }

    /// In the trap of the instruction at `spot`.
    pub fn trapped(self, spot: Spot) -> Self {
        self.with_frame(spot.pack() | (Stage::Pending as u64) << STAGE)
    }

    fn staged(self, stage: Stage) -> Self {
        Self { word: self.word & !(3 << STAGE) | (stage as u64) << STAGE, ..self }
    }

    /// The handler has read whether the trap instruction still stands there.
    pub fn looked(self, still: bool) -> Self {
        let th = if self.stage() == Stage::Pending { self.staged(Stage::Looked) } else { self.staged(Stage::Holds) };
        Self { word: th.word | if still { STILL } else { 0 }, ..th }
    }

    /// The handler has read the table, by its number; 0 is none.
    pub fn read(self, table: u8) -> Self {
        let th = if self.stage() == Stage::Pending { self.staged(Stage::Looked) } else { self.staged(Stage::Holds) };
        Self { word: th.word | u64::from(table) << TABLE, ..th }
    }

    /// Whether the trap instruction stood there when the handler looked.
    pub fn still(self) -> bool {
        self.word & STILL != 0
    }

    /// Whether the table changed between the handler's two reads.
    pub fn changed(self) -> bool {
        self.word & CHANGED != 0
    }

    /// The table changes now.
    pub fn table_changes(self) -> Self {
        let mut th = self;
        if self.stage() == Stage::Looked {
            th.word |= CHANGED;
        }
        // A handler that an NMI interrupted is still between its reads.
        if self.word >> (PUSHED + STAGE) & 3 == Stage::Looked as u64 {
            th.word |= CHANGED << PUSHED;
        }
        th
    }

    /// The number of the table that the handler read.
    pub fn table(self) -> u8 {
        (self.word >> TABLE & 7) as u8
    }

    /// The set of sites that the table is for.
    pub fn set(self) -> u8 {
        self.table().saturating_sub(1) / 2
    }

    /// Where it comes back to.
    pub fn saved(self) -> Saved {
        let spot = Spot::unpack(self.word >> SAVED);
        match self.word >> (SAVED + 8) & 3 {
            0 => Saved::Nothing,
            1 => Saved::Signal(spot),
            _ => Saved::Call(spot),
        }
    }

    /// Sets where it comes back to.
    pub fn saving(self, saved: Saved) -> Self {
        let bits = match saved {
            Saved::Nothing => 0,
            Saved::Signal(spot) => spot.pack() | 1 << 8,
            Saved::Call(spot) => spot.pack() | 2 << 8,
        };
        Self { word: self.word & !(0x3ff << SAVED) | bits << SAVED, ..self }
    }

    /// How far its NMI has got.
    pub fn visit(self) -> Visit {
        match self.word >> VISIT & 7 {
            0 => Visit::None,
            1 => Visit::Arrived,
            2 => Visit::Counted,
            3 => Visit::Address,
            4 => Visit::Bytes,
            5 => Visit::Writes,
            6 => Visit::Maintains,
            _ => Visit::Handles,
        }
    }

    /// Its NMI gets on.
    pub fn visiting(self, visit: Visit) -> Self {
        Self { word: self.word & !(7 << VISIT) | (visit as u64) << VISIT, ..self }
    }

    /// An NMI comes in and pushes what the thread was doing.
    pub fn interrupted(self) -> Self {
        let th = Self { word: self.word | (self.word & FRAME) << PUSHED, ..self }.outside();
        Self { word: th.word - (1 << LEFT), ..th }.visiting(Visit::Arrived)
    }

    /// The NMI returns: the thread goes on with what it was doing.
    pub fn resumed(self) -> Self {
        let frame = self.word >> PUSHED & FRAME;
        let th = self.with_frame(frame).visiting(Visit::None).without(UNMASKED);
        Self { word: th.word & !(FRAME << PUSHED | 0x1f << INDEX | 3 << RECORD), ..th }
    }

    /// As it was before its NMI, if there is one.
    pub fn below(self) -> Option<Self> {
        (self.visit() != Visit::None).then(|| self.with_frame(self.word >> PUSHED & FRAME))
    }

    /// Which piece of the record its NMI writes next.
    pub fn index(self) -> u16 {
        (self.word >> INDEX & 0x1f) as u16
    }

    /// Its NMI has dealt with the pieces before this one.
    pub fn at_index(self, index: u16) -> Self {
        Self { word: self.word & !(0x1f << INDEX) | u64::from(index) << INDEX, ..self }
    }

    /// Which record's address its NMI read.
    pub fn record(self) -> u8 {
        (self.word >> RECORD & 3) as u8
    }

    /// Its NMI has read the address of this record.
    pub fn with_record(self, record: u8) -> Self {
        Self { word: self.word & !(3 << RECORD) | u64::from(record) << RECORD, ..self }
    }

    /// How many more NMIs it takes.
    pub fn nmis_left(self) -> u8 {
        (self.word >> LEFT & 3) as u8
    }

    /// A CPU that takes so many NMIs.
    pub fn with_nmis(self, left: u8) -> Self {
        Self { word: self.word & !(3 << LEFT) | u64::from(left & 3) << LEFT, ..self }
    }

    /// All of it, for hashing.
    pub fn words(self) -> [u64; 2] {
        [self.fetch, self.word]
    }

    /// Whether a flag is set.
    pub fn is(self, flag: u64) -> bool {
        self.word >> FLAGS & flag != 0
    }

    /// Sets a flag.
    pub fn with(self, flag: u64) -> Self {
        Self { word: self.word | flag << FLAGS, ..self }
    }

    /// Clears a flag.
    pub fn without(self, flag: u64) -> Self {
        Self { word: self.word & !(flag << FLAGS), ..self }
    }
}

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
/// NMIs that run.
const RUNNING: u32 = 11;
/// Which record is announced to NMIs; 0 none.
const ANNOUNCED: u32 = 14;
/// Which records the address buffers and the byte buffers hold, as masks.
const ADDRESS: u32 = 16;
const BYTES: u32 = 18;
/// Data stores that the patcher has made and nobody sees yet, oldest lowest, four bits each.
const PENDING: u32 = 20;
/// What may be at the point where instruction and data caches meet: four bits a lane (Arm with IDC = 0).
const UNIFIED: u32 = 40;

/// A data store of the patcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataStore {
    /// The trap table, by number.
    Table(u8),
    /// The address of a record.
    Address(u8),
    /// The bytes of a record.
    Bytes(u8),
    /// The flag for NMIs: the record that is announced, 0 for none.
    Flag(u8),
}

impl DataStore {
    const fn pack(self) -> u64 {
        match self {
            Self::Flag(r) => 1 + r as u64,
            Self::Address(r) => 3 + r as u64,
            Self::Bytes(r) => 5 + r as u64,
            Self::Table(t) => 8 + t as u64,
        }
    }
    const fn unpack(bits: u64) -> Option<Self> {
        Some(match (bits & 15) as u8 {
            0 => return None,
            r @ 1..=3 => Self::Flag(r - 1),
            r @ 4..=5 => Self::Address(r - 3),
            r @ 6..=7 => Self::Bytes(r - 5),
            t => Self::Table(t - 8),
        })
    }
}

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

    /// How many NMIs are counted as running.
    pub fn running(&self) -> u64 {
        self.field(RUNNING, 7)
    }

    /// One more or one less.
    pub fn set_running(&mut self, running: u64) {
        self.set_field(RUNNING, 7, running);
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
        s.set_running(3);
        s.drain();
        assert_eq!((s.records(), s.table(), s.pending(0)), ((2, 1), 4, None));
        assert_eq!((s.right(), s.running(), s.unified()), (8, 3, 0xab));
    }

    #[test]
    fn states_are_small() {
        assert_eq!((size_of::<State<1>>(), size_of::<State<3>>()), (32, 64));
    }
}
