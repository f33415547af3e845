//! The machine that patches the program it is linked into.

use core::cell::UnsafeCell;
use core::sync::atomic::AtomicU32;
use std::boxed::Box;
use std::fmt;
use std::time::{Duration, Instant};
use std::vec::Vec;

use textpoke_core::isa::Isa;
use textpoke_core::{Cause, Direction, Kind, Plan, PlanError, Run, Site, Step, Verdict, drive};

use crate::arch::{self, Host};
use crate::fault::{Failing, Fault};
use crate::handler::{self, Installed};
use crate::inside;
use crate::live::{Hooks, Live, Prefer};
use crate::loaded;
use crate::lock::{self, Guard};
use crate::maps::{self, Unfit};
use crate::pager;
use crate::park::{self, Parked};
use crate::range::Range;
use crate::selftest::{self, Watching};
use crate::signal::{SIGTRAP, bit};
use crate::sync;
use crate::sys::{self, Errno};
use crate::table::Published;
use crate::text::ProcMem;
use crate::threads;
use crate::words::Words;

/// How long a thread may block SIGTRAP, and a handler stay in its table, before that counts as for good. Nanoseconds.
const PATIENCE: u64 = 200_000_000;

/// How long the answer that no thread blocks SIGTRAP is trusted by [`Held::batch`]. A thread that begins to right after
/// it was looked at would not be seen either; and looking takes longer than a flip.
const TRUST: Duration = Duration::from_millis(20);

/// What makes a half-made change whole.
const MENDING: Kind = if Host::TRAP.len() == 1 { Kind::Breakpoint } else { Kind::Word };

/// So many writes to `/proc/self/mem` cost what a window costs: reading `/proc/self/maps`, and two `mprotect` that
/// interrupt the other CPUs.
const SYSTEM_CALLS: usize = 48;

/// Why nothing was patched, or not everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused something that every batch needs: what, and its `errno`.
    Setup(&'static str, Errno),
    /// The program has installed a SIGTRAP handler after textpoke did; traps would not arrive.
    HandlerReplaced,
    /// This thread blocks SIGTRAP; a trap would kill the process.
    TrapBlocked(i32),
    /// This thread blocks all signals that could be used to park it, or blocks the one that is used.
    ParkBlocked(i32),
    /// The process has a shadow stack, to which an emulated CALL cannot push.
    ShadowStack,
    /// A patch of a function made for the purpose did not work as it should.
    SelfTest,
    /// The sites are not a plan.
    Plan(PlanError),
    /// A site cannot be written.
    Unfit(Unfit),
    /// The batch did not come to its end.
    Failed(Verdict),
    /// An earlier batch could neither be finished nor undone, and cannot be undone now.
    Unrepaired(Verdict),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(what, errno) => write!(f, "{what} failed ({errno})"),
            Self::HandlerReplaced => f.write_str(
                "the program installed its own SIGTRAP handler after textpoke's: install it before, textpoke passes on to it",
            ),
            Self::TrapBlocked(tid) => {
                write!(f, "thread {tid} blocks SIGTRAP and would be killed by a trap: unblock SIGTRAP there")
            }
            Self::ParkBlocked(tid) => write!(
                f,
                "thread {tid} blocks the real-time signals by which threads are parked: unblock those from 40 on there"
            ),
            Self::ShadowStack => f.write_str("a call or return cannot be patched in a process with a shadow stack"),
            Self::SelfTest => f.write_str("the self-test failed: text cannot be patched here, or traps do not arrive"),
            Self::Plan(error) => error.fmt(f),
            Self::Unfit(Unfit::NotText(addr)) => write!(f, "no executable memory at {addr:#x}"),
            Self::Unfit(Unfit::Shared(addr)) => write!(f, "the memory at {addr:#x} is shared with other processes"),
            Self::Failed(verdict) => verdict_text(f, verdict),
            Self::Unrepaired(verdict) => {
                f.write_str("an earlier batch is still half done: ")?;
                verdict_text(f, verdict)
            }
        }
    }
}

fn verdict_text(f: &mut fmt::Formatter<'_>, verdict: &Verdict) -> fmt::Result {
    match verdict {
        Verdict::Performed(_) => f.write_str("performed"),
        Verdict::Undone(reason) => {
            write!(f, "undone, every site is as it was: {:?} in step {}", reason.cause, reason.step)
        }
        Verdict::Broken(first, second) => write!(
            f,
            "failed with {:?} in step {}, and undoing it failed with {:?}; traps stay handled, the next batch tries again",
            first.cause, first.step, second.cause
        ),
    }
}

