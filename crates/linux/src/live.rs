//! The machine that performs a plan on the address space it runs in.
//!
//! The library (in the program itself) and the agent (beside the program) both use it; they differ in two steps, which
//! are [`Hooks`].

use core::sync::atomic::AtomicU32;

use textpoke_core::isa::Isa;
use textpoke_core::journal::State;
use textpoke_core::{Cause, Direction, Kind, Machine, Phase, Plan, Run, Site, Step, Unit, Verdict};

use crate::arch::{self, Host};
use crate::journal::Journal;
use crate::range::Range;
use crate::sync;
use crate::table::Published;
use crate::text::{PAGE, ProcMem, Window};

/// The steps that depend on where the machine runs.
pub trait Hooks {
    /// Performs [`Step::AwaitNoneInside`] for `sites`, which are those with inner boundaries and others. Old and new
    /// boundaries both count: on a way back the two forms are mixed.
    fn await_none_inside(&mut self, sites: &[Site]) -> Result<(), Cause>;

    /// Performs [`Step::Retire`]: on success `published` is withdrawn and nobody is inside the table.
    fn retire(&mut self, published: &Published) -> Result<(), Cause>;

    /// Performs [`Step::Park`]. Until [`Hooks::unpark`] the machine allocates nothing and takes no lock that others hold.
    fn park(&mut self) -> Result<(), Cause> {
        Err(Cause::Unsupported)
    }

    /// Performs [`Step::Unpark`], whose text has been maintained; releases nobody if it fails.
    fn unpark(&mut self) -> Result<(), Cause> {
        Ok(())
    }

    /// Releases whoever is still parked, at the end of a batch that is broken.
    fn release(&mut self) {}
}

/// Which writer to try first. A refused one is replaced by the other where that can do the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefer {
    /// [`Window`]: many sites.
    Window,
    /// [`ProcMem`]: a few.
    ProcMem,
}

#[derive(Debug)]
enum Writer<'a> {
    Closed,
    Window(Window<'a>),
    ProcMem(ProcMem),
}

/// Bad address.
const EFAULT: i32 = 14;

/// How long a handler may stay inside a table before a publication fails, in nanoseconds.
const PATIENCE: u64 = 1_000_000_000;

/// One batch under way.
#[derive(Debug)]
pub struct Live<'a, H> {
    sites: &'a [Site],
    ranges: &'a [Range],
    published: &'a Published,
    hooks: H,
    kind: Kind,
    /// In which the batch was asked for.
    asked: Direction,
    /// In which it goes now: the opposite one on the way back.
    dir: Direction,
    prefer: Prefer,
    counts: *const AtomicU32,
    readable: bool,
    /// See [`Live::caches_keep_promises`].
    keep_promises: bool,
    journal: Option<Journal>,
    writer: Writer<'a>,
    syncs: u32,
}

/// The protocols that x86-64 needs. The others are performed, too; parking depends on the [`Hooks`].
pub const KINDS: [Kind; 4] = [Kind::Breakpoint, Kind::Displace, Kind::Word, Kind::ShortJump];

impl<'a, H: Hooks> Live<'a, H> {
    /// A machine for one batch; [`Live::run`] is what to drive it with.
    ///
    /// # Safety
    /// 1. The plan's sites, and their new instructions, copies and stand-ins, must mean what the program can bear at any
    ///    moment from now on; copies and stand-ins stay mapped for good.
    /// 2. `ranges` ascend, are mapped privately with the protections that they name and stay so, and cover the sites.
    /// 3. The traps of all threads reach a handler (or tracer) that decides by `published`, unless `kind` uses none.
    /// 4. No other batch is under way in the address space, and the address space is registered ([`sync::register`]).
    /// 5. If the verdict is [`Verdict::Broken`], the sites stay in memory, because the table stays published.
    pub unsafe fn new(
        plan: Plan<'a, Host>,
        kind: Kind,
        dir: Direction,
        ranges: &'a [Range],
        published: &'a Published,
        hooks: H,
    ) -> Self {
        let one_byte = Host::TRAP.len() == 1;
        let prefer = if plan.sites().len() == 1 && one_byte { Prefer::ProcMem } else { Prefer::Window };
        Self {
            sites: plan.sites(),
            ranges,
            published,
            hooks,
            kind,
            asked: dir,
            dir,
            prefer,
            counts: core::ptr::null(),
            readable: false,
            keep_promises: false,
            journal: None,
            writer: Writer::Closed,
            syncs: 0,
        }
    }

    /// Chooses the writer to try first; by default [`Prefer::ProcMem`] for one site where a trap is one byte, else
    /// [`Prefer::Window`].
    pub fn prefer(mut self, prefer: Prefer) -> Self {
        self.prefer = prefer;
        self
    }

    /// Reads text by loads also where it is written otherwise.
    ///
    /// # Safety
    /// All sites are mapped readable.
    pub unsafe fn readable(mut self) -> Self {
        self.readable = true;
        self
    }

