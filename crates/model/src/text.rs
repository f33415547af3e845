//! The bytes of the sites, packed: every byte takes one of at most four values that are known beforehand.
//!
//! A *lane* is the position of a byte among all bytes of all sites. The text is two bits a lane, the number of the value
//! that stands there; what a CPU may fetch is four bits a lane, the set of values.

use textpoke_core::isa::{Isa, X86_64};
use textpoke_core::{Direction, MAX_SITE};

use crate::scenario::{Place, Scenario};
use crate::script::Piece;

/// The most bytes that all sites of a scenario may have together.
pub const LANES: usize = 16;
/// The most sites.
pub const SITES: usize = 3;

/// Which form of a site an instruction belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// One of the old instructions.
    Old,
    /// One of the new instructions.
    New,
    /// The short jump over the site.
    Hop,
}

/// An instruction that may legally be executed.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Which form of the site it is part of.
    pub class: Class,
    /// Its length in bytes.
    pub len: u8,
    /// Where the next instruction of the same form begins; 0 when it leaves the site.
    pub next: u8,
    /// Whether it is a CALL.
    pub call: bool,
    /// The values of its bytes, two bits each, the first lowest.
    pub values: u16,
    /// The same as a set over all lanes.
    pub need: u64,
}

/// The possible bytes and instructions of a scenario.
#[derive(Debug)]
pub struct Text {
    places: Vec<Place>,
    start: [u8; SITES + 1],
    values: [[u8; 4]; LANES],
    counts: [u8; LANES],
    /// For each lane the number of the trap's value, or 4.
    trap: [u8; LANES],
    /// For each lane, as it is the start of an instruction: the legal forms.
    forms: Vec<Vec<Form>>,
    /// For each site: the mixtures of halves that a protocol leaves on purpose, as values of all its bytes.
    images: Vec<Vec<u16>>,
}

/// Why a scenario does not fit into the packed state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooBig {
    /// More than [`SITES`] sites, or more than [`LANES`] bytes.
    Bytes,
    /// More than four values for one byte.
    Values,
}

impl Text {
    /// Collects the values and forms of a scenario.
    pub fn new(scenario: &Scenario) -> Result<Self, TooBig> {
        let places = scenario.places.clone();
        let total: usize = places.iter().map(|p| p.site.len()).sum();
        if places.len() > SITES || total > LANES {
            return Err(TooBig::Bytes);
        }
        let mut text = Self {
            places,
            start: [0; SITES + 1],
            values: [[0; 4]; LANES],
            counts: [0; LANES],
            trap: [4; LANES],
            forms: vec![Vec::new(); LANES],
            images: Vec::new(),
        };
        let mut lane = 0;
        for s in 0..text.places.len() {
            text.start[s] = lane as u8;
            let place = text.places[s];
            text.collect(&place, lane)?;
            lane += place.site.len();
            text.start[s + 1] = lane as u8;
        }
        for s in 0..text.places.len() {
            text.find_forms(s);
        }
        Ok(text)
    }

    fn collect(&mut self, place: &Place, lane: usize) -> Result<(), TooBig> {
        let site = &place.site;
        for i in 0..site.len() {
            self.add(lane + i, site.old[i])?;
            self.add(lane + i, site.new[i])?;
            if site.begins_at(i) {
                self.trap[lane + i] = self.add(lane + i, X86_64::TRAP[0])?;
            }
        }
        if let Some(hop) = X86_64::hop(site.len()) {
            // Protocols that never hop lose nothing but a value; a site whose bytes have four others cannot hop.
            for (i, &byte) in hop.iter().enumerate() {
                let _ = self.add(lane + i, byte);
            }
        }
        Ok(())
    }

    fn add(&mut self, lane: usize, value: u8) -> Result<u8, TooBig> {
        if let Some(number) = self.number(lane, value) {
            return Ok(number);
        }
        let n = self.counts[lane];
        *self.values[lane].get_mut(usize::from(n)).ok_or(TooBig::Values)? = value;
        self.counts[lane] += 1;
        Ok(n)
    }

    fn number(&self, lane: usize, value: u8) -> Option<u8> {
        self.values[lane][..usize::from(self.counts[lane])].iter().position(|&v| v == value).map(|n| n as u8)
    }

    fn find_forms(&mut self, s: usize) {
        let place = self.places[s];
        let len = place.site.len();
        for (class, dir, bytes) in [
            (Class::Old, Direction::Install, place.site.before(Direction::Install)),
            (Class::New, Direction::Remove, place.site.before(Direction::Remove)),
        ] {
            let begins = place.begins(dir);
            for from in (0..len).filter(|&i| begins >> i & 1 == 1) {
                let next = (from + 1..len).find(|&i| begins >> i & 1 == 1);
                let call = class == Class::Old && place.calls >> from & 1 == 1;
                let to = next.unwrap_or(len);
                self.form(s, from, &bytes[from..to], class, next.unwrap_or(0) as u8, call);
            }
        }
        let mut images = vec![
            self.image(s, place.site.before(Direction::Install)),
            self.image(s, place.site.after(Direction::Install)),
        ];
        if let Some(hop) = X86_64::hop(len).filter(|h| (0..2).all(|i| self.number(self.lane(s, i), h[i]).is_some())) {
            self.form(s, 0, &hop, Class::Hop, 0, false);
            for whole in images.clone() {
                let head = self.image(s, &hop);
                images.push(whole & !0xf | head);
            }
        }
        self.images.push(images);
    }

