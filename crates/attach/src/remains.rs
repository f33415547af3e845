//! What an earlier textpoke left in a process, found by the name of its mappings.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use textpoke_core::Site;
use textpoke_core::journal::{Header, MAGIC};
use textpoke_trace::control::{self, Control};
use textpoke_trace::layout::{JOURNAL_BYTES, PAGE};
use textpoke_trace::params::Params;

use crate::arch;
use crate::error::Error;
use crate::image::Image;
use crate::keeper::Keeper;
use crate::preflight::MAPPING_NAME;
use crate::proc::{self, Mapping};

/// Our mappings in a process.
#[derive(Debug, Default)]
pub struct Remains {
    /// Executable areas.
    pub text: Vec<(u64, u64)>,
    /// Shared data. Without it the text was restored, and an area stayed because a thread was in it.
    pub data: Option<(u64, u64)>,
    /// What has no name: LOCAL and TABLE, known by where they are. No executable code refers to them once there is no data.
    pub private: Vec<(u64, u64)>,
    inode: u64,
}

/// Finds them.
pub fn find(maps: &[Mapping]) -> Remains {
    let mut remains = Remains::default();
    let window = arch::window(maps);
    let unnamed = maps.iter().filter(|m| window.contains(&m.start) && m.inode == 0 && !m.shared);
    remains.private = unnamed.map(|m| (m.start, m.end)).collect();
    for map in maps.iter().filter(|m| m.path.starts_with(MAPPING_NAME)) {
        if map.prot & libc::PROT_EXEC != 0 {
            remains.text.push((map.start, map.end));
        } else {
            remains.data = Some((map.start, map.end));
            remains.inode = map.inode;
        }
    }
    remains
}

/// Who else is at work in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// A tracer lives.
    Tracer(i32),
    /// Only a sidecar does, on its way to its end.
    Sidecar(i32),
}

impl Remains {
    /// Whether there is anything.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.data.is_none() && self.private.is_empty()
    }

    /// Looks for other processes that share the data with the target.
    pub fn users(&self, target: i32) -> Vec<Busy> {
        let Some((start, _)) = self.data else { return Vec::new() };
        let mut users = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
            let Ok(status) = proc::status(pid) else { continue };
            if pid == target || status.name != "textpoke" || matches!(status.state, 'Z' | 'X') {
                continue;
            }
            let Ok(maps) = proc::maps(pid) else { continue };
            let shares = |m: &&Mapping| m.path.starts_with(MAPPING_NAME) && m.inode == self.inode;
            match maps.iter().filter(shares).find(|m| m.prot & libc::PROT_WRITE != 0) {
                Some(map) if map.start == start => users.push(Busy::Sidecar(pid)),
                Some(_) => users.push(Busy::Tracer(pid)),
                None => {}
            }
        }
        users
    }

    /// The text ranges that a batch makes writable (start, end, protections otherwise).
    ///
    /// # Errors
    /// The target's memory cannot be read.
    pub fn windows(&self, memory: &File) -> Result<Vec<(u64, u64, u64)>, Error> {
        let Some((start, _)) = self.data else { return Ok(Vec::new()) };
        let word = |at: u64| {
            let mut bytes = [0; 8];
            memory.read_exact_at(&mut bytes, at).map_err(|e| Error::Io("reading the journal", e))?;
            Ok::<u64, Error>(u64::from_le_bytes(bytes))
        };
        let ranges = start + std::mem::offset_of!(Control, ranges) as u64;
        let count = word(start + std::mem::offset_of!(Control, range_count) as u64)? as u32;
        (0..u64::from(count).min(control::MAX_RANGES as u64))
            .map(|i| {
                let at = ranges + i * size_of::<control::TextRange>() as u64;
                Ok((word(at)?, word(at + 8)?, word(at + 16)?))
            })
            .filter(|range| range.as_ref().is_ok_and(|r| r.0 < r.1) || range.is_err())
            .collect()
    }

    /// Every site that was patched at some time, ascending, as the journal has them.
    ///
    /// # Errors
    /// The journal is not one of this version.
    pub fn sites(&self, memory: &File) -> Result<Vec<Site>, Error> {
        let Some((start, end)) = self.data else { return Ok(Vec::new()) };
        let damaged = |what: &str| {
            Error::Damaged(format!("the journal in the process {what}; use the textpoke that attached to it"))
        };
        let word = |at: u64| {
            let mut bytes = [0; 8];
            memory.read_exact_at(&mut bytes, at).map_err(|e| Error::Io("reading the journal", e))?;
            Ok::<u64, Error>(u64::from_le_bytes(bytes))
        };
        match word(start)? {
            control::MAGIC => {}
            // Its tracer had just mapped it.
            0 => return Ok(Vec::new()),
            _ => return Err(damaged("is of another version")),
        }
        if word(start + std::mem::offset_of!(Control, of_keys) as u64)? as u32 == 1 {
            return Ok(Vec::new());
        }
        let journal = start + size_of::<Control>().next_multiple_of(PAGE) as u64;
        let field = |offset: usize| word(journal + offset as u64);
        // All zeros before the first batch.
        let mut count = match field(0)? {
            0 => 0,
            MAGIC => field(std::mem::offset_of!(Header, sites))?,
            _ => return Err(damaged("cannot be understood")),
        };
        // A batch that was removed is not in the header any more, but a fork child may still have its patches.
        let batches = start + std::mem::offset_of!(Control, batches) as u64;
        for i in 0..control::MAX_BATCHES as u64 {
            let batch = batches + i * size_of::<control::Batch>() as u64;
            let (first, sites) = (word(batch)?, word(batch + 8)?);
            count = count.max(first.saturating_add(sites));
        }
        let at = journal + JOURNAL_BYTES as u64;
        if count > (end - at) / size_of::<Site>() as u64 {
            return Err(damaged("is not whole"));
        }
        let mut bytes = vec![0; count as usize * size_of::<Site>()];
        memory.read_exact_at(&mut bytes, at).map_err(|e| Error::Io("reading the journal", e))?;
        let mut sites: Vec<Site> = bytes.chunks_exact(size_of::<Site>()).map(site_from_bytes).collect();
        sites.sort_unstable_by_key(|s| s.addr);
        Ok(sites)
    }
}

