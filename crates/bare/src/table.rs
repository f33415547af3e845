//! The published trap table of a kernel.
//!
//! One batch at a time is published, and handlers may look at it on any CPU at any moment, on top of the patcher and of
//! each other. Two slots are used in turns; `current` names the one that counts. A handler counts itself into the slot
//! before it reads it, on a line of its CPU: with one counter for all, a batch of sites that every CPU executes makes all
//! of them fight for one cache line, which was measured to cost seconds on 240 CPUs.
//!
//! Nothing here waits for a handler but the patcher, and no handler waits for anybody.

use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

use textpoke_core::trap::Table;
use textpoke_core::{Direction, Site};

/// Bit of `current`: which slot.
const SLOT: u64 = 1;
/// Bit of `current`: whether that slot is published.
const LIVE: u64 = 2;
/// Each publication and withdrawal adds this, so that no two states of `current` are alike.
const GENERATION: u64 = 4;

/// Where a table is published: one per kernel, for up to `CPUS` CPUs.
///
/// All accesses that decide are sequentially consistent: a handler stores its count and then reads `current`, the patcher
/// stores `current` and then reads the counts, and one of the two must see the other.
#[derive(Debug)]
pub struct Published<const CPUS: usize> {
    current: AtomicU64,
    slots: [Slot; 2],
    cpus: [Cpu; CPUS],
}

#[derive(Debug)]
struct Slot {
    sites: AtomicPtr<Site>,
    len: AtomicUsize,
    /// 0 is [`Direction::Install`].
    dir: AtomicU32,
}

/// What handlers on one CPU write, and nobody else: a cache line, and its neighbour that is fetched with it.
#[repr(align(128))]
#[derive(Debug)]
struct Cpu {
    /// Handlers inside each slot, and for a moment those that are about to find out that they came too late.
    users: [AtomicU32; 2],
    /// Traps that were acted on. Statistics only.
    traps: AtomicU64,
}

/// Handlers did not leave the table in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StillUsed;

impl<const CPUS: usize> Published<CPUS> {
    /// An empty place.
    pub const fn new() -> Self {
        const { assert!(CPUS > 0, "a kernel has a CPU") };
        Self {
            current: AtomicU64::new(0),
            slots: [const {
                Slot { sites: AtomicPtr::new(core::ptr::null_mut()), len: AtomicUsize::new(0), dir: AtomicU32::new(0) }
            }; 2],
            cpus: [const { Cpu { users: [const { AtomicU32::new(0) }; 2], traps: AtomicU64::new(0) } }; CPUS],
        }
    }

    /// Makes `sites` the table that every handler sees which looks from now on. Replaces the published one, if any.
    /// `wait` is called while a handler is still in the slot that was used two publications ago, with a number that counts
    /// from 0, and gives up by false.
    ///
    /// # Errors
    /// When it gave up. Nothing has changed then.
    ///
    /// # Safety
    /// 1. One caller at a time.
    /// 2. `sites` are those of a checked plan and stay readable, unchanged, at this address until they were withdrawn or
    ///    replaced *and* [`Published::drain`] succeeded.
    pub unsafe fn publish(
        &self,
        sites: &[Site],
        dir: Direction,
        wait: impl FnMut(u64) -> bool,
    ) -> Result<(), StillUsed> {
        let now = self.current.load(SeqCst);
        let index = ((now & SLOT) ^ SLOT) as usize;
        self.empty(index, wait)?;
        // A handler that read `current` long ago may still count itself in here; it finds `current` changed and leaves
        // without having read the fields. They are ordered by `current`.
        let slot = &self.slots[index];
        slot.sites.store(sites.as_ptr().cast_mut(), Relaxed);
        slot.len.store(sites.len(), Relaxed);
        slot.dir.store((dir == Direction::Remove) as u32, Relaxed);
        // Pairs with the load in `enter`. The first trap byte is stored behind it.
        self.current.store(((now & !(SLOT | LIVE)) + GENERATION) | index as u64 | LIVE, SeqCst);
        Ok(())
    }

    /// Makes handlers that look from now on see no table.
    pub fn withdraw(&self) {
        let now = self.current.load(SeqCst);
        self.current.store((now & !LIVE) + GENERATION, SeqCst);
    }

    /// Waits until no handler is inside any table that was withdrawn or replaced; `wait` as in [`Published::publish`].
    ///
    /// # Errors
    /// When it gave up.
    pub fn drain(&self, mut wait: impl FnMut(u64) -> bool) -> Result<(), StillUsed> {
        let now = self.current.load(SeqCst);
        (0..2).filter(|&i| now & LIVE == 0 || now & SLOT != i as u64).try_for_each(|i| self.empty(i, &mut wait))
    }

