//! The bytes of the sites, packed: every lane takes one of at most four values that are known beforehand.
//!
//! A *lane* is as much text as no instruction divides: one byte on x86-64, four on AArch64, two or four on RISC-V. The
//! text is two bits a lane, the number of the value that stands there; what a CPU may fetch is four bits a lane, the set of
//! values.
//!
//! A *version* is one whole form of the sites: 0 is what stands there at the start, `n + 1` the new form of set `n`. An
//! instruction belongs to every version in which it stands at its place, and a thread may go on behind it with any
//! instruction that shares a version with all those before.

use textpoke_core::{Direction, MAX_SITE, Site};

use crate::scenario::{Fetch, IsaId, Place, Scenario};
use crate::script::Piece;

/// The most lanes that all sites of a scenario may have together.
pub const LANES: usize = 16;
/// The most sites.
pub const SITES: usize = 3;
/// The most sets of sites.
pub const SETS: usize = 2;
/// The most lanes where there are two sets of values for each.
pub(crate) const CACHED_LANES: usize = 6;

/// The mask of the version that the short jump makes, which never is the right one.
pub const HOP: u8 = 8;

/// What stands for a lane that was stored in part: an instruction nowhere.
const TORN: u32 = 0;

/// An instruction that may legally be executed.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// The versions in which it stands here, as a mask.
    pub versions: u8,
    /// Its length in lanes.
    pub len: u8,
    /// Where the next instruction begins, in bytes; 0 when it leaves the site.
    pub next: u8,
    /// Whether it is a CALL.
    pub call: bool,
    /// The values of its lanes, two bits each, the first lowest.
    pub values: u16,
    /// The same as a set over all lanes.
    pub need: u64,
}

/// The possible bytes and instructions of a scenario.
#[derive(Debug)]
pub struct Text {
    /// The instruction set.
    pub isa: IsaId,
    sets: Vec<Vec<Place>>,
    /// Bytes of a lane.
    width: usize,
    start: [u8; SITES + 1],
    values: [[u32; 4]; LANES],
    counts: [u8; LANES],
    /// For each lane the number of the trap's value, or 4.
    trap: [u8; LANES],
    /// For each lane the number of the value that stands for a store half done, or 4.
    torn: [u8; LANES],
    /// For each lane and value: the values that it may not change into, or from, while others execute it.
    fixed: [[u8; 4]; LANES],
    /// For each lane, as it is the start of an instruction: the legal forms.
    forms: Vec<Vec<Form>>,
    /// For each site: the whole forms and the mixtures of halves that a protocol leaves on purpose.
    images: Vec<Vec<u16>>,
}

/// Why a scenario does not fit into the packed state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooBig {
    /// More than [`SITES`] sites, [`SETS`] sets, or too many bytes.
    Bytes,
    /// More than four values for one lane.
    Values,
    /// The sites do not suit the instruction set: not aligned, or the sets do not follow each other.
    Shape,
}

impl Text {
    /// Collects the values and forms of a scenario.
    pub fn new(scenario: &Scenario) -> Result<Self, TooBig> {
        let sets = scenario.sets.clone();
        let isa = scenario.world.profile.isa();
        let places = sets.first().filter(|places| !places.is_empty()).ok_or(TooBig::Bytes)?;
        let width = width(isa, places).ok_or(TooBig::Shape)?;
        let total: usize = places.iter().map(|p| p.site.len() / width).sum();
        let room = if scenario.world.profile.fetch() == Fetch::Caches { CACHED_LANES } else { LANES };
        if places.len() > SITES || sets.len() > SETS || total > room {
            return Err(TooBig::Bytes);
        }
        let follows = |(a, b): (&Place, &Place)| {
            a.site.addr == b.site.addr && a.site.after(Direction::Install) == b.site.before(Direction::Install)
        };
        if !sets.windows(2).all(|w| w[0].len() == w[1].len() && w[0].iter().zip(&w[1]).all(follows)) {
            return Err(TooBig::Shape);
        }
        let mut text = Self {
            isa,
            width,
            start: [0; SITES + 1],
            values: [[0; 4]; LANES],
            counts: [0; LANES],
            trap: [4; LANES],
            torn: [4; LANES],
            fixed: [[0; 4]; LANES],
            forms: vec![Vec::new(); LANES],
            images: Vec::new(),
            sets,
        };
        let mut lane = 0;
        for s in 0..text.sets[0].len() {
            text.start[s] = lane as u8;
            for set in 0..text.sets.len() {
                let place = text.sets[set][s];
                text.collect(&place, lane)?;
            }
            let lanes = text.sets[0][s].site.len() / width;
            if width > 1 {
                for lane in lane..lane + lanes {
                    text.torn[lane] = text.add(lane, TORN)?;
                }
            }
            lane += lanes;
            text.start[s + 1] = lane as u8;
        }
        for s in 0..text.sets[0].len() {
            text.find_forms(s);
            text.find_fixed(s);
        }
        Ok(text)
    }