    /// Leaves out the cache maintenance that the caches say they do not need. By default every step is taken, because
    /// some parts keep no promises ([`textpoke_cpu::errata`]).
    pub fn caches_keep_promises(mut self, keep: bool) -> Self {
        self.keep_promises = keep;
        self
    }

    /// Keeps a journal, whose header must be complete.
    pub fn journal(mut self, journal: Journal) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Counts the traps of each site.
    ///
    /// # Safety
    /// One counter per site, for as long as the sites themselves must stay.
    pub unsafe fn count_traps(mut self, counts: *const AtomicU32) -> Self {
        self.counts = counts;
        self
    }

    /// The protocol run that this machine is made for.
    pub fn run(&self) -> Run<'static> {
        Run::new(self.kind, self.asked)
    }

    /// How often cores were synchronised.
    pub fn syncs(&self) -> u32 {
        self.syncs
    }

    /// The hooks.
    pub fn hooks(&mut self) -> &mut H {
        &mut self.hooks
    }

    fn open(&mut self) -> Result<(), Cause> {
        if !matches!(self.writer, Writer::Closed) {
            return Ok(());
        }
        let unit = self.widest();
        if unit == Unit::Eight && !self.sites.iter().all(Site::in_one_word) {
            return Err(Cause::Unsupported);
        }
        let narrow = unit <= ProcMem::GUARANTEES || self.sites.iter().all(|site| site.len() == 1);
        if self.prefer == Prefer::ProcMem
            && narrow
            && let Ok(mem) = self.proc_mem()
        {
            self.writer = Writer::ProcMem(mem);
            return Ok(());
        }
        if !covered(self.sites, self.ranges) {
            return Err(Cause::Os(EFAULT));
        }
        // SAFETY: condition 2 of `new`, and all sites are covered.
        match unsafe { Window::open(self.ranges, self.sites) } {
            Ok(window) => self.writer = Writer::Window(window),
            Err(errno) if !narrow => return Err(errno.into()),
            Err(errno) => self.writer = Writer::ProcMem(self.proc_mem().map_err(|_| errno)?),
        }
        Ok(())
    }

    /// A writer that has shown on every page of every site that it can write there.
    fn proc_mem(&self) -> crate::sys::Result<ProcMem> {
        let mem = ProcMem::open()?;
        if let [site] = self.sites
            && self.readable
            && site.addr / PAGE == (site.end() - 1) / PAGE
        {
            // The first store makes the page private, or fails and has changed nothing.
            return Ok(mem);
        }
        let mut claimed = 0;
        for addr in self.sites.iter().flat_map(|site| [site.addr, site.end() - 1]) {
            if addr >= claimed {
                if self.readable {
                    let mut byte = [0];
                    peek(addr, &mut byte);
                    // SAFETY: the same byte again harms nobody.
                    unsafe { mem.store(addr, &byte) }?;
                } else {
                    mem.claim(addr)?;
                }
                claimed = (addr & !(PAGE - 1)) + PAGE;
            }
        }
        Ok(mem)
    }

    fn verify(&self, after: bool) -> Result<(), Cause> {
        for site in self.sites {
            let expected = if after { site.after(self.dir) } else { site.before(self.dir) };
            let mut found = [0; textpoke_core::site::MAX_SITE];
            let found = &mut found[..expected.len()];
            match &self.writer {
                Writer::ProcMem(mem) if !self.readable => mem.read(site.addr, found)?,
                Writer::ProcMem(_) | Writer::Window(_) => peek(site.addr, found),
                Writer::Closed => return Err(Cause::Unsupported),
            }
            if let Some(i) = (0..found.len()).find(|&i| found[i] != expected[i]) {
                return Err(Cause::Mismatch(site.addr + i as u64));
            }
        }
        Ok(())
    }

    fn publish(&mut self) -> Result<(), Cause> {
        if let Some(journal) = &self.journal {
            journal.set(State::Busy);
        }
        // SAFETY: 1. condition 4 of `new`. 2. The sites are borrowed for longer than `self` and withdrawn by `retire`,
        // or stay by condition 5. 3. `count_traps`.
        unsafe { self.published.publish(self.sites, self.dir, self.counts, PATIENCE) }.map_err(|_| Cause::TimedOut)
    }

    /// Performs a store step for the first `count` sites only: how a store that fails half way looks like.
    pub(crate) fn store(&mut self, phase: Phase, unit: Unit, count: usize) -> Result<(), Cause> {
        for site in self.sites.iter().take(count) {
            let unit = piece(unit, phase);
            for write in site.writes::<Host>(phase, self.dir) {
                let addr = site.addr + u64::from(write.offset);
                match &self.writer {
                    // SAFETY: the window is open, and the step comes from a protocol.
                    Writer::Window(window) => unsafe { window.store(addr, write.bytes(), unit) },
                    Writer::ProcMem(mem) if unit <= ProcMem::GUARANTEES || write.len == 1 => {
                        // SAFETY: as above.
                        unsafe { mem.store(addr, write.bytes()) }?
                    }
                    Writer::ProcMem(_) | Writer::Closed => return Err(Cause::Unsupported),
                }
            }
        }
        Ok(())
    }

    /// Where the text is executed that changes: address and length.
    fn executed(&self) -> impl Iterator<Item = (u64, u64)> + Clone + use<'_, 'a, H> {
        self.sites.iter().map(|site| (site.addr, site.len() as u64))
    }

    /// The widest store of the program that the direction calls for, or of its way back.
    fn widest(&self) -> Unit {
        let programs = [self.kind.program(self.dir), self.kind.way_back(self.dir)];
        let units = programs.into_iter().flatten().filter_map(|step| match *step {
            Step::Store { phase, unit } => Some(piece(unit, phase)),
            _ => None,
        });
        units.max().unwrap_or(Unit::Byte)
    }

    fn sync(&mut self) -> Result<(), Cause> {
        self.syncs += 1;
        Ok(sync::cores()?)
    }

    fn close(&mut self) -> Result<(), Cause> {
        if let Writer::Window(window) = &self.writer {
            window.close()?;
        }
        self.writer = Writer::Closed;
        Ok(())
    }

    fn done(&mut self, verdict: Verdict) {
        // Only a broken batch gets here with somebody parked, who may hold a lock that this thread needs next, or with
        // its window open; text must not stay writable.
        self.hooks.release();
        let _ = self.close();
        let state = match (verdict, self.asked) {
            (Verdict::Performed(Direction::Install), _) | (Verdict::Undone(_), Direction::Remove) => State::Installed,
            (Verdict::Performed(Direction::Remove), _) | (Verdict::Undone(_), Direction::Install) => State::Idle,
            (Verdict::Broken(..), _) => State::Busy,
        };
        if let Some(journal) = &self.journal {
            journal.set(state);
        }
    }
}

