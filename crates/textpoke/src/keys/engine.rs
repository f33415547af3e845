//! Carrying changes out in this process.

use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::atomic::fence;

use textpoke_core::{Kind, Refusal, Site};
use textpoke_keys::abi::{Entry, Key, Kind as KeyKind};
use textpoke_keys::change::{Change, Machine};
use textpoke_keys::form::{Forms, How, MAX_LEN};
use textpoke_linux::Host;
use textpoke_linux::process::Held;

use super::index::Index;
use super::{KeyError, protocol};

/// Most changes under way that are believed.
const MOST_CHANGES: u64 = 1 << 20;

/// The machine of this process: who changes the keys that [`static_key!`](crate::static_key) and its like make.
#[derive(Debug)]
pub enum Process {}

impl Machine for Process {
    type Error = KeyError;

    fn apply(changes: &[Change]) -> Result<(), KeyError> {
        let mut keys = Keys::lock()?;
        keys.apply(changes)
    }
}

struct State {
    index: Index,
    /// The epoch in which all was in order.
    epoch: Option<u32>,
}

struct Shared(UnsafeCell<State>);
// SAFETY: only touched through `Keys`, which holds the lock.
unsafe impl Sync for Shared {}

static STATE: Shared = Shared(UnsafeCell::new(State { index: Index::new(), epoch: None }));

/// All keys of the process, with the engine locked.
pub(super) struct Keys {
    held: Held,
}

/// A key that changes, and from what to what.
struct Turn {
    key: &'static Key,
    count: (u32, u32),
    value: (u64, u64),
}

impl Turn {
    fn is_branch(&self) -> bool {
        self.key.kind == KeyKind::Branch as u8
    }
}

/// What the engine words point to while changes are under way.
#[repr(C)]
struct UnderWay {
    key: u64,
    value: u64,
}

impl Keys {
    /// Locks, looks for new sites, and puts in order what somebody who died left.
    pub fn lock() -> Result<Self, KeyError> {
        Self::lock_for(protocol::kind())
    }

    fn lock_for(kind: Kind) -> Result<Self, KeyError> {
        let mut keys = Self { held: Held::take(kind.traps())? };
        let words = keys.held.words();
        let renewed = keys.state().epoch != Some(words.epoch());
        if renewed && words.change_count.load(SeqCst) != 0 && !kind.traps() {
            // Somebody who used traps may have been killed.
            drop(keys);
            return Self::lock_for(Kind::Breakpoint);
        }
        if renewed {
            // Another thread of the parent may have been writing it.
            // SAFETY: the lock is held; what it owned is leaked.
            unsafe { (&raw mut keys.state().index).write(Index::new()) };
        }
        keys.state().index.refresh(words)?;
        if renewed {
            keys.mend()?;
            keys.state().epoch = Some(words.epoch());
        }
        Ok(keys)
    }

    fn state(&mut self) -> &mut State {
        // SAFETY: the lock is held, and `&mut self` lends it once at a time.
        unsafe { &mut *STATE.0.get() }
    }

    /// What is known of the process.
    pub fn index(&mut self) -> &Index {
        &self.state().index
    }

    /// Makes the sites and counts of the keys whose change was not finished what the published values say.
    fn mend(&mut self) -> Result<(), KeyError> {
        let words = self.held.words();
        let (start, count) = (words.changes.load(SeqCst), u64::from(words.change_count.load(SeqCst)));
        let (mut trapped, mut stored) = (Vec::new(), Vec::new());
        for at in (0..count.min(MOST_CHANGES)).map(|i| start.wrapping_add(16 * i)) {
            let mut key = [0; 8];
            let read = textpoke_linux::sys::read_own_memory(at, &mut key).is_ok_and(|n| n == key.len());
            let address = u64::from_le_bytes(key);
            if !read || !self.index().is_key(address) {
                continue;
            }
            let key = key_at(address);
            let value = value_of(key);
            for (_, entry) in self.index().sites_of(address) {
                let mended = Host::mend(entry, text(entry, &mut [0; MAX_LEN]), value);
                // Values of eight bytes are part of an instruction: no trap stands there, and one store made or did not
                // make the change.
                let whole = entry.kind != KeyKind::Imm || entry.len != 10;
                let sites = if whole { &mut trapped } else { &mut stored };
                sites.extend(mended.map_err(|refusal| KeyError::Refused(entry.code, refusal))?);
            }
            if key.kind == KeyKind::Branch as u8 && (value != 0) != (key.count.load(Acquire) != 0) {
                key.count.store(value as u32, Release);
            }
        }
        for sites in [&mut trapped, &mut stored] {
            sites.sort_unstable_by_key(|site| site.addr);
            sites.dedup_by_key(|site| site.addr);
        }
        if !trapped.is_empty() {
            // SAFETY: the sites are those of keys, in text of loaded objects: as in `patch`.
            unsafe { self.held.mend(&trapped) }?;
        }
        if !stored.is_empty() {
            // SAFETY: as in `patch`; 4. whoever began the change decided that it may be made this way.
            unsafe { self.held.batch(&stored, Kind::Word) }?;
        }
        words.change_count.store(0, SeqCst);
        Ok(())
    }

