//! The engine words of a process, seen from outside. `docs/keys.md` has the layout.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::error::Error;
use crate::proc::{self, Mapping};

const MARK: u64 = u64::from_le_bytes(*b"textpok1");
const STRIDE: u64 = 0x10000;
const PLACES: u64 = 16;
const FAR_BELOW: std::ops::RangeInclusive<u32> = 21..=36;
const FAR_ABOVE: std::ops::RangeInclusive<u32> = 32..=35;
const PAGE: u64 = 4096;
/// Bytes of both pages.
pub const BYTES: u64 = 2 * PAGE;

/// Bit of the lock: somebody sleeps until it is free.
pub const WAITED_FOR: u32 = 1 << 31;

/// Values of the fork mark; a fork child finds 0.
pub const FORKED: u32 = 0;
/// The process took the lock over, or is the one that made the words.
pub const KNOWN: u32 = 1;
/// A thread is taking the lock over.
pub const TAKEN_OVER: u32 = 2;

/// Where the words are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    at: u64,
}

impl Words {
    /// Looks for the words at each place where they may be.
    pub fn find(pid: i32, memory: &File, maps: &[Mapping]) -> Option<Self> {
        let is_it = |&at: &u64| is_private_memory(maps, at) && word(memory, at).is_ok_and(|mark| mark == MARK);
        places(pid).ok()?.find(is_it).map(|at| Self { at })
    }

    /// The words, if they are made at a place of [`places`].
    pub fn at(at: u64) -> Self {
        Self { at }
    }

    /// Address of the mark.
    pub fn mark(self) -> u64 {
        self.at
    }

    /// Address of the lock.
    pub fn lock(self) -> u64 {
        self.at + 8
    }

    /// Address of the epoch.
    pub fn epoch(self) -> u64 {
        self.at + 12
    }

    /// Address of the holder's start time.
    pub fn started(self) -> u64 {
        self.at + 16
    }

    /// Address of the number of times that others let whoever is outside go first.
    pub fn ahead(self) -> u64 {
        self.at + 28
    }

    /// Address of the address of the changes; their number is in the word behind it.
    pub fn changes(self) -> u64 {
        self.at + 32
    }

    /// Address of the number of changes.
    pub fn change_count(self) -> u64 {
        self.at + 40
    }

    /// Address of the word that fork children find zero.
    pub fn fork_mark(self) -> u64 {
        self.at + PAGE
    }

    /// Whether somebody died between the beginning and the end of a change, and nobody has put things in order since: the
    /// changes are still listed.
    pub fn has_changes(self, memory: &File) -> bool {
        half(memory, self.change_count()).is_ok_and(|count| count != 0)
    }
}

/// The mark.
pub const fn mark() -> u64 {
    MARK
}

/// Where the words may be, in the order in which they are looked for.
///
/// # Errors
/// The process ended, or its auxiliary vector may not be read.
pub fn places(pid: i32) -> Result<impl Iterator<Item = u64>, Error> {
    let headers = proc::auxv(pid, libc::AT_PHDR).map_err(|_| Error::Gone(pid))?;
    let headers = headers.ok_or(Error::Unsupported("the process does not tell where its program headers are"))?;
    let base = headers & !(STRIDE - 1);
    let near = (1..=PLACES).map(|n| n * STRIDE);
    let below = near.chain(FAR_BELOW.map(|bit| 1 << bit)).filter_map(move |distance| base.checked_sub(distance));
    Ok(below.chain(FAR_ABOVE.filter_map(move |bit| base.checked_add(1 << bit))).filter(|&at| at != 0))
}

/// Whether both pages are memory of the process's own, which can be read and written.
fn is_private_memory(maps: &[Mapping], at: u64) -> bool {
    const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;
    let own = |at: u64| maps.iter().any(|m| m.start <= at && at < m.end && m.inode == 0 && !m.shared && m.prot == RW);
    own(at) && own(at + PAGE)
}

/// Reads a word of eight bytes.
pub fn word(memory: &File, at: u64) -> io::Result<u64> {
    let mut bytes = [0; 8];
    memory.read_exact_at(&mut bytes, at)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Reads a word of four bytes.
pub fn half(memory: &File, at: u64) -> io::Result<u32> {
    let mut bytes = [0; 4];
    memory.read_exact_at(&mut bytes, at)?;
    Ok(u32::from_le_bytes(bytes))
}
