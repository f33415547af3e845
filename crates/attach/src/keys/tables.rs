//! Reading the keys and sites of a process from outside, without stopping it.
//!
//! Everything that is read was written by somebody else, who may mean harm: each number is checked before it is used, each
//! address before it is believed, and what makes no sense is left out and told.

use std::collections::{HashMap, HashSet};

use textpoke_core::isa::X86_64;
use textpoke_keys::abi::{CLOSING, ENTRY_SIZE, Entry, KEY_SIZE, Kind, NO_INDEX, Note, OBJECT_STATE, UNCOUNTED};
use textpoke_keys::find::{self, Memory, Segment};
use textpoke_keys::form::Forms;

use crate::proc::Mapping;

/// Most keys of a process.
const MOST_KEYS: usize = 1 << 20;
/// Most sites of a process.
const MOST_SITES: usize = 1 << 22;
/// Most keys that a program has copies of.
const MOST_COPIES: usize = 1 << 16;
/// Most bytes of a name.
const MOST_TEXT: u32 = 4096;
/// Most program headers of an object, as [`find::object`] has it.
const MOST_SEGMENTS: usize = 256;

/// A mapped program or library that has keys or sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its path as the process sees it.
    pub path: String,
    /// Its tables.
    pub note: Note,
    /// Its parts.
    pub segments: Vec<Segment>,
    /// It is about to be unmapped: nobody touches its sites any more.
    pub closing: bool,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its address in the process.
    pub at: u64,
    /// Whose it is: index in [`Tables::objects`].
    pub object: usize,
    /// What it is.
    pub kind: Kind,
    /// Bytes of the value.
    pub width: u8,
    /// How many have a branch on.
    pub count: u32,
    /// What every thread acts on.
    pub value: u64,
    /// What the sites of the file hold.
    pub initial: u64,
    /// `crate::module::NAME`; no control characters.
    pub name: String,
    /// Source file; no control characters.
    pub file: String,
    /// Line in it, from 1.
    pub line: u32,
    /// Position in an array.
    pub index: Option<u32>,
    /// The sites, of all objects that are not about to be unmapped.
    pub sites: Vec<Entry>,
}

impl Key {
    /// The name, with the position in the array: `demo::FEATURES[3]`.
    #[must_use]
    pub fn full_name(&self) -> String {
        self.index.map_or_else(|| self.name.clone(), |index| format!("{}[{index}]", self.name))
    }
}

/// What a process has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Where keys and sites are, in the order of their addresses.
    pub objects: Vec<Object>,
    /// In the order of their addresses.
    pub keys: Vec<Key>,
    /// What was left out, for a person.
    pub faults: Vec<String>,
}

impl Tables {
    /// Reads what the mapped objects say.
    pub fn read(memory: &mut impl Memory, maps: &[Mapping]) -> Self {
        let mut tables = Self::default();
        let map = Map(maps);
        let mut segments = [Segment { start: 0, end: 0, flags: 0 }; MOST_SEGMENTS];
        for first in maps.iter().filter(|m| m.offset == 0 && m.inode != 0) {
            let Some((note, count)) = find::object(memory, first.start, &mut segments) else { continue };
            let segments = segments[..count].to_vec();
            let path = printable(&first.path);
            // A file that is mapped for reading has its tables elsewhere than a loaded one.
            if !map.is_loaded(&segments) {
                continue;
            }
            match checked(&note, &segments, &map) {
                Err(what) => tables.faults.push(format!("{path}: {what}; left out")),
                Ok(()) => {
                    let mut state = [0; 4];
                    let closing = memory.read(note.object.wrapping_add(OBJECT_STATE), &mut state)
                        && u32::from_le_bytes(state) == CLOSING;
                    tables.objects.push(Object { path, note, segments, closing });
                }
            }
        }
        let mut keys = tables.read_keys(memory, &map);
        tables.read_sites(memory, &map, &mut keys);
        tables.keys = keys.into_iter().map(|read| read.key).collect();
        tables
    }

    /// The key at an address.
    #[must_use]
    pub fn key_at(&self, at: u64) -> Option<&Key> {
        self.keys.binary_search_by_key(&at, |key| key.at).ok().map(|i| &self.keys[i])
    }

    /// The keys of all tables, ascending.
    fn read_keys(&mut self, memory: &mut impl Memory, map: &Map<'_>) -> Vec<Read> {
        let mut keys: Vec<Read> = Vec::new();
        for object in 0..self.objects.len() {
            let Object { note, path, .. } = &self.objects[object];
            let (start, end) = note.keys;
            let mut bad = 0;
            let Some(bytes) = table(memory, start, end, MOST_KEYS.saturating_sub(keys.len()), KEY_SIZE) else {
                self.faults.push(format!("{path}: its keys cannot be read, or are more than {MOST_KEYS}; left out"));
                continue;
            };
            for (i, bytes) in bytes.chunks_exact(KEY_SIZE).enumerate() {
                match read_key(memory, map, bytes, start + (i * KEY_SIZE) as u64, object) {
                    Some(key) => keys.push(key.behind(keys.last())),
                    None => bad += 1,
                }
            }
            if bad > 0 {
                self.faults.push(format!("{path}: {bad} keys that make no sense, or are just being loaded; left out"));
            }
        }
        keys.sort_by_key(|read| read.key.at);
        keys.dedup_by_key(|read| read.key.at);
        keys
    }