impl std::error::Error for Error {}

impl From<PlanError> for Error {
    fn from(error: PlanError) -> Self {
        Self::Plan(error)
    }
}

/// What a batch cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// How often all cores were synchronised: the same for any number of sites.
    pub syncs: u32,
}

/// What a batch may be given besides the plan.
#[derive(Clone, Copy, Debug, Default)]
#[doc(hidden)]
pub struct Extras {
    /// One counter per site, which counts its traps.
    pub counts: Option<&'static [AtomicU32]>,
    /// A step that shall fail.
    pub fault: Option<Fault>,
    /// Whether this is the self-test.
    watch: bool,
    /// Whether text is mapped readable.
    readable: bool,
}

impl Extras {
    /// Only counts.
    pub fn counting(counts: &'static [AtomicU32]) -> Self {
        Self { counts: Some(counts), ..Self::default() }
    }

    /// Only fails.
    pub fn failing(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::default() }
    }
}

/// A batch that has begun and not ended: what whoever holds the lock next must undo.
#[derive(Clone, Copy)]
struct Unfinished {
    sites: &'static [Site],
    /// With the protections from before the batch, which /proc does not show while its window is open.
    ranges: &'static [Range],
    kind: Kind,
    /// In which it was asked for.
    dir: Direction,
}

struct Engine {
    /// Registered, and `proc_mem` is known.
    ready: bool,
    /// Whether a handler of ours was installed.
    traps: bool,
    /// When all threads could last take a trap.
    could_trap: Option<Instant>,
    /// Whether `/proc/self/mem` writes to text; some kernels are configured not to.
    proc_mem: bool,
    unfinished: Option<Unfinished>,
    /// The thread that the last batch could not park.
    unparkable: Option<i32>,
}

struct Shared(UnsafeCell<Engine>);
// SAFETY: only touched through `Held`, which holds the lock.
unsafe impl Sync for Shared {}

static ENGINE: Shared = Shared(UnsafeCell::new(Engine {
    ready: false,
    traps: false,
    could_trap: None,
    proc_mem: false,
    unfinished: None,
    unparkable: None,
}));

/// The engine, locked: for several steps that nobody may come between. Unlocked when dropped.
#[doc(hidden)]
#[derive(Debug)]
pub struct Held {
    guard: Guard,
}

impl Held {
    fn engine(&mut self) -> &mut Engine {
        // SAFETY: the lock is held, and `&mut self` lends it once at a time.
        unsafe { &mut *ENGINE.0.get() }
    }

    /// Locks the engine and puts in order what a fork, a panic or a failure left. With `traps`, the handler is installed.
    pub fn take(traps: bool) -> Result<Self, Error> {
        if traps {
            loaded::stay();
        }
        let guard = lock::lock().map_err(|errno| Error::Setup("making the engine words", errno))?;
        let renewed = guard.renewed;
        let mut held = Self { guard };
        if renewed {
            // The kernel's registration may not have come along.
            held.engine().ready = false;
            pager::forked();
        }
        if !held.engine().ready {
            sync::register().map_err(|errno| Error::Setup("membarrier", errno))?;
            held.engine().proc_mem = ProcMem::open().is_ok_and(|mem| mem.claim(text_of_ours()).is_ok());
            held.engine().ready = true;
        }
        if traps && !held.engine().traps {
            held.trap()?;
        }
        held.repair(renewed)?;
        held.guard.in_order();
        Ok(held)
    }

    /// Sees to it that a handler of ours is installed.
    fn trap(&mut self) -> Result<(), Error> {
        let words = self.guard.words;
        let setup = |errno| Error::Setup("rt_sigaction", errno);
        if handler::installed(words).map_err(setup)? == Installed::Never {
            handler::install(words).map_err(setup)?;
        }
        self.engine().traps = true;
        Ok(())
    }

    /// Makes the sites what their new bytes say, whatever mixture of the two forms stands there, trap bytes included
    /// (where traps are a byte; elsewhere one store makes the change or does not).
    ///
    /// # Safety
    /// As for [`Held::batch`]; the lock was taken with `traps`.
    pub unsafe fn mend(&mut self, sites: &[Site]) -> Result<(), Error> {
        Plan::<Host>::new(sites)?.suits(MENDING)?;
        let (kind, dir) = (MENDING, Direction::Install);
        let ranges = Box::leak(self.ranges(sites, kind, true)?.into_boxed_slice());
        let batch = Unfinished { sites: Box::leak(Box::from(sites)), ranges, kind, dir };
        match self.perform(batch, dir, Some(Run::finish(kind, dir)), &Extras::default()) {
            (Verdict::Performed(_), _) => Ok(()),
            (other, _) => Err(Error::Failed(other)),
        }
    }

