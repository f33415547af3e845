//! The live side of [`textpoke_core::journal`]: keeping a header up to date while a batch runs.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use textpoke_core::journal::{Header, MAGIC, State, VERSION};

/// A journal header in memory that outlives the patcher, in front of the plan's sites.
#[derive(Clone, Copy, Debug)]
pub struct Journal {
    header: *mut Header,
}

impl Journal {
    /// Takes over a header; [`Journal::begin`] fills it in.
    ///
    /// # Safety
    /// `header` must be valid for reads and writes as long as the journal is used, and nobody else may write to it.
    pub const unsafe fn new(header: *mut Header) -> Self {
        Self { header }
    }

    /// Writes a whole header in state [`State::Idle`] for a plan of `sites` sites, of which the batches to come cover
    /// those from `first` on. The sites must already stand behind it.
    pub fn begin(&self, sites: u64, first: u64) {
        let header = Header { magic: MAGIC, version: VERSION, state: State::Idle as u32, sites, first };
        // SAFETY: `new`'s condition.
        unsafe { self.header.write_volatile(header) };
    }

    /// Sets the state. Release: whoever sees the state sees the sites, and text changes only after it.
    pub fn set(&self, state: State) {
        // SAFETY: `new`'s condition; a field of the header, aligned.
        unsafe { AtomicU32::from_ptr(&raw mut (*self.header).state) }.store(state as u32, Ordering::SeqCst);
    }

    /// Sets the index of the first site that the batch in flight covers.
    pub fn set_first(&self, first: u64) {
        // SAFETY: as above.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.header).first) }.store(first, Ordering::SeqCst);
    }

    /// The state, if the number is one.
    pub fn state(&self) -> Option<State> {
        // SAFETY: as above.
        State::from_raw(unsafe { AtomicU32::from_ptr(&raw mut (*self.header).state) }.load(Ordering::SeqCst))
    }
}
