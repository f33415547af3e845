//! Instruction fetch, as the books promise it.

use super::Machine;
use crate::action::What;
use crate::scenario::{Fetch, OneByte, Profile};
use crate::state::{Spot, Thread};
use crate::text::{Form, HOP, mask16};

/// One instruction in the queue of fetched ones: 32 bits, 0 if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched(pub u32);

impl Fetched {
    const VALID: u32 = 1 << 31;
    const COMPLETE: u32 = 1 << 30;
    const CAME: u32 = 26;

    /// Nothing fetched yet of the instruction at `spot`.
    pub fn begin(spot: Spot) -> Self {
        let place = u32::from(spot.site) | u32::from(spot.offset) << 2;
        Self(Self::VALID | place | u32::from(spot.came) << Self::CAME)
    }
    /// Whether there is one.
    pub fn is_some(self) -> bool {
        self.0 & Self::VALID != 0
    }
    /// Whether all of it is there.
    pub fn is_complete(self) -> bool {
        self.0 & Self::COMPLETE != 0
    }
    /// Where it begins.
    pub fn spot(self) -> Spot {
        let came = (self.0 >> Self::CAME & 7) as u8;
        Spot { site: (self.0 & 3) as u8, offset: (self.0 >> 2 & 7) as u8, came }
    }
    /// How many lanes are there.
    pub fn got(self) -> u8 {
        (self.0 >> 5 & 15) as u8
    }
    /// Their values.
    pub fn values(self) -> u16 {
        (self.0 >> 10) as u16
    }
    fn with(self, got: usize, values: u16, complete: bool) -> Self {
        let rest = self.0 & (Self::VALID | 7 << Self::CAME | 0x1f);
        Self(rest | (got as u32) << 5 | u32::from(values) << 10 | u32::from(complete) << 30)
    }
}

/// What the bytes at a place turned out to be.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What they are.
    pub what: What,
    /// Their values.
    pub values: u16,
    /// How many.
    pub len: u8,
    /// The legal form, if it is one.
    pub form: Option<&'a Form>,
}

impl Machine {
    /// A thread passes a synchronising point.
    pub fn synchronise(&self, th: Thread, text: u32) -> Thread {
        let fetch = match self.fetch {
            Fetch::Queue(_) => 0,
            Fetch::Set => self.text.set(text),
            // What the instruction cache may yield is as old as it was.
            Fetch::Caches => th.fetch >> 32 | th.fetch & !0xffff_ffff,
        };
        Thread { fetch, ..th }
    }

    /// What a thread's fetch unit forgets when execution is redirected: a queue of instructions fetched ahead.
    pub fn redirect(&self, th: Thread) -> Thread {
        match self.fetch {
            Fetch::Queue(_) => Thread { fetch: 0, ..th },
            Fetch::Set | Fetch::Caches => th,
        }
    }

    /// The set of values that execution may see.
    pub fn visible(&self, th: Thread) -> u64 {
        if self.fetch == Fetch::Caches { th.fetch & 0xffff_ffff } else { th.fetch }
    }

    /// One more read of an aligned granule of so many bytes for the instruction `e`.
    pub fn read_more(&self, text: u32, e: Fetched, granule: u8) -> Fetched {
        let spot = e.spot();
        let (site, offset) = (usize::from(spot.site), usize::from(spot.offset));
        let (got, width, granule) = (usize::from(e.got()), self.text.width(), usize::from(granule));
        let at = self.text.addr(site) as usize + offset + got * width;
        let there = (self.text.len(site) - offset) / width;
        let to = there.min(got + (granule - at % granule).div_ceil(width));
        let lane = self.text.lane(site, offset);
        let there = (text >> (2 * lane)) as u16;
        let values = e.values() | there & mask16(to) & !mask16(got);
        let head = (values & 3) as u8;
        if head == self.text.trap(lane) {
            return e.with(1, u16::from(head), true);
        }
        let extent =
            self.text.forms(lane).iter().filter(|f| f.values & 3 == u16::from(head)).map(|f| usize::from(f.len));
        match extent.max() {
            // An opcode that begins no form: whatever its length, it is wrong.
            None => e.with(to, values, true),
            Some(len) if len <= to => e.with(len, values & mask16(len), true),
            Some(_) => e.with(to, values, false),
        }
    }

