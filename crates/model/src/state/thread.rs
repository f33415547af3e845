//! One CPU and the thread on it, in 16 bytes.

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

impl Visit {
    fn unpack(bits: u64) -> Self {
        match bits & 7 {
            0 => Self::None,
            1 => Self::Arrived,
            2 => Self::Counted,
            3 => Self::Address,
            4 => Self::Bytes,
            5 => Self::Writes,
            6 => Self::Maintains,
            _ => Self::Handles,
        }
    }

    /// Whether it is going to write a record, or does.
    pub fn helps(self) -> bool {
        matches!(self, Self::Address | Self::Bytes | Self::Writes)
    }
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
// How far the NMI had got that this NMI interrupted, and whether its record was the second; its frame is empty.
const NESTED: u32 = 54;
const NESTED_SECOND: u64 = 1 << 57;
const FLAGS: u32 = 58;

/// It passed a synchronising point in this `SyncCores`; or its NMI that this `AwaitNmis` waits for has ended.
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
        Visit::unpack(self.word >> VISIT)
    }

    /// How far the NMI had got that its NMI interrupted.
    pub fn nested(self) -> Visit {
        Visit::unpack(self.word >> NESTED)
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

    /// Whether an NMI that comes now interrupts its NMI, as far as there is room to say so: that is in no site and in no
    /// trap, and interrupted none itself. One that has done nothing yet is as good as one that comes later.
    pub fn can_nest(self) -> bool {
        !matches!(self.visit(), Visit::None | Visit::Arrived)
            && self.nested() == Visit::None
            && self.word & FRAME == 0
            && self.nmis_left() > 0
    }

    /// An NMI interrupts its NMI.
    pub fn nests(self) -> Self {
        let second = if self.record() == 2 { NESTED_SECOND } else { 0 };
        let word = self.word | (self.visit() as u64) << NESTED | second;
        Self { word: word - (1 << LEFT), ..self }.at_index(0).visiting(Visit::Arrived)
    }

    /// The NMI that interrupted an NMI returns. The first goes through its record again from the start, where nothing is
    /// left that it wrote before.
    pub fn unnested(self) -> Self {
        let (visit, second) = (self.nested(), self.word & NESTED_SECOND != 0);
        let th = Self { word: self.word & !(7 << NESTED | NESTED_SECOND), ..self.outside() };
        // Who helps no more needs no record.
        th.with_record(if visit.helps() { 1 + u8::from(second) } else { 0 }).at_index(0).visiting(visit)
    }

    /// How many NMIs of this CPU run that are counted.
    pub fn counted(self) -> usize {
        let counts = |visit| !matches!(visit, Visit::None | Visit::Arrived);
        usize::from(counts(self.visit())) + usize::from(counts(self.nested()))
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
