//! The packed state: 16 bytes for the patcher and memory, 16 for every thread.

/// What a thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Executing program code.
    Program = 0,
    /// It executed a trap instruction; the system has not started the handler yet.
    Pending = 1,
    /// The handler has read the trap byte.
    Looked = 2,
    /// The handler has read the trap table.
    Holds = 3,
}

/// The site number of a trap instruction that is the program's own.
pub const OWN: u8 = 3;

/// Somewhere in a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The site, or [`OWN`].
    pub site: u8,
    /// Offset of the next instruction.
    pub offset: u8,
    /// Whether the instructions before it were of the new form.
    pub new: bool,
}

impl Spot {
    const fn pack(self) -> u64 {
        (self.site as u64) | (self.offset as u64) << 2 | (self.new as u64) << 5
    }
    const fn unpack(bits: u64) -> Self {
        Self { site: (bits & 3) as u8, offset: (bits >> 2 & 7) as u8, new: bits >> 5 & 1 == 1 }
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

/// One thread that executes the sites.
///
/// `fetch` is, on Intel, the set of values that each lane may yield; on AMD, the queue of fetched instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Thread {
    /// See above.
    pub fetch: u64,
    pub(crate) word: u64,
}

const SPOT: u64 = 0x3f;
const STAGE: u32 = 8;
const STILL: u32 = 12;
const CHANGED: u32 = 13;
const TABLE: u32 = 14;
const SAVED: u32 = 16;
const FLAGS: u32 = 32;

/// It passed a synchronising point in this `SyncCores`.
pub const ACKED: u64 = 1;
/// `AwaitNoneInside` has found it outside.
pub const SEEN: u64 = 2;
/// It executes no program code.
pub const PARKED: u64 = 4;

impl Thread {
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
        (self.stage() != Stage::Program || self.word >> 6 & 1 == 1).then(|| Spot::unpack(self.word))
    }

    /// Executing other code.
    pub fn outside(self) -> Self {
        Self { word: self.word & !(SPOT | 1 << 6 | 0xff << STAGE), ..self }
    }

    /// About to execute the instruction at a spot behind a head.
    pub fn inside(self, spot: Spot) -> Self {
        let word = self.outside().word | spot.pack() | 1 << 6;
        Self { word, ..self }
    }

    /// In the trap of the instruction at `spot`.
    pub fn trapped(self, spot: Spot) -> Self {
        let word = self.outside().word | spot.pack() | (Stage::Pending as u64) << STAGE;
        Self { word, ..self }
    }

    /// The handler has read whether the trap byte still stands there.
    pub fn looked(self, still: bool) -> Self {
        let word = self.word & !(0xff << STAGE) | (Stage::Looked as u64) << STAGE | (still as u64) << STILL;
        Self { word, ..self }
    }

    /// The handler has read the table: 0 none, 1 Install, 2 Remove.
    pub fn holding(self, table: u8) -> Self {
        let word = self.word & !(3 << STAGE) | (Stage::Holds as u64) << STAGE | u64::from(table) << TABLE;
        Self { word, ..self }
    }

    /// Whether the trap byte stood there when the handler looked.
    pub fn still(self) -> bool {
        self.word >> STILL & 1 == 1
    }

    /// Whether the table changed after the handler looked and before it read the table.
    pub fn changed(self) -> bool {
        self.word >> CHANGED & 1 == 1
    }

    /// The table changes now.
    pub fn table_changes(self) -> Self {
        let looked = self.stage() == Stage::Looked;
        Self { word: self.word | (looked as u64) << CHANGED, ..self }
    }

    /// The table that the handler read.
    pub fn table(self) -> u8 {
        (self.word >> TABLE & 3) as u8
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

/// Everything, for `N` threads.
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
    /// The threads.
    pub threads: [Thread; N],
}

/// Two bits: the published table, 0 none, 1 Install, 2 Remove.
pub const TABLE_BITS: u64 = 3;
/// The text can be written.
pub const OPEN: u64 = 4;
/// Somebody answers traps.
pub const HANDLER: u64 = 8;
/// The call has returned and the old form is the right one.
pub const OLD_IS_RIGHT: u64 = 16;
/// The call has returned and the new form is the right one.
pub const NEW_IS_RIGHT: u64 = 32;
/// Everybody else is being parked.
pub const PARKING: u64 = 64;

impl<const N: usize> State<N> {
    /// The published table.
    pub fn table(&self) -> u8 {
        (self.misc & TABLE_BITS) as u8
    }

    /// Publishes or withdraws the table, which handlers that have looked at the trap byte notice.
    pub fn set_table(&mut self, table: u8) {
        if self.table() != table {
            self.threads = self.threads.map(Thread::table_changes);
        }
        self.misc = self.misc & !TABLE_BITS | u64::from(table);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_thread_disturbs_anything_else() {
        let spots = [(0, 1, false), (2, 4, true), (OWN, 0, false), (1, 7, true)];
        for (site, offset, new) in spots {
            let spot = Spot { site, offset, new };
            for saved in [Saved::Nothing, Saved::Signal(spot), Saved::Call(spot)] {
                let th = Thread { fetch: 7, ..Thread::default() }.saving(saved).with(SEEN);
                let inside = th.inside(spot);
                assert_eq!((inside.spot(), inside.stage(), inside.saved()), (Some(spot), Stage::Program, saved));
                let trapped = inside.trapped(spot);
                assert_eq!((trapped.spot(), trapped.stage()), (Some(spot), Stage::Pending));
                let holds = trapped.looked(true).table_changes().holding(2);
                assert_eq!(
                    (holds.stage(), holds.still(), holds.changed(), holds.table()),
                    (Stage::Holds, true, true, 2)
                );
                assert_eq!(
                    (holds.spot(), holds.saved(), holds.is(SEEN), holds.is(ACKED)),
                    (Some(spot), saved, true, false)
                );
                assert_eq!(holds.outside(), th);
                assert_eq!(th.table_changes(), th, "only a handler that has looked notices");
            }
        }
    }

    #[test]
    fn states_are_small() {
        assert_eq!((size_of::<State<1>>(), size_of::<State<3>>()), (32, 64));
    }
}
