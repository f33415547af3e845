//! The published trap table: what a trap handler looks a trap up in.
//!
//! One batch at a time is published. Its sites and direction must be seen as one unit by handlers that may run on any
//! CPU at any moment, also on top of the patcher itself, so nothing here waits for a handler or lets a handler wait:
//! two slots are used in turns, `current` names the one that counts, and each slot counts the handlers that are inside.
//!
//! A [`Published`] may lie anywhere, for example in memory that the agent got from the tracer. It must be *private*
//! memory: a fork child has the parent's text of that moment, half patched as it may be, and needs the table of the same
//! moment for ever. (A fork copies the two consistently: a store of the patcher that the child has not implies that the
//! child has none of the later ones either.)

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use textpoke_core::trap::Table;
use textpoke_core::{Direction, Site};

use crate::sys;

/// Bit of `current`: which slot.
const SLOT: u64 = 1;
/// Bit of `current`: whether that slot is published.
const LIVE: u64 = 2;
/// Each publication and withdrawal adds this, so that no two states of `current` are alike.
const GENERATION: u64 = 4;

/// The place where a table is published. All zeros is a valid empty one.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Published {
    current: AtomicU64,
    slots: [Slot; 2],
}

#[repr(C)]
#[derive(Debug, Default)]
struct Slot {
    /// Address of the first site.
    sites: AtomicU64,
    /// Address of one `AtomicU32` per site that counts its traps, or 0.
    counts: AtomicU64,
    /// Number of sites.
    len: AtomicU32,
    /// 0 is [`Direction::Install`].
    dir: AtomicU32,
    /// Handlers inside, and for a moment those that are about to find out that they came too late.
    users: AtomicU32,
    reserved: u32,
}

impl Slot {
    const fn new() -> Self {
        Self {
            sites: AtomicU64::new(0),
            counts: AtomicU64::new(0),
            len: AtomicU32::new(0),
            dir: AtomicU32::new(0),
            users: AtomicU32::new(0),
            reserved: 0,
        }
    }
}

/// Handlers did not leave the table in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StillUsed;

impl Published {
    /// An empty place.
    pub const fn new() -> Self {
        Self { current: AtomicU64::new(0), slots: [const { Slot::new() }; 2] }
    }

    /// Makes `sites` the table that every handler sees which looks from now on. Replaces the published one, if any.
    ///
    /// Pairs with [`Published::enter`]: a handler reads the trap byte first and the table second; the table is stored
    /// here before the first trap byte is.
    ///
    /// # Errors
    /// When handlers are still inside the slot that was used two publications ago and do not leave within `patience`
    /// nanoseconds. Nothing has changed then.
    ///
    /// # Safety
    /// 1. One caller at a time.
    /// 2. `sites` must be those of a checked plan and stay readable, unchanged, at this address until they were
    ///    withdrawn or replaced *and* [`Published::drain`] succeeded.
    /// 3. `counts` is null or points to as many counters, for as long.
    pub unsafe fn publish(
        &self,
        sites: &[Site],
        dir: Direction,
        counts: *const AtomicU32,
        patience: u64,
    ) -> Result<(), StillUsed> {
        let now = self.current.load(SeqCst);
        let index = (now & SLOT) ^ SLOT;
        let slot = &self.slots[index as usize];
        wait_for(slot, patience)?;
        // A handler that read `current` long ago may still enter this slot; it finds `current` changed and leaves
        // without having read the fields.
        slot.sites.store(sites.as_ptr() as u64, SeqCst);
        slot.len.store(sites.len() as u32, SeqCst);
        slot.counts.store(counts as u64, SeqCst);
        slot.dir.store((dir == Direction::Remove) as u32, SeqCst);
        self.current.store(((now & !(SLOT | LIVE)) + GENERATION) | index | LIVE, SeqCst);
        Ok(())
    }

    /// Makes handlers that look from now on see no table.
    pub fn withdraw(&self) {
        let now = self.current.load(SeqCst);
        self.current.store((now & !LIVE) + GENERATION, SeqCst);
    }

    /// Waits until no handler is inside any table that was withdrawn or replaced, at most `patience` nanoseconds each.
    ///
    /// # Errors
    /// When a handler did not leave: its thread is stopped, or was killed there.
    pub fn drain(&self, patience: u64) -> Result<(), StillUsed> {
        let now = self.current.load(SeqCst);
        for (i, slot) in self.slots.iter().enumerate() {
            if now & LIVE == 0 || now & SLOT != i as u64 {
                wait_for(slot, patience)?;
            }
        }
        Ok(())
    }

    /// Whether a table is published.
    pub fn is_live(&self) -> bool {
        self.current.load(SeqCst) & LIVE != 0
    }

    /// Changes with each publication and withdrawal.
    pub fn generation(&self) -> u64 {
        self.current.load(SeqCst)
    }

    /// Enters the published table, if there is one: until the [`View`] is dropped its sites stay where they are.
    ///
    /// Safe to call in a signal handler. It starts over only when the patcher has published something else meanwhile.
    pub fn enter(&self) -> Option<View<'_>> {
        loop {
            let now = self.current.load(SeqCst);
            if now & LIVE == 0 {
                return None;
            }
            let slot = &self.slots[(now & SLOT) as usize];
            slot.users.fetch_add(1, SeqCst);
            // Only if the slot is still the published one after the patcher can see us in it may its fields be used:
            // either this load sees the patcher's newer value, or the patcher's wait sees our count.
            if self.current.load(SeqCst) == now {
                return Some(View { slot });
            }
            slot.users.fetch_sub(1, SeqCst);
        }
    }
}

