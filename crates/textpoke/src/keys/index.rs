//! All sites of all loaded objects, by key.

use textpoke_keys::abi::{CLOSING, ENTRY_SIZE, Entry, KEY_SIZE, Kind, NO_INDEX, Note, OBJECT_STATE};
use textpoke_keys::find::{self, Memory, Segment};
use textpoke_linux::process::Error;
use textpoke_linux::range::Prot;
use textpoke_linux::sys;
use textpoke_linux::{maps, words::Words};

/// Most segments of an object that are looked at.
const SEGMENTS: usize = 64;
/// Executable and readable.
const TEXT: u32 = 1 | 4;

/// What was found when it was last looked.
#[derive(Debug)]
pub(super) struct Index {
    /// Those of the engine words at that time.
    generation: u32,
    built: bool,
    /// By key, then by address. Of each only the first of those at the same address.
    sites: Vec<(u64, Entry)>,
    /// Where keys are: first and behind the last byte.
    keys: Vec<(u64, u64)>,
    /// Those of them that are in no table: see [`copies`].
    copies: Vec<(u64, u64)>,
}

/// Reads this process's memory, where there may be none.
struct Own;

impl Memory for Own {
    fn read(&mut self, addr: u64, buf: &mut [u8]) -> bool {
        sys::read_own_memory(addr, buf).is_ok_and(|n| n == buf.len())
    }
}

impl Index {
    pub const fn new() -> Self {
        Self { generation: 0, built: false, sites: Vec::new(), keys: Vec::new(), copies: Vec::new() }
    }

    /// The sites of a key, ascending.
    pub fn sites_of(&self, key: u64) -> &[(u64, Entry)] {
        let start = self.sites.partition_point(|&(of, _)| of < key);
        let len = self.sites[start..].partition_point(|&(of, _)| of == key);
        &self.sites[start..start + len]
    }

    /// All keys' addresses.
    pub fn keys(&self) -> impl Iterator<Item = u64> {
        self.keys.iter().flat_map(|&(start, end)| (start..end).step_by(KEY_SIZE))
    }

    /// Whether a key is a program's copy of a library's.
    pub fn is_copy(&self, key: u64) -> bool {
        self.copies.iter().any(|&(start, end)| (start..end).contains(&key))
    }

    /// Whether there is a key at this address.
    pub fn is_key(&self, key: u64) -> bool {
        self.keys
            .iter()
            .any(|&(start, end)| (start..end).contains(&key) && (key - start).is_multiple_of(KEY_SIZE as u64))
    }

    /// Looks again if objects came or went. The engine is locked, so that no object goes meanwhile that has been looked
    /// at: it waits for the lock to say so.
    pub fn refresh(&mut self, words: &Words) -> Result<(), Error> {
        let generation = words.generation.load(std::sync::atomic::Ordering::SeqCst);
        if self.built && self.generation == generation {
            return Ok(());
        }
        self.built = false;
        self.sites.clear();
        self.keys.clear();
        let mappings = maps::read().map_err(|errno| Error::Setup("/proc/self/maps", errno))?;
        let mut found = Vec::new();
        for mapping in mappings.iter().filter(|m| m.offset == 0 && m.range.prot.0 & Prot::RX.0 & 1 != 0) {
            let mut segments = [Segment { start: 0, end: 0, flags: 0 }; SEGMENTS];
            if let Some((note, count)) = find::object(&mut Own, mapping.range.start, &mut segments) {
                found.extend(object(&note, &segments[..count], &mut self.keys));
            }
        }
        self.keys.sort_unstable();
        self.keys.dedup();
        // A key in an object that is not relocated yet cannot be told: its sites are looked at when it has come.
        self.copies = copies(found.iter().filter(|&&(key, _)| !self.is_key(key)));
        self.keys.extend(&self.copies);
        self.keys.sort_unstable();
        found.retain(|&(key, _)| self.is_key(key));
        found.sort_unstable_by_key(|&(key, entry)| (key, entry.code));
        found.dedup_by_key(|&mut (_, entry)| entry.code);
        (self.sites, self.generation, self.built) = (found, generation, true);
        Ok(())
    }
}

