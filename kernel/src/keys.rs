//! Static keys in this kernel: `static_key! { in kernel::keys::Keys; static NAME: bool = false; }`, and then
//! `static_branch_unlikely!(NAME)` and `NAME.enable()`.

use core::sync::atomic::{AtomicBool, Ordering};

use textpoke_core::{Direction, Plan, Site, Verdict};
use textpoke_keys::abi::{ENTRY_SIZE, Entry, Key};
use textpoke_keys::change::{Change, Machine, Misuse};
use textpoke_keys::flip::{self, Text, flip};
use textpoke_keys::form::How;

use crate::arch::Native;
use crate::arch::sites::LIVE;
use crate::engine::{self, Outcome};

/// The most sites of one key.
const SITES: usize = 64;

/// Who changes the keys of this kernel.
#[derive(Debug)]
pub enum Keys {}

/// Why a key was not flipped.
#[derive(Debug)]
pub enum Error {
    /// It cannot become that.
    Misuse(Misuse),
    /// Its sites cannot.
    Flip(flip::Error<Outcome>),
}

impl From<Misuse> for Error {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl Machine for Keys {
    type Error = Error;

    fn apply(changes: &[Change]) -> Result<(), Error> {
        static LOCK: AtomicBool = AtomicBool::new(false);
        // Acquire pairs with the Release below: one at a time.
        while LOCK.swap(true, Ordering::Acquire) {
            core::hint::spin_loop();
        }
        let done = changes.iter().try_for_each(one);
        LOCK.store(false, Ordering::Release);
        done
    }
}

fn one(change: &Change) -> Result<(), Error> {
    let key = change.key;
    let value = key.value.load(Ordering::Relaxed);
    let (count, wanted) = change.ask.of(key.count.load(Ordering::Relaxed), value.addr() as u64)?;
    let mut buffer = [const { EMPTY }; SITES];
    flip(&mut Ours, entries(), key_of, key, core::ptr::without_provenance_mut(wanted as usize), &mut buffer)
        .map_err(Error::Flip)?;
    key.count.store(count, Ordering::Release);
    Ok(())
}

const EMPTY: Site = Site {
    addr: 0,
    old: [0; 8],
    new: [0; 8],
    copy: 0,
    stand_in: 0,
    copy_at: [0; 8],
    len: 0,
    inner: 0,
    new_inner: 0,
    reserved: [0; 5],
};

/// The table that the linker made of all branches.
fn entries() -> impl Iterator<Item = Entry> {
    unsafe extern "C" {
        static __start_textpoke_sites: u8;
        static __stop_textpoke_sites: u8;
    }
    let (start, end) = ((&raw const __start_textpoke_sites).addr(), (&raw const __stop_textpoke_sites).addr());
    (start..end).step_by(ENTRY_SIZE).filter_map(|at| {
        // SAFETY: the table is constant.
        let bytes = unsafe { &*(at as *const [u8; ENTRY_SIZE]) };
        Entry::read(bytes, at as u64)
    })
}

fn key_of(entry: &Entry) -> u64 {
    // SAFETY: an entry of the GOT, which the linker filled.
    entry.key(unsafe { (entry.slot as *const u64).read() })
}

/// This kernel's text.
struct Ours;

impl Text for Ours {
    type Error = Outcome;
    type Isa = Native;
    const HOW: How = How::Head;

    fn read(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), Outcome> {
        for (addr, byte) in (addr..).zip(buf) {
            // SAFETY: text, where a site is.
            *byte = unsafe { (addr as *const u8).read_volatile() };
        }
        Ok(())
    }

    fn patch(&mut self, plan: Plan<'_, Native>) -> Result<(), Outcome> {
        // SAFETY: both forms of a branch are its own, and keys are in code of this kernel's binary only.
        match unsafe { engine::patch(plan.sites(), LIVE, Direction::Install) } {
            Ok(Verdict::Performed(_)) => Ok(()),
            other => Err(other),
        }
    }
}

/// The number of branches on a key.
pub fn branches(key: &Key) -> usize {
    entries().filter(|entry| key_of(entry) == core::ptr::from_ref(key).addr() as u64).count()
}