    fn empty(&self, index: usize, mut wait: impl FnMut(u64) -> bool) -> Result<(), StillUsed> {
        for cpu in &self.cpus {
            let mut turns = 0;
            // Pairs with the count of `enter`.
            while cpu.users[index].load(SeqCst) != 0 {
                if !wait(turns) {
                    return Err(StillUsed);
                }
                turns += 1;
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

    /// Enters the published table, if there is one: until the [`View`] is dropped its sites stay where they are. It starts
    /// over only when the patcher has published something else meanwhile.
    ///
    /// `cpu` chooses a line for the count, and any number will do: a handler that moves to another CPU takes its count
    /// away where it put it.
    pub fn enter(&self, cpu: usize) -> Option<View<'_>> {
        let cpu = &self.cpus[cpu % CPUS];
        loop {
            let now = self.current.load(SeqCst);
            if now & LIVE == 0 {
                return None;
            }
            let index = (now & SLOT) as usize;
            cpu.users[index].fetch_add(1, SeqCst);
            let view = View { slot: &self.slots[index], users: &cpu.users[index] };
            // Either this load sees the patcher's newer value, or the patcher's wait sees our count.
            if self.current.load(SeqCst) == now {
                return Some(view);
            }
        }
    }

    pub(crate) fn count(&self, cpu: usize) {
        self.cpus[cpu % CPUS].traps.fetch_add(1, Relaxed);
    }

    /// How many traps were acted on, on all CPUs.
    pub fn traps(&self) -> u64 {
        self.cpus.iter().map(|cpu| cpu.traps.load(Relaxed)).sum()
    }
}

impl<const CPUS: usize> Default for Published<CPUS> {
    fn default() -> Self {
        Self::new()
    }
}

/// A table that cannot go away while this exists.
#[derive(Debug)]
pub struct View<'a> {
    slot: &'a Slot,
    users: &'a AtomicU32,
}

impl View<'_> {
    /// What [`textpoke_core::trap::resolve`] takes.
    pub fn table(&self) -> Table<'_> {
        let (start, len) = (self.slot.sites.load(Relaxed), self.slot.len.load(Relaxed));
        // SAFETY: condition 2 of `publish`; the slot is counted as used for as long as `self` lives.
        let sites = unsafe { core::slice::from_raw_parts(start, len) };
        let dir = if self.slot.dir.load(Relaxed) == 0 { Direction::Install } else { Direction::Remove };
        Table { sites, dir }
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        // Pairs with the load in `empty`: what was read of the sites was read before.
        self.users.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::vec::Vec;

    fn site(addr: u64) -> Site {
        Site::single(addr, &[0x90], &[0xc3]).unwrap()
    }

    fn patiently(_: u64) -> bool {
        std::thread::yield_now();
        true
    }

    #[test]
    fn handlers_never_see_a_mixture_or_a_table_that_is_gone() {
        static PUBLISHED: Published<2> = Published::new();
        static STOP: AtomicBool = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for cpu in 0..3 {
                scope.spawn(move || {
                    let mut seen = [0u32; 2];
                    while !STOP.load(SeqCst) || seen.contains(&0) {
                        let Some(view) = PUBLISHED.enter(cpu) else {
                            std::thread::yield_now();
                            continue;
                        };
                        let table = view.table();
                        // A table of n sites has n everywhere, and the direction says whether it is odd.
                        let n = table.sites.len() as u64;
                        assert!(table.sites.iter().all(|site| site.addr == n), "{n} {table:?}");
                        assert_eq!(table.dir == Direction::Remove, n % 2 == 1);
                        seen[(n % 2) as usize] += 1;
                    }
                });
            }
            let round = |n: u64| {
                let mut sites: Vec<Site> = (0..n).map(|_| site(n)).collect();
                let dir = if n % 2 == 1 { Direction::Remove } else { Direction::Install };
                // SAFETY: one publisher; the sites stay until nobody is inside.
                unsafe { PUBLISHED.publish(&sites, dir, patiently) }.unwrap();
                std::thread::yield_now();
                PUBLISHED.withdraw();
                PUBLISHED.drain(patiently).unwrap();
                sites.fill(site(u64::MAX));
            };
            (0..100).for_each(|i| round(1 + i % 7));
            STOP.store(true, SeqCst);
            // Whoever has not seen both kinds yet sees these.
            // SAFETY: as above; the arrays are static.
            unsafe {
                static EVEN: std::sync::LazyLock<[Site; 2]> = std::sync::LazyLock::new(|| [site(2); 2]);
                static ODD: std::sync::LazyLock<[Site; 1]> = std::sync::LazyLock::new(|| [site(1)]);
                for _ in 0..200 {
                    PUBLISHED.publish(&*EVEN, Direction::Install, patiently).unwrap();
                    std::thread::sleep(std::time::Duration::from_micros(200));
                    PUBLISHED.publish(&*ODD, Direction::Remove, patiently).unwrap();
                    std::thread::sleep(std::time::Duration::from_micros(200));
                }
            }
        });
    }

    #[test]
    fn a_handler_that_stays_is_waited_for_and_harms_nothing() {
        let published: Published<2> = Published::new();
        let (a, b, c) = ([site(1)], [site(2)], [site(3)]);
        // SAFETY: one publisher; the arrays outlive its use.
        let put = |sites: &[Site]| unsafe { published.publish(sites, Direction::Install, |turns| turns < 10) };
        put(&a).unwrap();
        let view = published.enter(5).unwrap();
        put(&b).unwrap();
        assert_eq!(put(&c), Err(StillUsed), "the slot of `a` is in use");
        assert_eq!(published.drain(|turns| turns < 10), Err(StillUsed));
        assert_eq!(view.table().sites[0].addr, 1);
        assert_eq!(published.enter(0).unwrap().table().sites[0].addr, 2, "`b` stands");
        drop(view);
        published.drain(|_| false).unwrap();
        put(&c).unwrap();
        published.withdraw();
        assert!(published.enter(0).is_none() && !published.is_live());
    }
}