    /// Makes all changes or none.
    pub fn apply(&mut self, changes: &[Change]) -> Result<(), KeyError> {
        loop {
            let turns = turns(changes)?;
            let under_way: Vec<UnderWay> = turns
                .iter()
                .map(|turn| UnderWay { key: core::ptr::from_ref(turn.key).addr() as u64, value: turn.value.1 })
                .collect();
            let words = self.held.words();
            words.changes.store(under_way.as_ptr().addr() as u64, SeqCst);
            // Before the first count: a fork child that is born from here on finds what to put in order.
            words.change_count.store(under_way.len() as u32, SeqCst);
            let done = take_counts(&turns).then(|| self.patch(&turns));
            match done {
                Some(Ok(())) => {
                    turns.iter().for_each(publish);
                    // Where a number is no operand of an instruction the value is what threads read: when we return, nobody
                    // reads an old one. Nothing is paired; it waits for the stores to be seen.
                    fence(SeqCst);
                }
                Some(Err(_)) => give_back(&turns),
                None => {}
            }
            words.change_count.store(0, SeqCst);
            if let Some(done) = done {
                return done;
            }
        }
    }

    fn patch(&mut self, turns: &[Turn]) -> Result<(), KeyError> {
        let kind = protocol::kind();
        let turning = || turns.iter().filter(|turn| turn.value.0 != turn.value.1 || !turn.is_branch());
        let mut sites = Vec::new();
        for turn in turning() {
            for (_, entry) in self.index().sites_of(core::ptr::from_ref(turn.key).addr() as u64) {
                let refused = |refusal| KeyError::Refused(entry.code, refusal);
                if kind == Kind::ShortJump && entry.kind != KeyKind::Branch {
                    return Err(KeyError::NoBranch(entry.code));
                }
                if entry.kind as u8 != turn.key.kind {
                    return Err(refused(Refusal::OldNotEmulated));
                }
                let now = &mut [0; MAX_LEN];
                let site = Host::change(entry, text(entry, now), turn.value.1, protocol::how(kind));
                sites.extend(site.map_err(refused)?);
            }
        }
        if sites.is_empty() {
            return Ok(());
        }
        if turns.len() > 1 {
            sites.sort_unstable_by_key(|site: &Site| site.addr);
        }
        // SAFETY: 1. The sites are those that the macros made (or C's), of a key's kind; each form is one that they can
        // bear, and the functions of calls have the type of the call. 2. They are whole instructions; the objects stay
        // mapped, as their going waits for the lock. 3. Call sites clobber what is below the stack pointer. 4. `word` is
        // documented or assumed. 5. Looked up by `batch`; not before that, the documents say. They are readable: TEXT.
        unsafe { self.held.batch(&sites, kind) }.map(drop).map_err(KeyError::from)
    }