    /// What all copies of the library share.
    pub fn words(&self) -> &'static Words {
        self.guard.words
    }

    /// Performs a batch from old to new, as [`apply`] does. That nobody blocks SIGTRAP is looked up again when the last
    /// time was [`TRUST`] ago.
    ///
    /// # Safety
    /// As for [`apply`], all sites are mapped readable, and for a protocol with traps the lock was taken with `traps`.
    pub unsafe fn batch(&mut self, sites: &[Site], kind: Kind) -> Result<Report, Error> {
        let plan = checked(Plan::new(sites)?, kind)?;
        if kind.traps() && self.engine().could_trap.is_none_or(|then| then.elapsed() > TRUST) {
            can_trap(self.guard.words)?;
            self.engine().could_trap = Some(Instant::now());
        }
        let extras = Extras { readable: true, ..Extras::default() };
        // SAFETY: the caller's duties.
        unsafe { self.apply(plan.sites(), kind, Direction::Install, &extras) }
    }

    fn repair(&mut self, forked: bool) -> Result<(), Error> {
        let Some(unfinished) = self.engine().unfinished else {
            if forked {
                // Handlers of the parent's other threads are counted in the copied table for ever.
                handler::abandon_published();
            }
            return Ok(());
        };
        let Unfinished { sites, kind, dir, .. } = unfinished;
        // The sites hold any mixture, and the old table resolves it until the new one is published. There is nothing to
        // compare with beforehand.
        if forked && kind.traps() {
            handler::inherit_published(sites, dir.opposite());
        }
        let run = Run::finish(kind, dir.opposite());
        match self.perform(unfinished, dir.opposite(), Some(run), &Extras::default()) {
            (Verdict::Performed(_), _) => Ok(()),
            (other, _) => Err(Error::Unrepaired(other)),
        }
    }

    /// Performs a batch in direction `dir`. The sites and ranges are given up: freed at the end, unless somebody may
    /// still look at them or the batch is not at its end.
    fn perform(&mut self, batch: Unfinished, dir: Direction, run: Option<Run<'_>>, extras: &Extras) -> (Verdict, u32) {
        let Unfinished { sites, ranges, kind, .. } = batch;
        // From here on, whoever takes the lock after a panic or a fork finds what to undo.
        self.engine().unfinished = Some(batch);
        let hooks = InProcess::default();
        let plan = Plan::new(sites).expect("the caller checked the plan");
        let prefer = if ranges.is_empty() { Prefer::ProcMem } else { Prefer::Window };
        // SAFETY: 1. the duty of `apply`'s caller. 2. Read from /proc, or no window is used. 3. The handler is
        // installed. 4. The lock is held. 5. The sites are leaked unless the batch comes to an end.
        let mut live = unsafe { Live::new(plan, kind, dir, ranges, handler::published(), hooks) }.prefer(prefer);
        if let Some(counts) = extras.counts.filter(|counts| counts.len() >= sites.len()) {
            // SAFETY: static.
            live = unsafe { live.count_traps(counts.as_ptr()) };
        }
        if extras.readable {
            // SAFETY: promised to `batch`.
            live = unsafe { live.readable() };
        }
        live = live.caches_keep_promises(arch::caches_keep_promises());
        let run = run.unwrap_or_else(|| live.run());
        let inner = &mut live;
        let verdict = match extras.fault {
            Some(fault) => drive(run, &mut Failing { inner, fault, performed: 0 }),
            None if extras.watch => drive(run, &mut Watching { inner, dir }),
            None => drive(run, inner),
        };
        let syncs = live.syncs();
        let hooks = core::mem::take(live.hooks());
        self.engine().unparkable = hooks.unparkable;
        if let Verdict::Broken(..) = verdict {
            // The table stays, and handlers in it.
            core::mem::forget(hooks);
            return (verdict, syncs);
        }
        let left = hooks.left;
        self.engine().unfinished = None;
        if left {
            // SAFETY: both made by `Box::leak`; the table is withdrawn, and nobody is inside.
            unsafe {
                drop(Box::from_raw(core::ptr::from_ref(sites).cast_mut()));
                drop(Box::from_raw(core::ptr::from_ref(ranges).cast_mut()));
            }
        }
        (verdict, syncs)
    }

    /// Performs a batch of a checked plan.
    ///
    /// # Safety
    /// As for [`apply`]. If the protocol uses traps, the handler must be in place.
    unsafe fn apply(&mut self, sites: &[Site], kind: Kind, dir: Direction, extras: &Extras) -> Result<Report, Error> {
        let ranges = Box::leak(self.ranges(sites, kind, extras.readable)?.into_boxed_slice());
        let sites = Box::leak(Box::from(sites));
        match self.perform(Unfinished { sites, ranges, kind, dir }, dir, None, extras) {
            (Verdict::Performed(_), syncs) => Ok(Report { syncs }),
            (other @ Verdict::Undone(_), _) => {
                Err(self.engine().unparkable.map_or(Error::Failed(other), Error::ParkBlocked))
            }
            (other, _) => Err(Error::Failed(other)),
        }
    }

    /// The ranges for a window, or none where no window is needed: a few sites that are written byte by byte.
    ///
    /// Sites of `known` text need no look at what is mapped there.
    fn ranges(&mut self, sites: &[Site], kind: Kind, known: bool) -> Result<Vec<Range>, Error> {
        let programs = [kind.program(Direction::Install), kind.program(Direction::Remove)];
        let stores = |program: &[Step]| program.iter().filter(|step| matches!(step, Step::Store { .. })).count();
        let most = ProcMem::GUARANTEES.bytes();
        let wide = |step: &Step| matches!(*step, Step::Store { unit, phase } if unit.piece::<Host>(phase) > most);
        let narrow = !programs.iter().any(|program| program.iter().any(wide)) || sites.iter().all(|site| site.len == 1);
        let few = sites.len() == 1 || (known && sites.len() * stores(programs[0]) <= SYSTEM_CALLS);
        if few && narrow && Host::TRAP.len() == 1 && self.engine().proc_mem {
            return Ok(Vec::new());
        }
        let mappings = maps::read().map_err(|errno| Error::Setup("/proc/self/maps", errno))?;
        maps::holding(&mappings, sites).map_err(Error::Unfit)
    }
}

