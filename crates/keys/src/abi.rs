//! The memory layout that Rust, C and `textpoke keys` share. `docs/keys.md` says the same in prose.

use core::sync::atomic::{AtomicPtr, AtomicU32};

/// Version of everything in this file.
pub const VERSION: u32 = 1;
/// Owner of the note.
pub const NOTE_OWNER: &[u8; 9] = b"textpoke\0";
/// Type of the note.
pub const NOTE_TYPE: u32 = 1;
/// Bytes of a key.
pub const KEY_SIZE: usize = size_of::<Key>();
/// Bytes of an entry of the site table.
pub const ENTRY_SIZE: usize = 16;

/// What a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// On or off.
    Branch = 0,
    /// A function, or none.
    Call = 1,
    /// A number.
    Imm = 2,
}

impl Kind {
    /// From its number.
    pub const fn from_u8(kind: u8) -> Option<Self> {
        match kind {
            0 => Some(Self::Branch),
            1 => Some(Self::Call),
            2 => Some(Self::Imm),
            _ => None,
        }
    }
}

/// A key: 64 bytes in the section `textpoke_keys`, whose order is fixed. The alignment leaves no gap between keys of two
/// compilers, one of which aligns its table by more than it has to.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Key {
    /// A [`Kind`].
    pub kind: u8,
    /// Bytes of the value that count: 1, or those of an immediate, or 8.
    pub width: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// How many users have a branch on; it is on as long as this is not 0. Only for branches.
    pub count: AtomicU32,
    /// What every thread executes: 0 or 1, the address of a function or null, a number. Stored when the code is there.
    pub value: AtomicPtr<()>,
    /// What the sites of the file hold.
    pub initial: *const (),
    /// UTF-8, not terminated.
    pub name: *const u8,
    /// UTF-8, not terminated.
    pub file: *const u8,
    /// Bytes of the name.
    pub name_len: u32,
    /// Bytes of the file's name.
    pub file_len: u32,
    /// Counted from 1.
    pub line: u32,
    /// Position in an array of keys of this name; `u32::MAX` if it is no array.
    pub index: u32,
    /// Zero.
    pub more: u64,
}

/// The `index` of a key that is in no array.
pub const NO_INDEX: u32 = u32::MAX;
/// The `index` of a key in an array whose keys do not count themselves, as C has them: its position is the number of keys
/// right before it with the same `name` pointer.
pub const UNCOUNTED: u32 = u32::MAX - 1;

// SAFETY is not needed: the pointers lead to immutable static text, and all that changes is atomic.
#[allow(unsafe_code, reason = "raw pointers take the automatic implementation away")]
// SAFETY: as said above.
unsafe impl Sync for Key {}

impl Key {
    /// A key.
    pub const fn new(
        kind: Kind,
        width: u8,
        count: u32,
        initial: *const (),
        name: &'static str,
        file: &'static str,
        line: u32,
    ) -> Self {
        Self {
            kind: kind as u8,
            width,
            reserved: [0; 2],
            count: AtomicU32::new(count),
            value: AtomicPtr::new(initial.cast_mut()),
            initial,
            name: name.as_ptr(),
            file: file.as_ptr(),
            name_len: name.len() as u32,
            file_len: file.len() as u32,
            line,
            index: NO_INDEX,
            more: 0,
        }
    }
}

/// Bit of [`Entry::flags`], for branches: the instruction that does not jump is what runs when the key is *on*.
pub const LIKELY: u8 = 0x80;
/// Bit of [`Entry::flags`], for calls: without a function the site is `mov eax, 0`; otherwise a NOP.
pub const ZERO: u8 = 0x80;
/// Bit of [`Entry::flags`], for calls: the site is a JMP, the last that its caller does. Without a function it leads to
/// the trampoline, which returns 0.
pub const TAIL: u8 = 0x40;