/// Reads a site as it lies in memory.
fn site_from_bytes(bytes: &[u8]) -> Site {
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
    let eight = |at: usize| word(at).to_le_bytes();
    Site {
        addr: word(std::mem::offset_of!(Site, addr)),
        old: eight(std::mem::offset_of!(Site, old)),
        new: eight(std::mem::offset_of!(Site, new)),
        copy: word(std::mem::offset_of!(Site, copy)),
        stand_in: word(std::mem::offset_of!(Site, stand_in)),
        copy_at: eight(std::mem::offset_of!(Site, copy_at)),
        len: bytes[std::mem::offset_of!(Site, len)],
        inner: bytes[std::mem::offset_of!(Site, inner)],
        new_inner: 0,
        reserved: [0; 5],
    }
}

/// What of an earlier session carries no name, as its parameters page tells.
#[derive(Clone, Copy, Debug)]
pub struct Unnamed {
    /// TABLE.
    pub table: u64,
    /// Address of its trap handler.
    pub handler: u64,
}

/// Reads the parameters page of the image at `home`. `None` unless they are what this version writes.
pub fn regions(keeper: &Keeper, image: &Image, home: u64, data: Option<(u64, u64)>) -> Option<Unnamed> {
    let page = home + image.params();
    let field = |offset: usize| {
        let mut bytes = [0; 8];
        keeper.memory().read_exact_at(&mut bytes, page + offset as u64).ok()?;
        Some(u64::from_le_bytes(bytes))
    };
    use std::mem::offset_of;
    if field(offset_of!(Params, control))? != data?.0 {
        return None;
    }
    Some(Unnamed { table: field(offset_of!(Params, table))?, handler: home + image.trap_handler() })
}

/// Refuses a process in which another textpoke is at work or was killed at work. Areas that stayed after an orderly
/// release are the answer: they are unmapped with the next session's own.
pub fn check(pid: i32, maps: &[Mapping]) -> Result<Vec<(u64, u64)>, Error> {
    let remains = find(maps);
    if remains.data.is_none() {
        // What is unnamed may be the list of changes of a flip that was killed.
        if !remains.private.is_empty() && crate::keys::may_need_order(pid, maps) {
            return Err(Error::LeftOver(pid));
        }
        return Ok([remains.text, remains.private].concat());
    }
    match remains.users(pid).first() {
        Some(&(Busy::Tracer(by) | Busy::Sidecar(by))) => Err(Error::InUse(pid, by)),
        None => Err(Error::LeftOver(pid)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_survives_the_way_through_memory() {
        let mut site = Site::single(0x1234_5678_9abc, &[1, 2, 3, 4, 5], &[6, 7, 8, 9, 10]).unwrap();
        (site.copy, site.stand_in, site.inner, site.copy_at) = (11, 12, 0b10, [13; 8]);
        let mut bytes = Vec::new();
        bytes.extend(site.addr.to_le_bytes());
        bytes.extend(site.old);
        bytes.extend(site.new);
        bytes.extend(site.copy.to_le_bytes());
        bytes.extend(site.stand_in.to_le_bytes());
        bytes.extend(site.copy_at);
        bytes.extend([site.len, site.inner, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes.len(), size_of::<Site>());
        assert_eq!(site_from_bytes(&bytes), site);
    }

    #[test]
    fn mappings_are_told_apart() {
        let map = |start, prot| Mapping {
            start,
            end: start + 0x1000,
            prot,
            shared: true,
            offset: 0,
            inode: 5,
            path: "/memfd:textpoke (deleted)".into(),
        };
        let remains =
            find(&[map(0x1000, libc::PROT_READ | libc::PROT_EXEC), map(0x5000, libc::PROT_READ | libc::PROT_WRITE)]);
        assert_eq!((remains.text.as_slice(), remains.data), (&[(0x1000, 0x2000)][..], Some((0x5000, 0x6000))));
        assert!(find(&[]).is_empty());
    }
}