/// A byte of text that nobody patches.
fn text_of_ours() -> u64 {
    sync::register as *const () as u64
}

/// The hooks of the process itself.
#[derive(Debug)]
struct InProcess {
    /// Everybody else, while they are parked.
    parked: Option<Parked>,
    /// The thread that could not be parked.
    unparkable: Option<i32>,
    /// Whether nobody can be looking at the tables or sites any more.
    left: bool,
}

impl Default for InProcess {
    fn default() -> Self {
        Self { parked: None, unparkable: None, left: true }
    }
}

impl Hooks for InProcess {
    fn await_none_inside(&mut self, sites: &[Site]) -> Result<(), Cause> {
        let (result, left) = inside::await_none_inside(sites);
        self.left &= left;
        result
    }

    fn park(&mut self) -> Result<(), Cause> {
        if self.parked.is_none() {
            self.parked = Some(park::park(&mut self.unparkable)?);
        }
        Ok(())
    }

    fn unpark(&mut self) -> Result<(), Cause> {
        if let Some(parked) = &mut self.parked {
            parked.unpark()?;
        }
        self.release();
        Ok(())
    }

    fn release(&mut self) {
        self.parked = None;
    }

    /// Withdraws the table and waits for the handlers in it.
    ///
    /// A thread that has trapped and not reached the handler yet needs no waiting for here: the handler stays installed,
    /// and finds a byte that is no trap any more. A handler that does not leave (its thread is held by a debugger, or
    /// was a vfork child that was killed in it) cannot hold up anybody either: it keeps the table, others get a new
    /// place. What it decides is what the thread would have done had it been as late *behind* the instruction.
    fn retire(&mut self, published: &Published) -> Result<(), Cause> {
        published.withdraw();
        if published.drain(PATIENCE).is_err() {
            handler::abandon_published();
            self.left = false;
        }
        Ok(())
    }
}