/// The keys that sites lead to and that are in no table: a program that is compiled for a fixed address has a copy of each
/// variable of a library that it uses, of a whole array, to which all others refer, too. And an object without sites may
/// have no note.
fn copies<'a>(led: impl Iterator<Item = &'a (u64, Entry)>) -> Vec<(u64, u64)> {
    let size = KEY_SIZE as u64;
    let mut found: Vec<(u64, u64)> = Vec::new();
    for &(key, entry) in led {
        if found.iter().any(|&(start, end)| (start..end).contains(&key)) {
            continue;
        }
        let start = key.wrapping_sub(u64::from(entry.index) * size);
        let Some((name, single)) = name_at(start) else { continue };
        let goes_on = |at: &u64| !single && name_at(*at) == Some((name, false));
        let count = (start..).step_by(KEY_SIZE).skip(1).take_while(goes_on).take(usize::from(u16::MAX)).count();
        let end = start + (1 + count as u64) * size;
        if key < end {
            found.push((start, end));
        }
    }
    found
}

/// If there is a key here: the address of its name, and whether it is in no array.
fn name_at(at: u64) -> Option<(u64, bool)> {
    let mut bytes = [0; KEY_SIZE];
    let whole = at != 0 && at.is_multiple_of(KEY_SIZE as u64) && Own.read(at, &mut bytes);
    let word = |i: usize| bytes[i..i + 8].iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    // Kind and width; what is zero; where the name is.
    let sane = whole
        && Kind::from_u8(bytes[0]).is_some()
        && matches!(bytes[1..4], [1 | 2 | 4 | 8, 0, 0])
        && word(56) == 0
        && Own.read(word(24), &mut [0]);
    sane.then(|| (word(24), bytes[52..56] == NO_INDEX.to_le_bytes()))
}

/// The sites of an object, and its keys; nothing if it is on its way out or makes no sense.
fn object(note: &Note, segments: &[Segment], keys: &mut Vec<(u64, u64)>) -> Vec<(u64, Entry)> {
    let inside = |start: u64, end: u64, flags: u32| {
        let holds = |s: &&Segment| s.flags & flags == flags && s.start <= start && end <= s.end;
        start <= end && segments.iter().find(holds).is_some()
    };
    let mut state = [0; 4];
    if !Own.read(note.object + OBJECT_STATE, &mut state) || u32::from_le_bytes(state) == CLOSING {
        return Vec::new();
    }
    if inside(note.keys.0, note.keys.1, 0) && (note.keys.1 - note.keys.0).is_multiple_of(KEY_SIZE as u64) {
        keys.push(note.keys);
    }
    let (start, end) = note.sites;
    if !inside(start, end, 0) || !(end - start).is_multiple_of(ENTRY_SIZE as u64) {
        return Vec::new();
    }
    let mut table = vec![0; (end - start) as usize];
    if !Own.read(start, &mut table) {
        return Vec::new();
    }
    // Few slots are named by many sites, mostly one after the other.
    let mut last = (0, 0);
    let mut key_in = |slot: u64| {
        if last.0 != slot {
            let mut key = [0; 8];
            last = (slot, if Own.read(slot, &mut key) { u64::from_le_bytes(key) } else { 0 });
        }
        last.1
    };
    let (entries, _) = table.as_chunks::<ENTRY_SIZE>();
    let entries = entries.iter().zip((start..).step_by(ENTRY_SIZE));
    entries
        .filter_map(|(bytes, at)| Entry::read(bytes, at))
        .filter(|entry| inside(entry.code, entry.code + u64::from(entry.len), TEXT))
        .map(|entry| (entry.key(key_in(entry.slot)), entry))
        .collect()
}