    /// What a completely fetched instruction is.
    pub fn decode(&self, e: Fetched) -> Seen<'_> {
        let spot = e.spot();
        let lane = self.text.lane(usize::from(spot.site), usize::from(spot.offset));
        let (values, len) = (e.values(), e.got());
        if (values & 3) as u8 == self.text.trap(lane) {
            return Seen { what: What::Trap, values, len, form: None };
        }
        let fits = |f: &&Form| f.len <= len && (f.values ^ values) & mask16(usize::from(f.len)) == 0;
        match self.text.forms(lane).iter().find(fits) {
            Some(form) => Seen { what: form.into(), values: form.values, len: form.len, form: Some(form) },
            None => Seen { what: What::Torn, values, len, form: None },
        }
    }

    /// Everything that the bytes at a place may turn out to be, if any values of a set may stand there.
    pub fn may_see(&self, set: u64, site: usize, offset: usize, mut out: impl FnMut(Seen<'_>)) {
        let lane = self.text.lane(site, offset);
        let heads = set >> (4 * lane) & 15;
        let forms = self.text.forms(lane);
        if self.fetch == Fetch::Caches && self.world.cmodx && self.text.is_fixed(lane, heads) {
            let values = heads.trailing_zeros() as u16;
            return out(Seen { what: What::Fixed, values, len: 1, form: None });
        }
        if heads.count_ones() > 1 && self.world.one_byte == OneByte::Nothing {
            let values = heads.trailing_zeros() as u16;
            out(Seen { what: What::Torn, values, len: 1, form: None });
        }
        let (mut unsettled, mut mixed) = (None, false);
        for head in (0..4).filter(|h| heads >> h & 1 == 1) {
            if head == self.text.trap(lane) {
                out(Seen { what: What::Trap, values: u16::from(head), len: 1, form: None });
                continue;
            }
            let mine = || forms.iter().filter(move |f| f.values & 3 == u16::from(head));
            for form in mine().filter(|f| f.need & !set == 0) {
                out(Seen { what: form.into(), values: form.values, len: form.len, form: Some(form) });
                if self.is_unsettled(set, lane, form.len) {
                    unsettled = Some(Seen { what: What::Torn, values: form.values, len: form.len, form: None });
                }
            }
            let extent = mine().map(|f| usize::from(f.len)).max().unwrap_or(1);
            if let Some(values) = self.mixture(set, site, offset, extent, u16::from(head)) {
                out(Seen { what: What::Torn, values, len: extent as u8, form: None });
                mixed = true;
            }
        }
        // Nothing says that whole bytes are executed as such; a mixture of them is told rather.
        if let Some(seen) = unsettled.filter(|_| !mixed) {
            out(seen);
        }
    }

    /// Whether an instruction has a byte that changes in a way of which nobody has said that it shows the old or the new.
    fn is_unsettled(&self, set: u64, lane: usize, len: u8) -> bool {
        if self.world.profile != Profile::Intel || self.world.at_once > 1 {
            return false;
        }
        let settled = |lane: usize| {
            let values = set >> (4 * lane) & 15;
            let trapped = values >> self.text.trap(lane) & 1 == 1;
            values.count_ones() < 2
                || match self.world.one_byte {
                    OneByte::Nothing => false,
                    OneByte::Traps => trapped,
                    OneByte::Any => true,
                }
        };
        !(lane..lane + usize::from(len)).all(settled)
    }

    /// A choice of bytes that begins with `head` and is no form, if there is one.
    fn mixture(&self, set: u64, site: usize, offset: usize, extent: usize, head: u16) -> Option<u16> {
        let lane = self.text.lane(site, offset);
        let forms = self.text.forms(lane);
        let legal = |values: u16| forms.iter().any(|f| (f.values ^ values) & mask16(usize::from(f.len)) == 0);
        // Depth first over the bytes behind the head, in the order of their values.
        let mut values = head;
        let mut at = 1;
        loop {
            if at == extent {
                if !legal(values) && self.text.fits_groups(site, offset, extent, values, self.world.at_once) {
                    return Some(values);
                }
                // The next choice: raise the last byte that can be raised.
                loop {
                    at -= 1;
                    if at == 0 {
                        return None;
                    }
                    let have = values >> (2 * at) & 3;
                    values &= mask16(at);
                    let larger = set >> (4 * (lane + at)) & 15 & !((2 << have) - 1);
                    if larger != 0 {
                        values |= (larger.trailing_zeros() as u16) << (2 * at);
                        at += 1;
                        break;
                    }
                }
            } else {
                let choices = set >> (4 * (lane + at)) & 15;
                values |= (choices.trailing_zeros() as u16 & 3) << (2 * at);
                at += 1;
            }
        }
    }
}