/// Makes the process ready to be patched: registers it with membarrier, installs the SIGTRAP handler, and proves on a
/// function of its own that text can be written and traps arrive. Once is enough; again does the proof again.
///
/// In a thread that blocks SIGTRAP the proof is left out.
///
/// # Errors
/// [`Error::Setup`], [`Error::HandlerReplaced`], [`Error::SelfTest`], and [`Error::Unrepaired`] as [`apply`].
pub fn prepare() -> Result<(), Error> {
    let mut held = Held::take(true)?;
    handler_in_place(held.words())?;
    let blocked = sys::sigmask().map_err(|errno| Error::Setup("rt_sigprocmask", errno))?;
    let Some(site) = selftest::site().filter(|_| blocked & bit(SIGTRAP) == 0) else { return Ok(()) };
    let extras = Extras { watch: true, ..Extras::default() };
    for dir in [Direction::Install, Direction::Remove] {
        // SAFETY: both forms of the function are whole instructions that load a constant, and only we call it.
        let done = unsafe { held.apply(&[site], Kind::Breakpoint, dir, &extras) };
        if done.is_err() || !selftest::acts(dir) {
            return Err(Error::SelfTest);
        }
    }
    Ok(())
}

fn handler_in_place(words: &Words) -> Result<(), Error> {
    match handler::installed(words) {
        Ok(Installed::Ours) => Ok(()),
        Ok(_) => Err(Error::HandlerReplaced),
        Err(errno) => Err(Error::Setup("rt_sigaction", errno)),
    }
}

/// Whether every thread can take a trap now: the handler is in place and nobody blocks SIGTRAP.
fn can_trap(words: &Words) -> Result<(), Error> {
    handler_in_place(words)?;
    match threads::blocker(SIGTRAP, PATIENCE) {
        Ok(None) => Ok(()),
        Ok(Some(tid)) => Err(Error::TrapBlocked(tid)),
        Err(errno) => Err(Error::Setup("/proc/self/task", errno)),
    }
}

/// Performs one batch on this process while its threads run.
///
/// Waits for a batch of another thread. Must not be called in a signal handler, and no signal handler that runs on the
/// calling thread meanwhile may fork. A fork child may call it: a batch that another thread of the parent had under way
/// is undone first.
///
/// # Errors
/// Nothing has changed, unless the error is [`Error::Failed`] or [`Error::Unrepaired`] with [`Verdict::Broken`].
///
/// # Safety
/// For every site, from the call on for good:
/// 1. Executing the old or the new bytes, at any moment and in any order among sites, must be something the program can
///    bear. The copy and the stand-in, where given, do what the old and the new bytes do, and stay mapped.
/// 2. No code branches into a site behind its head, but onto boundaries that are marked in [`Site::inner`], and nobody
///    else writes to it. The text stays mapped until the call has returned.
/// 3. Where old or new is a CALL, nothing is in use below the stack pointer.
/// 4. With [`Kind::Word`]: the CPU executes either form of an instruction that is changed with one aligned 8-byte store.
/// 5. No thread begins to block SIGTRAP, or to handle it otherwise, and then executes a site, while the call runs.
pub unsafe fn apply(sites: &[Site], kind: Kind, dir: Direction) -> Result<Report, Error> {
    // SAFETY: the same duties.
    unsafe { apply_with(sites, kind, dir, &Extras::default()) }
}

/// [`apply`] with counters and faults.
///
/// # Safety
/// As for [`apply`].
#[doc(hidden)]
pub unsafe fn apply_with(sites: &[Site], kind: Kind, dir: Direction, extras: &Extras) -> Result<Report, Error> {
    let plan = checked(Plan::new(sites)?, kind)?;
    let traps = kind.traps();
    let mut held = Held::take(traps)?;
    if traps {
        can_trap(held.words())?;
    }
    // SAFETY: the caller's duties.
    unsafe { held.apply(plan.sites(), kind, dir, extras) }
}

/// A plan that suits the protocol, and whose traps can be acted out here.
fn checked(plan: Plan<'_, Host>, kind: Kind) -> Result<Plan<'_, Host>, Error> {
    let plan = plan.suits(kind)?.plan();
    if kind.traps() && moves_the_stack(&plan) && sys::has_shadow_stack() {
        return Err(Error::ShadowStack);
    }
    Ok(plan)
}

/// Whether a trap of the plan would have to act as a call or return that a shadow stack sees.
fn moves_the_stack(plan: &Plan<'_, Host>) -> bool {
    let acts = |addr: u64, bytes: &[u8], code: u64| {
        code == 0 && Host::decode(addr, bytes).is_some_and(arch::moves_shadow_stack)
    };
    plan.sites().iter().any(|site| {
        acts(site.addr, site.after(Direction::Install), site.stand_in)
            || acts(site.addr, site.after(Direction::Remove), site.copy)
    })
}