impl<H: Hooks> Machine for Live<'_, H> {
    fn perform(&mut self, step: Step) -> Result<(), Cause> {
        match step {
            Step::Open => self.open(),
            Step::Verify { after } => self.verify(after),
            Step::Publish => self.publish(),
            Step::Store { phase, unit } => self.store(phase, unit, self.sites.len()),
            Step::Maintain => Ok(arch::maintain(self.executed(), self.keep_promises)?),
            Step::SyncCores => self.sync(),
            Step::Park => self.hooks.park(),
            Step::Unpark => self.hooks.unpark(),
            Step::Record | Step::Announce { .. } | Step::Withdraw | Step::AwaitNmis | Step::Pause => {
                Err(Cause::Unsupported)
            }
            Step::AwaitNoneInside => self.hooks.await_none_inside(self.sites),
            Step::Retire => self.hooks.retire(self.published),
            Step::Undo(_) => {
                self.dir = self.dir.opposite();
                Ok(())
            }
            Step::Close => self.close(),
            Step::Done(verdict) => {
                self.done(verdict);
                Ok(())
            }
        }
    }
}

/// Reads text that others may be changing.
fn peek(addr: u64, buf: &mut [u8]) {
    for (i, byte) in buf.iter_mut().enumerate() {
        // SAFETY: inside the open window, or promised to be readable.
        *byte = unsafe { ((addr + i as u64) as *const u8).read_volatile() };
    }
}

/// The unit that a store of the phase needs here: a trap instruction has no halves.
fn piece(unit: Unit, phase: Phase) -> Unit {
    let bytes = unit.piece::<Host>(phase);
    [Unit::Byte, Unit::Half, Unit::Word, Unit::Eight]
        .into_iter()
        .find(|unit| unit.bytes() >= bytes)
        .unwrap_or(Unit::Eight)
}

/// Whether every byte of every site lies in a range; both ascend.
fn covered(sites: &[Site], ranges: &[Range]) -> bool {
    let mut i = 0;
    sites.iter().all(|site| {
        let mut at = site.addr;
        while at < site.end() {
            while ranges.get(i).is_some_and(|range| range.end <= at) {
                i += 1;
            }
            match ranges.get(i) {
                Some(range) if range.start <= at => at = range.end,
                _ => return false,
            }
        }
        true
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::range::Prot;

    #[test]
    fn sites_must_lie_in_the_ranges() {
        let range = |start, end| Range::new(start, end, Prot::RX);
        let site = |addr| Site::single(addr, &[0x90; 5], &[0xcc; 5]).unwrap();
        let ranges = [range(0x1000, 0x2000), range(0x2000, 0x3000), range(0x5000, 0x6000)];
        assert!(covered(&[site(0x1000), site(0x1ffe), site(0x2ffb), site(0x5000), site(0x5ffb)], &ranges));
        for bad in [0xffe, 0x2ffe, 0x4fff, 0x5ffc, 0x7000] {
            assert!(!covered(&[site(bad)], &ranges), "{bad:#x}");
        }
        assert!(!covered(&[site(0x1000)], &[]));
    }
}