    /// Gives the keys their sites, and finds the keys that only sites lead to.
    fn read_sites(&mut self, memory: &mut impl Memory, map: &Map<'_>, keys: &mut Vec<Read>) {
        let mut room = MOST_SITES;
        let (mut sites, mut copies) = (Vec::new(), Copies::default());
        for (object, Object { note, path, closing, .. }) in self.objects.iter().enumerate() {
            let (start, end) = note.sites;
            if *closing {
                continue;
            }
            let Some(bytes) = table(memory, start, end, room, ENTRY_SIZE) else {
                self.faults.push(format!("{path}: its sites cannot be read, or are more than {MOST_SITES}; left out"));
                continue;
            };
            room -= bytes.len() / ENTRY_SIZE;
            for (i, bytes) in bytes.as_chunks::<ENTRY_SIZE>().0.iter().enumerate() {
                let entry = Entry::read(bytes, start + (i * ENTRY_SIZE) as u64);
                let led = entry.and_then(|entry| {
                    let mut slot = [0; 8];
                    let fits = X86_64::fits(&entry)
                        && map.has(entry.code, u64::from(entry.len), libc::PROT_EXEC)
                        && memory.read(entry.slot, &mut slot);
                    fits.then(|| (entry, entry.key(u64::from_le_bytes(slot))))
                });
                if let Some((entry, key)) = led
                    && place_of(keys, key).is_err()
                {
                    copies.look(memory, map, &entry, key, object);
                }
                sites.push((object, led));
            }
        }
        copies.join(keys);
        let mut bad = vec![0; self.objects.len()];
        for (object, led) in sites {
            let owner = led.and_then(|(entry, key)| Some((entry, place_of(keys, key).ok()?)));
            match owner {
                Some((entry, at)) if keys[at].key.kind == entry.kind => keys[at].key.sites.push(entry),
                _ => bad[object] += 1,
            }
        }
        keys.retain(|read| !read.replaced || !read.key.sites.is_empty());
        for (Object { path, .. }, bad) in self.objects.iter().zip(bad).filter(|(_, bad)| *bad > 0) {
            self.faults.push(format!("{path}: {bad} sites that make no sense, or are just being loaded; left out"));
        }
    }
}

/// A key, and what it is known again by.
struct Read {
    key: Key,
    /// Address of the name.
    name: u64,
    /// Whether a program has a copy of it that all others use.
    replaced: bool,
}

impl Read {
    /// What a key and its copy have in common.
    fn identity(&self) -> (u64, Option<u32>) {
        (self.name, self.key.index)
    }

    /// Keys of C's arrays do not know their position: it follows from those before.
    fn behind(mut self, before: Option<&Self>) -> Self {
        if self.key.index == Some(UNCOUNTED) {
            let next = |before: &Self| {
                let joins = before.key.at + KEY_SIZE as u64 == self.key.at && before.name == self.name;
                joins.then_some(before.key.index? + 1)
            };
            self.key.index = before.and_then(next).or(Some(0));
        }
        self
    }
}

fn place_of(keys: &[Read], at: u64) -> Result<usize, usize> {
    keys.binary_search_by_key(&at, |read| read.key.at)
}

/// A program that is compiled for a fixed address has copies of the variables of libraries that it uses, to which all
/// others refer, too. So sites lead to keys that are in no table: here they are.
#[derive(Default)]
struct Copies {
    found: Vec<Read>,
    /// Where it was looked, so that nobody makes us look again and again.
    looked: HashSet<u64>,
}

impl Copies {
    /// Looks for the key that a site leads to, and for the rest of its array.
    fn look(&mut self, memory: &mut impl Memory, map: &Map<'_>, entry: &Entry, key: u64, object: usize) {
        if !self.looked.insert(key) {
            return;
        }
        let mut found: Vec<Read> = Vec::new();
        let mut next = key.checked_sub(u64::from(entry.index) * KEY_SIZE as u64);
        while let Some(at) = next.filter(|_| self.looked.len() < MOST_COPIES) {
            let mut bytes = [0; KEY_SIZE];
            let there = at.is_multiple_of(KEY_SIZE as u64)
                && map.has(at, KEY_SIZE as u64, libc::PROT_READ | libc::PROT_WRITE)
                && memory.read(at, &mut bytes)
                && bytes[2..4] == [0; 2]
                && bytes[56..] == [0; 8];
            let read = there.then(|| read_key(memory, map, &bytes, at, object)).flatten();
            let same = |read: &Read| found.first().is_none_or(|f| f.name == read.name && read.key.index.is_some());
            let Some(read) = read.filter(same) else { break };
            self.looked.insert(at);
            next = read.key.index.and_then(|_| at.checked_add(KEY_SIZE as u64));
            found.push(read.behind(found.last()));
        }
        if found.iter().any(|copy| copy.key.at == key) {
            self.found.append(&mut found);
        }
    }