    fn lanes_of<'b>(&self, bytes: &'b [u8]) -> impl Iterator<Item = u32> + use<'b> {
        let width = self.width;
        bytes.chunks(width).map(|chunk| chunk.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte)))
    }

    fn collect(&mut self, place: &Place, lane: usize) -> Result<(), TooBig> {
        let site = &place.site;
        for dir in [Direction::Install, Direction::Remove] {
            for (i, value) in self.lanes_of(site.before(dir)).enumerate() {
                self.add(lane + i, value)?;
            }
        }
        // A trap of several lanes is not modelled; protocols without traps need none.
        if let [trap] = self.lanes_of(self.isa.trap()).collect::<Vec<_>>()[..] {
            let width = self.width;
            for i in (0..site.len() / width).filter(|i| site.begins_at(i * width)) {
                self.trap[lane + i] = self.add(lane + i, trap)?;
            }
        }
        if let Some(hop) = self.isa.hop(site.len()) {
            // Protocols that never hop lose nothing but a value; a site whose bytes have four others cannot hop.
            for (i, &byte) in hop.iter().enumerate() {
                let _ = self.add(lane + i, byte.into());
            }
        }
        Ok(())
    }

    fn add(&mut self, lane: usize, value: u32) -> Result<u8, TooBig> {
        if let Some(number) = self.number(lane, value) {
            return Ok(number);
        }
        let n = self.counts[lane];
        *self.values[lane].get_mut(usize::from(n)).ok_or(TooBig::Values)? = value;
        self.counts[lane] += 1;
        Ok(n)
    }

    fn number(&self, lane: usize, value: u32) -> Option<u8> {
        self.values[lane][..usize::from(self.counts[lane])].iter().position(|&v| v == value).map(|n| n as u8)
    }

    fn find_forms(&mut self, s: usize) {
        let mut images = Vec::new();
        for version in 0..=self.sets.len() {
            let (place, dir) = match version {
                0 => (self.sets[0][s], Direction::Install),
                n => (self.sets[n - 1][s], Direction::Remove),
            };
            let (bytes, begins, len) = (place.site.before(dir), place.begins(dir), place.site.len());
            for from in (0..len).filter(|&i| begins >> i & 1 == 1) {
                let next = (from + 1..len).find(|&i| begins >> i & 1 == 1);
                let call = version == 0 && place.calls >> from & 1 == 1;
                let to = next.unwrap_or(len);
                self.form(s, from, &bytes[from..to], 1 << version, next.unwrap_or(0) as u8, call);
            }
            images.push(self.image(s, bytes));
        }
        let len = self.len(s);
        if let Some(hop) = self.isa.hop(len).filter(|_| self.can_hop(s)) {
            self.form(s, 0, &hop, HOP, 0, false);
            let head = self.image(s, &hop);
            images.extend(images.clone().into_iter().map(|whole| whole & !0xf | head));
        }
        self.images.push(images);
    }

    fn form(&mut self, s: usize, from: usize, bytes: &[u8], versions: u8, next: u8, call: bool) {
        let lane = self.lane(s, from);
        let (mut values, mut need, mut len) = (0, 0, 0);
        for (i, value) in self.lanes_of(bytes).enumerate() {
            let number = self.number(lane + i, value).unwrap_or_default();
            values |= u16::from(number) << (2 * i);
            need |= 1 << (4 * (lane + i) + usize::from(number));
            len += 1;
        }
        let same = |f: &&mut Form| (f.len, f.next, f.call, f.values) == (len, next, call, values);
        match self.forms[lane].iter_mut().find(same) {
            Some(form) => form.versions |= versions,
            None => self.forms[lane].push(Form { versions, len, next, call, values, need }),
        }
    }

    fn find_fixed(&mut self, s: usize) {
        for lane in self.lane(s, 0)..self.lane(s, self.len(s)) {
            let at = self.sets[0][s].site.addr + ((lane - self.lane(s, 0)) * self.width) as u64;
            let bytes = |value: u32| value.to_le_bytes()[..self.width].to_vec();
            for a in 0..usize::from(self.counts[lane]) {
                let may = |&b: &usize| {
                    let (a, b) = (self.values[lane][a], self.values[lane][b]);
                    a != b && !self.isa.live(at, &bytes(a), &bytes(b))
                };
                let fixed = (0..usize::from(self.counts[lane])).filter(may).fold(0, |set, b| set | 1 << b);
                self.fixed[lane][a] = fixed;
            }
        }
    }

    fn image(&self, s: usize, bytes: &[u8]) -> u16 {
        let lane = self.lane(s, 0);
        let number = |(i, value)| u16::from(self.number(lane + i, value).unwrap_or_default()) << (2 * i);
        self.lanes_of(bytes).enumerate().map(number).fold(0, |a, b| a | b)
    }

    /// The sites of a set.
    pub fn places(&self, set: usize) -> &[Place] {
        &self.sets[set]
    }

    /// How many sites there are.
    pub fn sites(&self) -> usize {
        self.sets[0].len()
    }

    /// Bytes of a lane of this scenario; none if its sites do not suit the instruction set.
    pub fn width_of(scenario: &Scenario) -> Option<usize> {
        width(scenario.world.profile.isa(), scenario.sets.first()?)
    }

    /// Whether the bytes of the short jump over a site are among its values.
    pub fn can_hop(&self, site: usize) -> bool {
        let known = |hop: &[u8; 2]| (0..2).all(|i| self.number(self.lane(site, i), hop[i].into()).is_some());
        self.isa.hop(self.len(site)).is_some_and(|hop| known(&hop))
    }

    /// Bytes of a lane.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Address of a site.
    pub fn addr(&self, site: usize) -> u64 {
        self.sets[0][site].site.addr
    }

    /// The lane of a byte.
    pub fn lane(&self, site: usize, offset: usize) -> usize {
        usize::from(self.start[site]) + offset / self.width
    }

    /// Bytes of one site.
    pub fn len(&self, site: usize) -> usize {
        self.sets[0][site].site.len()
    }

    /// The forms that begin at a lane.
    pub fn forms(&self, lane: usize) -> &[Form] {
        &self.forms[lane]
    }

    /// The number of the trap instruction's value at a lane, 4 if it never stands there.
    pub fn trap(&self, lane: usize) -> u8 {
        self.trap[lane]
    }

    /// Whether, of the values of a lane that are still under way, two may not follow each other while it is executed.
    pub fn is_fixed(&self, lane: usize, values: u64) -> bool {
        (0..4).any(|a| values >> a & 1 == 1 && u64::from(self.fixed[lane][a]) & values != 0)
    }

    /// The version that stands there after a batch on `set` that ends in direction `dir`.
    pub fn version(set: u8, dir: Direction) -> u8 {
        match dir {
            Direction::Install => 2 << set,
            Direction::Remove => 1 << set,
        }
    }

    /// Whether `len` lanes from `offset` on, as seen, could have been fetched in aligned groups of `at_once` bytes.
    pub fn fits_groups(&self, site: usize, offset: usize, len: usize, seen: u16, at_once: u8) -> bool {
        let unit = usize::from(at_once).max(self.width);
        let addr = self.addr(site) as usize;
        let first = offset / self.width;
        let mut from = 0;
        while from < len {
            let at = addr + offset + from * self.width;
            let to = len.min(from + (unit - at % unit).div_ceil(self.width));
            let mask = mask16(to) & !mask16(from);
            let matches = |image: &u16| ((image >> (2 * first)) ^ seen) & mask == 0;
            if to - from > 1 && !self.images[site].iter().any(matches) {
                return false;
            }
            from = to;
        }
        true
    }

    /// A piece of a store.
    pub fn piece(&self, site: usize, offset: usize, bytes: &[u8]) -> Piece {
        let numbers = self.lanes_of(bytes).enumerate().map(|(i, value)| {
            let lane = self.lane(site, offset) + i;
            (lane, self.number(lane, value).unwrap_or_default())
        });
        Self::piece_of(site, offset, numbers)
    }

    /// The first half of a piece that is stored in parts.
    pub fn half(&self, whole: &Piece) -> Piece {
        let (site, offset) = (usize::from(whole.site), usize::from(whole.offset));
        let first = self.lane(site, offset);
        let lanes = first..first + usize::from(whole.len);
        let half = Self::piece_of(site, offset, lanes.map(|lane| (lane, self.torn[lane])));
        Piece { done: whole.value, ..half }
    }

    fn piece_of(site: usize, offset: usize, numbers: impl Iterator<Item = (usize, u8)>) -> Piece {
        let (mut mask, mut value, mut seen, mut len) = (0u32, 0u32, 0u64, 0);
        for (lane, number) in numbers {
            mask |= 3 << (2 * lane);
            value |= u32::from(number) << (2 * lane);
            seen |= 1 << (4 * lane + usize::from(number));
            len += 1;
        }
        Piece { site: site as u8, offset: offset as u8, len, mask, value, done: value, seen }
    }

    /// The text when every site of a set has the form that stands there before a batch in direction `dir`.
    pub fn all(&self, set: usize, dir: Direction) -> u32 {
        let sites = self.sets[set].iter().enumerate();
        sites.fold(0, |text, (s, place)| text | self.piece(s, 0, place.site.before(dir)).value)
    }

    /// What a CPU that has just synchronised may fetch: exactly the text.
    pub fn set(&self, text: u32) -> u64 {
        let lanes = usize::from(self.start[self.sites()]);
        (0..lanes).fold(0, |set, lane| set | 1 << (4 * lane + (text >> (2 * lane) & 3) as usize))
    }

    /// All values of the lanes that `piece` stores, as a mask over sets.
    pub fn all_values(piece: &Piece) -> u64 {
        (0..LANES).filter(|lane| piece.mask >> (2 * lane) & 1 == 1).fold(0, |set, lane| set | 15 << (4 * lane))
    }

    /// The bytes of one site.
    pub fn bytes(&self, text: u32, site: usize) -> ([u8; MAX_SITE], usize) {
        let mut bytes = [0; MAX_SITE];
        let len = self.len(site);
        for (i, chunk) in bytes[..len].chunks_mut(self.width).enumerate() {
            let lane = self.lane(site, 0) + i;
            let value = self.value(lane, (text >> (2 * lane) & 3) as u8);
            chunk.copy_from_slice(&value[..chunk.len()]);
        }
        (bytes, len)
    }

    /// Whether a lane's value is that of a store half done.
    pub fn is_torn(&self, lane: usize, number: u8) -> bool {
        self.torn[lane] == number
    }

    /// The bytes of a lane's value; the first [`width`](Text::width) count.
    pub fn value(&self, lane: usize, number: u8) -> [u8; 4] {
        self.values[lane][usize::from(number & 3)].to_le_bytes()
    }
}

/// The lane width of a scenario's sites.
fn width(isa: IsaId, places: &[Place]) -> Option<usize> {
    let aligned = |unit: u64| {
        let fits = |site: &Site| site.addr.is_multiple_of(unit) && (site.len() as u64).is_multiple_of(unit);
        let begins = |p: &Place| {
            (0..MAX_SITE as u64).all(|i| i.is_multiple_of(unit) || (p.old_begins | p.new_begins) >> i & 1 == 0)
        };
        places.iter().all(|p| fits(&p.site) && begins(p))
    };
    match isa {
        IsaId::X86 => Some(1),
        _ if aligned(4) => Some(4),
        IsaId::Riscv if aligned(2) => Some(2),
        _ => None,
    }
}

/// The lowest `n` two-bit fields.
pub fn mask16(n: usize) -> u16 {
    if n >= 8 { u16::MAX } else { (1 << (2 * n)) - 1 }
}
