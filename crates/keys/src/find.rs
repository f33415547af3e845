//! Finding the tables of an object that is mapped somewhere: by its program headers, so that a stripped file will do.
//!
//! The memory may be one's own, or another process's: whoever calls says how to read it. Nothing that is read is trusted
//! to make sense.

use crate::abi::{DESC_SIZE, NOTE_OWNER, NOTE_TYPE, Note};

/// Reads memory.
pub trait Memory {
    /// Fills `buf` from `addr` on; false if that cannot be read.
    fn read(&mut self, addr: u64, buf: &mut [u8]) -> bool;
}

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// Executable.
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;
/// Most program headers of an object that is looked at.
const MOST_HEADERS: u64 = 256;
/// Most bytes of notes that are looked through.
const MOST_NOTES: u64 = 65536;

/// A part of a mapped object: where it begins and ends, and whether it can be read, written, executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First byte.
    pub start: u64,
    /// Behind the last byte.
    pub end: u64,
    /// Bits 2, 1 and 0: read, write, execute.
    pub flags: u32,
}

/// The note of the object whose first page is mapped at `base` (the mapping with file offset 0), and its segments, as
/// many as fit into `segments`.
pub fn object(memory: &mut impl Memory, base: u64, segments: &mut [Segment]) -> Option<(Note, usize)> {
    let mut header = [0; 64];
    let good = memory.read(base, &mut header)
        && header.starts_with(b"\x7fELF\x02\x01\x01")
        && half(&header, 54) == 56
        && u64::from(half(&header, 56)) <= MOST_HEADERS;
    if !good {
        return None;
    }
    let (at, count) = (base.wrapping_add(quad(&header, 32)), u64::from(half(&header, 56)));
    let mut entry = [0; 56];
    let mut bias = None;
    let (mut found, mut used) = (None, 0);
    // The first PT_LOAD tells where the others are; notes come before it in some files, hence two rounds.
    for round in [PT_LOAD, PT_NOTE] {
        for i in 0..count {
            if !memory.read(at.wrapping_add(i * 56), &mut entry) || word(&entry, 0) != round {
                continue;
            }
            let (virt, size) = (quad(&entry, 16), quad(&entry, 40));
            if round == PT_LOAD {
                let bias = *bias.get_or_insert(base.wrapping_sub(virt.wrapping_sub(quad(&entry, 8))));
                if let Some(place) = segments.get_mut(used) {
                    let start = bias.wrapping_add(virt);
                    *place =
                        Segment { start, end: start.wrapping_add(size), flags: word(&entry, 4) & (PF_R | PF_W | PF_X) };
                    used += 1;
                }
            } else if found.is_none() {
                found = note(memory, bias?.wrapping_add(virt), size.min(MOST_NOTES));
            }
        }
    }
    found.map(|note| (note, used))
}

/// Looks through notes for ours.
fn note(memory: &mut impl Memory, start: u64, size: u64) -> Option<Note> {
    let mut at = 0;
    while at + 12 <= size {
        let mut head = [0; 12];
        if !memory.read(start.wrapping_add(at), &mut head) {
            return None;
        }
        let (name, desc) = (u64::from(word(&head, 0)), u64::from(word(&head, 4)));
        let padded = |len: u64| len.div_ceil(4) * 4;
        let name_at = start.wrapping_add(at + 12);
        let desc_at = name_at.wrapping_add(padded(name));
        let mut owner = [0; NOTE_OWNER.len()];
        if name == owner.len() as u64
            && desc >= DESC_SIZE as u64
            && word(&head, 8) == NOTE_TYPE
            && memory.read(name_at, &mut owner)
            && owner == *NOTE_OWNER
        {
            let mut desc = [0; DESC_SIZE];
            return memory.read(desc_at, &mut desc).then(|| Note::read(&desc, desc_at)).flatten();
        }
        at += 12 + padded(name) + padded(desc);
    }
    None
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) | u32::from(half(bytes, at + 2)) << 16
}

fn quad(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}