    /// Adds the copies to the keys, and marks those that they are copies of.
    fn join(mut self, keys: &mut Vec<Read>) {
        if self.found.is_empty() {
            return;
        }
        let known: HashMap<_, _> = keys.iter().enumerate().map(|(i, read)| (read.identity(), i)).collect();
        for copy in &mut self.found {
            if let Some(&original) = known.get(&copy.identity()) {
                keys[original].replaced = true;
                copy.key.object = keys[original].key.object;
            }
        }
        keys.append(&mut self.found);
        keys.sort_by_key(|read| read.key.at);
        keys.dedup_by_key(|read| read.key.at);
    }
}

/// The bytes of a table that [`checked`] let pass, if there are not too many entries.
fn table(memory: &mut impl Memory, start: u64, end: u64, most: usize, size: usize) -> Option<Vec<u8>> {
    let len = usize::try_from(end.checked_sub(start)?).ok()?;
    if len / size > most {
        return None;
    }
    let mut bytes = vec![0; len];
    (len == 0 || memory.read(start, &mut bytes)).then_some(bytes)
}

/// Whether a note's tables lie where tables can.
fn checked(note: &Note, segments: &[Segment], map: &Map<'_>) -> Result<(), &'static str> {
    let inside = |(start, end): (u64, u64)| {
        let Some(len) = end.checked_sub(start) else { return false };
        len == 0 || (segments.iter().any(|s| s.start <= start && end <= s.end) && map.has(start, len, libc::PROT_READ))
    };
    let whole = |(start, end): (u64, u64), size: u64| end.wrapping_sub(start).is_multiple_of(size);
    if !inside(note.sites) || !whole(note.sites, ENTRY_SIZE as u64) {
        return Err("its table of sites is damaged");
    }
    if !inside(note.keys) || !whole(note.keys, KEY_SIZE as u64) || !note.keys.0.is_multiple_of(8) {
        return Err("its table of keys is damaged");
    }
    if !inside((note.object, note.object.saturating_add(16))) {
        return Err("its note is damaged");
    }
    Ok(())
}

fn read_key(memory: &mut impl Memory, map: &Map<'_>, bytes: &[u8], at: u64, object: usize) -> Option<Read> {
    let word = |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
    let quad = |i: usize| u64::from(word(i)) | u64::from(word(i + 4)) << 32;
    let mut text = |at: u64, len: u32| {
        let mut text = vec![0; len as usize];
        let readable = len <= MOST_TEXT && map.has(at, u64::from(len), libc::PROT_READ);
        (readable && memory.read(at, &mut text)).then(|| printable(&String::from_utf8_lossy(&text)))
    };
    let (kind, width) = (Kind::from_u8(bytes[0])?, bytes[1]);
    let sane = match kind {
        Kind::Branch => quad(8) <= 1,
        Kind::Call => true,
        Kind::Imm => matches!(width, 1 | 2 | 4 | 8),
    };
    let index = (word(52) != NO_INDEX).then_some(word(52));
    let (name, file) = (text(quad(24), word(40))?, text(quad(32), word(44))?);
    let value = quad(8);
    let key = Key {
        at,
        object,
        kind,
        width,
        count: word(4),
        value,
        initial: quad(16),
        name,
        file,
        line: word(48),
        index,
        sites: Vec::new(),
    };
    (sane && !key.name.is_empty()).then_some(Read { key, name: quad(24), replaced: false })
}

/// Text of a stranger, safe to print: control characters and what turns the direction of writing round are escaped.
fn printable(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns(c) { safe.extend(c.escape_unicode()) } else { safe.push(c) }
    }
    safe
}

/// The mappings of a process, ascending.
struct Map<'a>(&'a [Mapping]);

impl Map<'_> {
    /// Whether all of a range is mapped with these protections.
    fn has(&self, start: u64, len: u64, prot: i32) -> bool {
        let Some(end) = start.checked_add(len) else { return false };
        let mut at = start;
        let first = self.0.partition_point(|m| m.end <= start);
        for map in &self.0[first..] {
            if at >= end || map.start > at || map.prot & prot != prot {
                break;
            }
            at = map.end;
        }
        at >= end
    }

    /// Whether the executable parts of an object are mapped executable.
    fn is_loaded(&self, segments: &[Segment]) -> bool {
        const EXECUTE: u32 = 1;
        let mut code = segments.iter().filter(|s| s.flags & EXECUTE != 0).peekable();
        code.peek().is_some()
            && code.all(|s| s.end.checked_sub(s.start).is_some_and(|len| self.has(s.start, len, libc::PROT_EXEC)))
    }
}