    /// An object has come: its sites become what their keys are now. Nobody executes them yet, so that one store will do
    /// on every processor.
    pub fn catch_up(&mut self) -> Result<(), KeyError> {
        let mut sites = Vec::new();
        let keys: Vec<u64> = self.index().keys().collect();
        for at in keys {
            let key = key_at(at);
            let value = value_of(key);
            // A call's sites lead to a trampoline at first, which loads the value.
            if value == key.initial.addr() as u64 {
                continue;
            }
            for (_, entry) in self.index().sites_of(at) {
                let changed = Host::change(entry, text(entry, &mut [0; MAX_LEN]), value, How::Store);
                sites.extend(changed.map_err(|refusal| KeyError::Refused(entry.code, refusal))?);
            }
        }
        sites.sort_unstable_by_key(|site| site.addr);
        if sites.is_empty() {
            return Ok(());
        }
        // SAFETY: as in `patch`; 4. other threads have no way to code of an object before its constructors have run.
        unsafe { self.held.batch(&sites, Kind::Word) }.map(drop).map_err(KeyError::from)
    }

    /// Objects came or went: everybody looks again.
    pub fn turn_over(&mut self) -> Result<(), KeyError> {
        let words = self.held.words();
        words.generation.fetch_add(1, SeqCst);
        Ok(self.state().index.refresh(words)?)
    }
}

/// Frees what this copy of the library knows, because it is about to be unmapped. It looks again if it is used once more.
pub(super) fn forget(held: Held) {
    Keys { held }.state().index = Index::new();
}

/// What becomes of each key, in the order in which they are first named.
fn turns(changes: &[Change]) -> Result<Vec<Turn>, KeyError> {
    let mut turns: Vec<Turn> = Vec::with_capacity(changes.len());
    let mut known = HashMap::new();
    if let [change] = changes {
        let (count, value) = (change.key.count.load(Acquire), value_of(change.key));
        let (next_count, next_value) = change.ask.of(count, value)?;
        turns.push(Turn { key: change.key, count: (count, next_count), value: (value, next_value) });
        return Ok(turns);
    }
    for change in changes {
        let at = *known.entry(core::ptr::from_ref(change.key)).or_insert_with(|| {
            let (count, value) = (change.key.count.load(Acquire), value_of(change.key));
            turns.push(Turn { key: change.key, count: (count, count), value: (value, value) });
            turns.len() - 1
        });
        let turn = &mut turns[at];
        (turn.count.1, turn.value.1) = change.ask.of(turn.count.1, turn.value.1)?;
    }
    Ok(turns)
}

/// Changes the counts of keys that are on. From 1 on others change them without the lock; nobody may begin to rely on a
/// key that is going off. False, and nothing has changed, if somebody changed one in between.
fn take_counts(turns: &[Turn]) -> bool {
    for (i, turn) in turns.iter().enumerate() {
        let count = &turn.key.count;
        if turn.is_branch()
            && turn.count.0 != 0
            && count.compare_exchange(turn.count.0, turn.count.1, SeqCst, SeqCst).is_err()
        {
            give_back(&turns[..i]);
            return false;
        }
    }
    true
}

/// The opposite, when the code could not be changed.
fn give_back(turns: &[Turn]) {
    for turn in turns.iter().filter(|turn| turn.is_branch() && turn.count.0 != 0) {
        turn.key.count.fetch_add(turn.count.0.wrapping_sub(turn.count.1), SeqCst);
    }
}

/// Tells what every thread executes by now.
fn publish(turn: &Turn) {
    let value = core::ptr::with_exposed_provenance_mut(turn.value.1 as usize);
    // Release: pairs with the Acquire of who reads the value and relies on the code.
    turn.key.value.store(value, Release);
    if turn.is_branch() && turn.count.0 == 0 {
        turn.key.count.store(turn.count.1, Release);
    }
}

pub(super) fn value_of(key: &Key) -> u64 {
    key.value.load(Acquire).addr() as u64
}

pub(super) fn key_at(key: u64) -> &'static Key {
    // SAFETY: in a table of keys of an object that is loaded, and does not go while the engine is locked.
    unsafe { &*(key as *const Key) }
}

/// The bytes that stand at a site.
fn text<'b>(entry: &Entry, buf: &'b mut [u8; MAX_LEN]) -> &'b [u8] {
    let len = usize::from(entry.len).min(MAX_LEN);
    for (i, byte) in buf[..len].iter_mut().enumerate() {
        // SAFETY: in a readable segment of an object that is loaded; text is nobody's Rust object.
        *byte = unsafe { ((entry.code + i as u64) as *const u8).read_volatile() };
    }
    &buf[..len]
}
