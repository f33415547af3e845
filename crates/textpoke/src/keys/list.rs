//! Looking at all keys of the process.

use std::collections::HashSet;

use textpoke_keys::abi::{KEY_SIZE, Key, Kind, NO_INDEX, UNCOUNTED};

use super::KeyError;
use super::engine::Keys;
use super::index::Index;

/// A key of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// With the path of its module, and its index if it is in an array.
    pub name: String,
    /// The source file in which it is defined.
    pub file: String,
    /// The line there, counted from 1.
    pub line: u32,
    /// Whether it is a branch, a call or an immediate.
    pub kind: Kind,
    /// What every thread executes: 0 or 1, the address of a function or 0, the number.
    pub value: u64,
    /// How many have a branch on.
    pub count: u32,
    /// Addresses of its sites in all loaded objects.
    pub sites: Vec<u64>,
}

/// All keys of all objects of this process that are loaded, in the order of their addresses.
///
/// # Errors
/// When the engine cannot be had: without /proc.
pub fn all() -> Result<Vec<Found>, KeyError> {
    let mut keys = Keys::lock()?;
    let index = keys.index();
    let all: Vec<One> = index.keys().fold(Vec::new(), |mut all, at| {
        all.push(One::behind(at, all.last()));
        all
    });
    // The key of a library that the program has a copy of: nobody uses it.
    let copied: HashSet<_> = all.iter().filter(|one| index.is_copy(one.at)).map(One::identity).collect();
    let replaced =
        |one: &&One| index.sites_of(one.at).is_empty() && !index.is_copy(one.at) && copied.contains(&one.identity());
    Ok(all.iter().filter(|one| !replaced(one)).filter_map(|one| one.found(index)).collect())
}

/// A key, and its position in an array, if it is in one.
struct One {
    at: u64,
    key: &'static Key,
    position: Option<u32>,
}

impl One {
    /// The key at `at`. Keys of C's arrays do not know their position: it follows from the one before.
    fn behind(at: u64, before: Option<&Self>) -> Self {
        let key = super::engine::key_at(at);
        let joins = |before: &&Self| before.at + KEY_SIZE as u64 == at && before.key.name == key.name;
        let position = match key.index {
            NO_INDEX => None,
            UNCOUNTED => Some(before.filter(joins).and_then(|before| before.position).map_or(0, |i| i + 1)),
            index => Some(index),
        };
        Self { at, key, position }
    }

    /// What a key and its copy have in common.
    fn identity(&self) -> (*const u8, Option<u32>) {
        (self.key.name, self.position)
    }

    fn found(&self, index: &Index) -> Option<Found> {
        let key = self.key;
        let name = text(key.name, key.name_len);
        Some(Found {
            name: self.position.map_or_else(|| name.clone(), |i| format!("{name}[{i}]")),
            file: text(key.file, key.file_len),
            line: key.line,
            kind: Kind::from_u8(key.kind)?,
            value: super::engine::value_of(key),
            count: key.count.load(std::sync::atomic::Ordering::Acquire),
            sites: index.sites_of(self.at).iter().map(|(_, entry)| entry.code).collect(),
        })
    }
}

fn text(start: *const u8, len: u32) -> String {
    // SAFETY: the name of a key is static text of an object that is loaded, and does not go while the engine is locked.
    String::from_utf8_lossy(unsafe { std::slice::from_raw_parts(start, len as usize) }).into_owned()
}