/// An entry of the section `textpoke_sites`, with its addresses worked out.
///
/// In memory: three `i32`, each relative to its own address (site, jump target, *slot that holds the address of the
/// key*), then kind and flags in one byte, the length of the site, and the key's position in its array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the instruction is that changes.
    pub code: u64,
    /// Where a branch goes; for a call its trampoline: code that does what the site should, by loading the function from
    /// the key. Meaningless for an immediate.
    pub target: u64,
    /// Where the address of the key, or of the first of an array, is stored (an entry of the GOT).
    pub slot: u64,
    /// Position in the array, or 0.
    pub index: u16,
    /// What stands there.
    pub kind: Kind,
    /// [`LIKELY`], [`ZERO`], [`TAIL`].
    pub flags: u8,
    /// Bytes of the site.
    pub len: u8,
}

impl Entry {
    /// Reads the entry that was found at `at`. `None` if it is not one of this version.
    pub fn read(bytes: &[u8; ENTRY_SIZE], at: u64) -> Option<Self> {
        let word = |i: usize| {
            let relative = i32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
            at.wrapping_add(i as u64).wrapping_add(relative as i64 as u64)
        };
        Some(Self {
            code: word(0),
            target: word(4),
            slot: word(8),
            kind: Kind::from_u8(bytes[12] & 0x0f)?,
            flags: bytes[12] & 0xf0,
            len: bytes[13],
            index: u16::from_le_bytes([bytes[14], bytes[15]]),
        })
    }

    /// The address of the key, given what the slot holds.
    pub const fn key(&self, slot: u64) -> u64 {
        slot.wrapping_add(self.index as u64 * KEY_SIZE as u64)
    }
}

/// What an object's note says, with its addresses worked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// First and behind the last byte of the site table.
    pub sites: (u64, u64),
    /// First and behind the last byte of the keys.
    pub keys: (u64, u64),
    /// The object's own words: see [`OBJECT_STATE`].
    pub object: u64,
}

/// Bytes of the note's description.
pub const DESC_SIZE: usize = 28;
/// Offset, in an object's words, of its state (`u32`): 0, or [`CLOSING`].
pub const OBJECT_STATE: u64 = 0;
/// The object is about to be unmapped: nobody touches its sites any more.
pub const CLOSING: u32 = 1;

impl Note {
    /// Reads a description that was found at `at`.
    pub fn read(desc: &[u8], at: u64) -> Option<Self> {
        let desc: &[u8; DESC_SIZE] = desc.get(..DESC_SIZE)?.try_into().ok()?;
        let word = |i: usize| u32::from_le_bytes([desc[i], desc[i + 1], desc[i + 2], desc[i + 3]]);
        let address = |i: usize| at.wrapping_add(i as u64).wrapping_add(word(i) as i32 as i64 as u64);
        let known = word(0) == VERSION && word(4) == (ENTRY_SIZE | KEY_SIZE << 16) as u32;
        known.then(|| Self { sites: (address(8), address(12)), keys: (address(16), address(20)), object: address(24) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_fixed() {
        assert_eq!(size_of::<Key>(), 64);
        let offsets = [
            core::mem::offset_of!(Key, count),
            core::mem::offset_of!(Key, value),
            core::mem::offset_of!(Key, initial),
            core::mem::offset_of!(Key, name),
            core::mem::offset_of!(Key, file),
            core::mem::offset_of!(Key, name_len),
            core::mem::offset_of!(Key, line),
            core::mem::offset_of!(Key, index),
        ];
        assert_eq!(offsets, [4, 8, 16, 24, 32, 40, 48, 52]);
    }

    #[test]
    fn an_entry_is_relative_to_itself() {
        let mut bytes = [0; 16];
        bytes[0..4].copy_from_slice(&(-16i32).to_le_bytes());
        bytes[4..8].copy_from_slice(&0x100i32.to_le_bytes());
        bytes[8..12].copy_from_slice(&8i32.to_le_bytes());
        bytes[12..].copy_from_slice(&[0x80, 5, 3, 0]);
        let entry = Entry::read(&bytes, 0x1000).unwrap();
        assert_eq!((entry.code, entry.target, entry.slot), (0xff0, 0x1104, 0x1010));
        assert_eq!((entry.kind, entry.flags, entry.len, entry.key(0x4000)), (Kind::Branch, LIKELY, 5, 0x40c0));
        bytes[12] = 7;
        assert_eq!(Entry::read(&bytes, 0x1000), None);
    }
}