    fn form(&mut self, s: usize, from: usize, bytes: &[u8], class: Class, next: u8, call: bool) {
        let lane = self.lane(s, from);
        let (mut values, mut need) = (0, 0);
        for (i, &byte) in bytes.iter().enumerate() {
            let number = self.number(lane + i, byte).unwrap_or_default();
            values |= u16::from(number) << (2 * i);
            need |= 1 << (4 * (lane + i) + usize::from(number));
        }
        self.forms[lane].push(Form { class, len: bytes.len() as u8, next, call, values, need });
    }

    fn image(&self, s: usize, bytes: &[u8]) -> u16 {
        let lane = self.lane(s, 0);
        let numbers =
            bytes.iter().enumerate().map(|(i, &b)| u16::from(self.number(lane + i, b).unwrap_or_default()) << (2 * i));
        numbers.fold(0, |a, b| a | b)
    }

    /// The sites.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The lane of a byte.
    pub fn lane(&self, site: usize, offset: usize) -> usize {
        usize::from(self.start[site]) + offset
    }

    /// Bytes of one site.
    pub fn len(&self, site: usize) -> usize {
        self.places[site].site.len()
    }

    /// The forms that begin at a lane.
    pub fn forms(&self, lane: usize) -> &[Form] {
        &self.forms[lane]
    }

    /// The number of the trap instruction's value at a lane, 4 if it never stands there.
    pub fn trap(&self, lane: usize) -> u8 {
        self.trap[lane]
    }

    /// The byte with a number.
    pub fn byte(&self, lane: usize, number: u8) -> u8 {
        self.values[lane][usize::from(number & 3)]
    }

    /// Whether `len` bytes from `offset` on, as seen, could have been fetched in aligned groups of `at_once` bytes.
    pub fn fits_groups(&self, site: usize, offset: usize, len: usize, seen: u16, at_once: u8) -> bool {
        let unit = u64::from(at_once);
        let addr = self.places[site].site.addr;
        let mut from = 0;
        while from < len {
            let at = addr + (offset + from) as u64;
            let to = len.min(from + (unit - at % unit) as usize);
            let mask = mask16(to) & !mask16(from);
            let matches = |image: &u16| ((image >> (2 * offset)) ^ seen) & mask == 0;
            if to - from > 1 && !self.images[site].iter().any(matches) {
                return false;
            }
            from = to;
        }
        true
    }

    /// A piece of a store.
    pub fn piece(&self, site: usize, offset: usize, bytes: &[u8]) -> Piece {
        let (mut mask, mut value, mut seen) = (0u32, 0u32, 0u64);
        for (i, &byte) in bytes.iter().enumerate() {
            let lane = self.lane(site, offset + i);
            let number = self.number(lane, byte).unwrap_or_default();
            mask |= 3 << (2 * lane);
            value |= u32::from(number) << (2 * lane);
            seen |= 1 << (4 * lane + usize::from(number));
        }
        Piece { site: site as u8, offset: offset as u8, len: bytes.len() as u8, mask, value, seen }
    }

    /// The text when every site has the form that stands there before a batch in direction `dir`.
    pub fn all(&self, dir: Direction) -> u32 {
        (0..self.places.len()).fold(0, |text, s| text | self.piece(s, 0, self.places[s].site.before(dir)).value)
    }

    /// What a CPU that has just synchronised may fetch: exactly the text.
    pub fn set(&self, text: u32) -> u64 {
        let lanes = usize::from(self.start[self.places.len()]);
        (0..lanes).fold(0, |set, lane| set | 1 << (4 * lane + (text >> (2 * lane) & 3) as usize))
    }

    /// The bytes of one site.
    pub fn bytes(&self, text: u32, site: usize) -> ([u8; MAX_SITE], usize) {
        let mut bytes = [0; MAX_SITE];
        let len = self.len(site);
        for (i, byte) in bytes[..len].iter_mut().enumerate() {
            let lane = self.lane(site, i);
            *byte = self.byte(lane, (text >> (2 * lane) & 3) as u8);
        }
        (bytes, len)
    }
}

/// The lowest `n` two-bit fields.
pub fn mask16(n: usize) -> u16 {
    if n >= 8 { u16::MAX } else { (1 << (2 * n)) - 1 }
}
