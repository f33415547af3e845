//! Looking at all keys of the process.

use std::collections::HashSet;

use textpoke_keys::abi::{Kind, NO_INDEX};

use super::KeyError;
use super::engine::Keys;

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
    // The key of a library that the program has a copy of has no sites, but the copy's name.
    let used: HashSet<*const u8> =
        index.keys().filter(|&at| !index.sites_of(at).is_empty()).map(|at| super::engine::key_at(at).name).collect();
    Ok(index
        .keys()
        .filter_map(|at| {
            let key = super::engine::key_at(at);
            if index.sites_of(at).is_empty() && key.index == NO_INDEX && used.contains(&key.name) {
                return None;
            }
            let name = text(key.name, key.name_len);
            Some(Found {
                name: if key.index == NO_INDEX { name } else { format!("{name}[{}]", key.index) },
                file: text(key.file, key.file_len),
                line: key.line,
                kind: Kind::from_u8(key.kind)?,
                value: super::engine::value_of(key),
                count: key.count.load(std::sync::atomic::Ordering::Acquire),
                sites: index.sites_of(at).iter().map(|(_, entry)| entry.code).collect(),
            })
        })
        .collect())
}

fn text(start: *const u8, len: u32) -> String {
    // SAFETY: the name of a key is static text of an object that is loaded, and does not go while the engine is locked.
    String::from_utf8_lossy(unsafe { std::slice::from_raw_parts(start, len as usize) }).into_owned()
}