impl From<&Form> for What {
    fn from(form: &Form) -> Self {
        match form.versions {
            HOP => Self::Hop,
            1 => Self::Old,
            v if v & 1 == 1 => Self::Both,
            _ => Self::New,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variants::{Check, Shape};

    fn machine(name: &str, at_once: u8) -> Machine {
        let mut scenario = Check::find(name).unwrap().scenario(&Shape::new(Profile::Intel));
        (scenario.world.at_once, scenario.world.one_byte) = (at_once, OneByte::Any);
        Machine::new(&scenario).unwrap()
    }

    /// Every choice of bytes, one by one.
    fn by_hand(m: &Machine, set: u64, offset: usize) -> Vec<What> {
        let len = m.text.len(0) - offset;
        let mut found = Vec::new();
        for values in 0..1u16 << (2 * len) {
            let chosen = |i: usize| values >> (2 * i) & 3;
            if !(0..len).all(|i| set >> (4 * (offset + i)) >> chosen(i) & 1 == 1) {
                continue;
            }
            let head = chosen(0);
            let form = m.text.forms(offset).iter().find(|f| (f.values ^ values) & mask16(usize::from(f.len)) == 0);
            let extent = m.text.forms(offset).iter().filter(|f| f.values & 3 == head).map(|f| usize::from(f.len)).max();
            let what = match form {
                _ if head as u8 == m.text.trap(offset) => What::Trap,
                Some(form) => form.into(),
                None if m.text.fits_groups(0, offset, extent.unwrap_or(1), values, m.world.at_once) => What::Torn,
                None => continue,
            };
            if !found.contains(&what) {
                found.push(what);
            }
        }
        found
    }

    #[test]
    fn what_may_be_seen_is_what_trying_everything_finds() {
        for (name, at_once, offsets) in
            [("breakpoint", 1, &[0][..]), ("displace", 1, &[0, 1, 4]), ("short_jump", 2, &[0]), ("short_jump", 1, &[0])]
        {
            let m = machine(name, at_once);
            let lanes = m.text.len(0);
            let mut random = 0x1234_5678_9abc_def1u64;
            for _ in 0..2000 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                // Sets of values that exist, none of them empty.
                let known = |lane: usize| if m.text.trap(lane) < 4 { 7 } else { 3 };
                let set = (0..lanes).fold(0, |set, lane| {
                    let some = random >> (4 * lane) & known(lane);
                    set | (if some == 0 { 1 } else { some }) << (4 * lane)
                });
                for &offset in offsets {
                    let mut seen = Vec::new();
                    m.may_see(set, 0, offset, |s| {
                        if !seen.contains(&s.what) {
                            seen.push(s.what);
                        }
                    });
                    let key = |w: &What| *w as u8;
                    let mut expected = by_hand(&m, set, offset);
                    expected.sort_by_key(key);
                    seen.sort_by_key(key);
                    assert_eq!(seen, expected, "{name} at {offset}: {set:x}");
                }
            }
        }
    }
}