fn wait_for(slot: &Slot, patience: u64) -> Result<(), StillUsed> {
    // Handlers take about a microsecond when their thread runs, and a nap is much longer.
    for _ in 0..1000 {
        if slot.users.load(SeqCst) == 0 {
            return Ok(());
        }
        core::hint::spin_loop();
    }
    let end = sys::now().saturating_add(patience);
    while slot.users.load(SeqCst) != 0 {
        if sys::now() >= end {
            return Err(StillUsed);
        }
        sys::nap(20_000);
    }
    Ok(())
}

/// A table that cannot go away while this exists.
#[derive(Debug)]
pub struct View<'a> {
    slot: &'a Slot,
}

impl View<'_> {
    /// What [`textpoke_core::trap::resolve`] takes.
    pub fn table(&self) -> Table<'_> {
        let (start, len) = (self.slot.sites.load(SeqCst) as *const Site, self.slot.len.load(SeqCst) as usize);
        // SAFETY: condition 2 of `publish`; the slot is counted as used for as long as `self` lives.
        let sites = unsafe { core::slice::from_raw_parts(start, len) };
        let dir = if self.slot.dir.load(SeqCst) == 0 { Direction::Install } else { Direction::Remove };
        Table { sites, dir }
    }

    /// Counts a trap at `at`, if somebody wants them counted.
    pub(crate) fn count(&self, at: u64) {
        let counts = self.slot.counts.load(SeqCst) as *const AtomicU32;
        let behind = self.table().sites.partition_point(|site| site.addr <= at);
        if let (false, Some(i)) = (counts.is_null(), behind.checked_sub(1)) {
            // SAFETY: condition 3 of `publish`, and `i` is less than the number of sites.
            unsafe { &*counts.add(i) }.fetch_add(1, SeqCst);
        }
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        self.slot.users.fetch_sub(1, SeqCst);
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::vec::Vec;

    fn site(addr: u64) -> Site {
        Site::single(addr, &[0x90], &[0xc3]).unwrap()
    }

    #[test]
    fn readers_never_see_a_mixture_or_a_freed_table() {
        let published = Published::new();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut seen = [0u32; 2];
                    while !stop.load(SeqCst) {
                        let Some(view) = published.enter() else { continue };
                        let table = view.table();
                        // Installing tables hold n sites of address n, removing ones likewise but odd n.
                        let n = table.sites.len() as u64;
                        assert!(table.sites.iter().all(|s| s.addr == n), "{n} {table:?}");
                        assert_eq!(table.dir == Direction::Remove, n % 2 == 1);
                        seen[(n % 2) as usize] += 1;
                    }
                    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
                });
            }
            for round in 0..20_000u64 {
                let n = 1 + round % 7;
                let mut sites: Vec<Site> = (0..n).map(|_| site(n)).collect();
                let dir = if n % 2 == 1 { Direction::Remove } else { Direction::Install };
                // SAFETY: one publisher; `sites` lives until withdrawn and drained.
                unsafe { published.publish(&sites, dir, core::ptr::null(), u64::MAX) }.unwrap();
                if round % 64 == 0 {
                    std::thread::yield_now();
                }
                published.withdraw();
                published.drain(u64::MAX).unwrap();
                sites.fill(site(u64::MAX));
            }
            // Give each reader both kinds once more, also where one CPU did all of the above in a row.
            let (even, odd) = ([site(2); 2], [site(1)]);
            for _ in 0..50 {
                for sites in [&even[..], &odd[..]] {
                    let dir = if sites.len() == 1 { Direction::Remove } else { Direction::Install };
                    // SAFETY: as above.
                    unsafe { published.publish(sites, dir, core::ptr::null(), u64::MAX) }.unwrap();
                    std::thread::sleep(std::time::Duration::from_micros(200));
                }
            }
            published.withdraw();
            published.drain(u64::MAX).unwrap();
            stop.store(true, SeqCst);
        });
    }

    #[test]
    fn a_handler_that_stays_is_reported_and_harms_nothing() {
        let published = Published::new();
        let (a, b, c) = ([site(1)], [site(2)], [site(3)]);
        let put = |sites: &[Site]| {
            // SAFETY: one publisher; the arrays outlive `published`'s use.
            unsafe { published.publish(sites, Direction::Install, core::ptr::null(), 1_000_000) }
        };
        put(&a).unwrap();
        let view = published.enter().unwrap();
        put(&b).unwrap();
        assert_eq!(put(&c), Err(StillUsed), "the slot of `a` is in use");
        assert_eq!(published.drain(1_000_000), Err(StillUsed));
        assert_eq!(view.table().sites[0].addr, 1);
        assert_eq!(published.enter().unwrap().table().sites[0].addr, 2, "`b` stands");
        drop(view);
        published.drain(1_000_000).unwrap();
        put(&c).unwrap();
        published.withdraw();
        assert!(published.enter().is_none() && !published.is_live());
    }
}
