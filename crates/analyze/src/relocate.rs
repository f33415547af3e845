//! The copy of displaced instructions that runs instead of them, somewhere else.
//!
//! The copy does exactly what the original does: no register, flag or stack slot differs, but for the register of
//! [`Jump::Pair`](crate::Jump::Pair), which holds nothing. A displaced call leaves its original return address, so
//! that unwinders never see the copy.

use crate::isa::{Arch as _, for_isa};
use crate::reason::Reason;
use crate::site::{MAX_PATCH, Site};

/// Most bytes that a copy can have, with its jump back.
pub const MAX_COPY: usize = 64;

/// A copy of the displaced instructions for one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocated {
    /// Machine code, at most [`MAX_COPY`] bytes, to be placed at the address it was made for.
    pub bytes: Vec<u8>,
    /// Offset in `bytes` of the copy of the instruction that began at this offset in the site;
    /// `0xff` where none began. A thread that was at `vaddr + i` goes on at copy `+ at[i]`.
    pub at: [u8; MAX_PATCH],
}

impl Site {
    /// Makes the copy of the displaced instructions.
    ///
    /// `bias` is what was added to the addresses of the file when it was loaded, `dest` the run-time
    /// address of the copy, a multiple of 4. The copy ends with a jump behind the displaced instructions, unless the
    /// last one never goes on there.
    ///
    /// # Errors
    /// [`Reason::OutOfRange`] when `dest` is further from something that the instructions refer to than the
    /// instruction set reaches; other reasons only if `bias` makes no sense.
    pub fn relocate(&self, bias: u64, dest: u64) -> Result<Relocated, Reason> {
        let origin = self.vaddr.wrapping_add(bias);
        for_isa!(self.isa(), I => I::relocate(self, origin, dest))
    }
}

/// A copy that is being made.
#[derive(Debug)]
pub(crate) struct Copy {
    pub bytes: Vec<u8>,
    dest: u64,
    at: [u8; MAX_PATCH],
}

impl Copy {
    pub fn new(dest: u64) -> Self {
        Self { bytes: Vec::with_capacity(32), dest, at: [0xff; MAX_PATCH] }
    }

    /// Where the next byte will be.
    pub fn here(&self) -> u64 {
        self.dest.wrapping_add(self.bytes.len() as u64)
    }

    pub fn put(&mut self, bytes: impl AsRef<[u8]>) {
        self.bytes.extend_from_slice(bytes.as_ref());
    }

    /// Notes that the copy of the instruction at an offset of the site begins here.
    pub fn begin(&mut self, offset: usize) -> Result<(), Reason> {
        // A site has no instruction that begins behind the bytes that change.
        *self.at.get_mut(offset).ok_or(Reason::Undecodable)? = self.bytes.len() as u8;
        Ok(())
    }

    pub fn done(self) -> Relocated {
        Relocated { bytes: self.bytes, at: self.at }
    }
}
