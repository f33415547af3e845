//! The engine of this kernel, and where its interrupts, traps and NMIs come in.

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use textpoke_bare::{Engine, Hooks, Refused, Rendezvous};
use textpoke_core::plan::Suited;
use textpoke_core::{Cause, Direction, Kind, Plan, Run, Site, Step, Verdict};

use crate::CPUS;
use crate::arch::{self, Native, Saved, ipi, paging, smp};
use crate::{emulator, trace};

/// The one that changes this kernel's text.
pub static ENGINE: Engine<Mine, CPUS> = Engine::new(Mine);
/// Where the CPUs meet.
pub static MEETING: Rendezvous<CPUS> = Rendezvous::new();

/// How often all other CPUs were asked to synchronise, parking included.
pub static ROUNDS: AtomicU64 = AtomicU64::new(0);
/// Which synchronisation from now on fails, counted from 1; 0 is none.
static FAILING: AtomicU64 = AtomicU64::new(0);
/// What the patcher does itself after each synchronisation.
static BETWEEN: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// What the patcher does itself when it finds that it has to wait for NMIs or handlers.
static WAITING: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// What an NMI does.
static NMI_HANDLER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// Where each CPU was when it was interrupted, and how often it was.
static INTERRUPTED: [(AtomicU64, AtomicU64); CPUS] = [const { (AtomicU64::new(0), AtomicU64::new(0)) }; CPUS];

/// How often a wait looks before it gives up: minutes, and a CPU that does not come in minutes never comes.
const PATIENCE: u64 = 100_000_000_000;

/// This kernel's hooks.
#[derive(Debug)]
pub struct Mine;

fn wait(turns: u64) -> bool {
    core::hint::spin_loop();
    turns < PATIENCE
}

/// Fails if it is the turn of this synchronisation.
fn fails() -> Result<(), Cause> {
    match FAILING.load(Ordering::Relaxed) {
        0 => Ok(()),
        left => {
            FAILING.store(left - 1, Ordering::Relaxed);
            if left == 1 { Err(Cause::TimedOut) } else { Ok(()) }
        }
    }
}

/// Lets the `turn`-th synchronisation from now on fail, counted from 1.
pub fn fail_at(turn: u64) {
    FAILING.store(turn, Ordering::Relaxed);
}

/// What the patcher does itself after each synchronisation, while the text is neither old nor new.
pub fn set_between(function: Option<fn()>) {
    BETWEEN.store(function.map_or(core::ptr::null_mut(), |f| f as *mut ()), Ordering::Relaxed);
}

/// What the patcher does itself when it finds that it has to wait for NMIs or handlers, once each time.
pub fn set_waiting(function: Option<fn()>) {
    WAITING.store(function.map_or(core::ptr::null_mut(), |f| f as *mut ()), Ordering::Relaxed);
}

// SAFETY: each function does what the trait says: see there, and the modules that do the work.
unsafe impl Hooks for Mine {
    type Isa = Native;

    fn open(&self, sites: &[Site]) -> Result<(), Cause> {
        sites.iter().for_each(|site| paging::open(site.addr, site.end()));
        emulator::opened(sites);
        Ok(())
    }

    fn writable(&self, addr: u64) -> *mut u8 {
        paging::alias(addr)
    }

    fn close(&self, sites: &[Site], shared: bool) -> Result<(), Cause> {
        emulator::closing();
        sites.iter().for_each(|site| paging::close(site.addr, site.end()));
        // The other CPUs forget their translations whenever they are asked.
        if shared { self.sync_others() } else { Ok(()) }
    }

    fn sync_others(&self) -> Result<(), Cause> {
        fails()?;
        ROUNDS.fetch_add(1, Ordering::Relaxed);
        MEETING.sync(smp::this(), ipi::send, wait)?;
        emulator::store_again();
        let between = BETWEEN.load(Ordering::Relaxed);
        if !between.is_null() {
            // SAFETY: `set_between` stored it.
            unsafe { core::mem::transmute::<*mut (), fn()>(between)() };
        }
        Ok(())
    }

    fn park_others(&self) -> Result<(), Cause> {
        fails()?;
        ROUNDS.fetch_add(1, Ordering::Relaxed);
        MEETING.park(smp::this(), ipi::send, wait)
    }

    fn unpark_others(&self) {
        MEETING.unpark();
    }

    /// A task of this kernel never leaves its CPU, so that each is where its CPU was interrupted. Interrupts, traps and NMIs
    /// execute no site of several instructions.
    fn none_inside(&self, sites: &[Site]) -> Result<(), Cause> {
        let inside = |pc: u64| sites.iter().any(|site| pc > site.addr && pc < site.end());
        let mut outside = [false; CPUS];
        for turn in 0.. {
            let before: [u64; CPUS] = core::array::from_fn(|cpu| INTERRUPTED[cpu].1.load(Ordering::Acquire));
            self.sync_others()?;
            for cpu in (0..CPUS).filter(|&cpu| cpu != smp::this() && MEETING.is_online(cpu)) {
                let (pc, count) = &INTERRUPTED[cpu];
                // Whoever came online since, or answered without being interrupted, is looked at the next time.
                outside[cpu] |= count.load(Ordering::Acquire) != before[cpu] && !inside(pc.load(Ordering::Relaxed));
            }
            if (0..CPUS).all(|cpu| outside[cpu] || cpu == smp::this() || !MEETING.is_online(cpu)) {
                return Ok(());
            }
            if !wait(turn * 1_000_000) {
                break;
            }
        }
        Err(Cause::Inside(sites.first().map_or(0, |site| site.addr)))
    }

    fn wait(&self, turns: u64) -> bool {
        let waiting = WAITING.load(Ordering::Relaxed);
        if turns == 0 && !waiting.is_null() {
            // SAFETY: `set_waiting` stored it.
            unsafe { core::mem::transmute::<*mut (), fn()>(waiting)() };
        }
        wait(turns)
    }
}

/// What this kernel's vectors call: CPU and registers, CPU and where it was, CPU.
#[derive(Debug)]
pub struct Handlers {
    /// The trap; whether it was one of ours.
    pub trap: fn(usize, &mut Saved) -> bool,
    /// The interrupt by which one CPU asks another.
    pub interrupt: fn(usize, u64),
    /// The NMI.
    pub nmi: fn(usize),
}

static OURS: Handlers = Handlers { trap: own_trap, interrupt: own_interrupt, nmi: own_nmi };
static HANDLERS: AtomicPtr<Handlers> = AtomicPtr::new((&raw const OURS).cast_mut());

fn handlers() -> &'static Handlers {
    // SAFETY: only static ones are stored. Pairs with the Release of `set_handlers`.
    unsafe { &*HANDLERS.load(Ordering::Acquire) }
}

/// For examples that bring an engine of their own. Before other CPUs are online.
pub fn set_handlers(handlers: &'static Handlers) {
    HANDLERS.store(core::ptr::from_ref(handlers).cast_mut(), Ordering::Release);
}

pub(crate) fn on_interrupt(cpu: usize, pc: u64) {
    (handlers().interrupt)(cpu, pc);
}

pub(crate) fn on_trap(cpu: usize, saved: &mut Saved) -> bool {
    (handlers().trap)(cpu, saved)
}

pub(crate) fn on_nmi(cpu: usize) {
    (handlers().nmi)(cpu);
}

/// The interrupt by which one CPU asks another: at which address did it come in?
fn own_interrupt(cpu: usize, pc: u64) {
    let (at, count) = &INTERRUPTED[cpu];
    at.store(pc, Ordering::Relaxed);
    // Release orders the address before the count; pairs with the Acquire of `none_inside`.
    count.fetch_add(1, Ordering::Release);
    MEETING.answer_with(cpu, paging::forget, core::hint::spin_loop);
}

/// The trap.
fn own_trap(cpu: usize, saved: &mut Saved) -> bool {
    // SAFETY: the entry code saved it and will restore it.
    unsafe { ENGINE.trap(cpu, saved) }
}

/// NMIs under way on each CPU.
static UNDER_WAY: [AtomicU64; CPUS] = [const { AtomicU64::new(0) }; CPUS];
/// NMIs that interrupted another.
static NESTED: AtomicU64 = AtomicU64::new(0);

/// How many NMIs interrupted another, on all CPUs.
pub fn nested_nmis() -> u64 {
    NESTED.load(Ordering::Relaxed)
}

/// While this is set, each NMI sends the next one, to the next CPU.
static STORM: AtomicBool = AtomicBool::new(false);
/// NMIs of a storm that were sent to each CPU since the last one came in there: two that meet become one, which sends two.
static SENT_TO: [AtomicU64; CPUS] = [const { AtomicU64::new(0) }; CPUS];

/// The NMI.
fn own_nmi(cpu: usize) {
    let tokens = SENT_TO[cpu].swap(0, Ordering::Relaxed);
    if UNDER_WAY[cpu].fetch_add(1, Ordering::Relaxed) > 0 {
        NESTED.fetch_add(1, Ordering::Relaxed);
    }
    trace::interrupted(cpu, || visit(cpu));
    UNDER_WAY[cpu].fetch_sub(1, Ordering::Relaxed);
    if STORM.load(Ordering::Relaxed) {
        let mut behind = (cpu + 1..CPUS).chain(0..=cpu).filter(|&cpu| MEETING.is_online(cpu)).cycle();
        for _ in 0..tokens {
            behind.next().into_iter().for_each(pass_on);
        }
    }
}

fn pass_on(cpu: usize) {
    SENT_TO[cpu].fetch_add(1, Ordering::Relaxed);
    arch::nmi::send(cpu);
}

fn visit(cpu: usize) {
    ENGINE.nmi(|| {
        let handler = NMI_HANDLER.load(Ordering::Acquire);
        if !handler.is_null() {
            // SAFETY: `set_nmi_handler` stored it.
            unsafe { core::mem::transmute::<*mut (), fn(usize)>(handler)(cpu) };
        }
    });
}

/// What NMIs do from now on; by default nothing.
pub fn set_nmi_handler(handler: Option<fn(usize)>) {
    NMI_HANDLER.store(handler.map_or(core::ptr::null_mut(), |f| f as *mut ()), Ordering::Release);
}

/// Sends NMIs to so many CPUs, beginning with the last. Each sends the next one when it has ended, to the next CPU, so that
/// there are always as many.
pub fn begin_storm(many: usize) {
    STORM.store(true, Ordering::Relaxed);
    (0..CPUS).rev().filter(|&cpu| MEETING.is_online(cpu)).take(many).for_each(pass_on);
}

/// Ends the storm, and returns when all is quiet.
pub fn end_storm() {
    STORM.store(false, Ordering::Relaxed);
    // Each CPU answers one more, behind which none can be on the way to it.
    for cpu in (0..CPUS).filter(|&cpu| MEETING.is_online(cpu)) {
        for _ in 0..2 {
            let before = arch::nmi::ended(cpu);
            arch::nmi::send(cpu);
            while arch::nmi::ended(cpu) == before {
                core::hint::spin_loop();
            }
        }
        SENT_TO[cpu].store(0, Ordering::Relaxed);
    }
}

/// How many NMIs have ended, on all CPUs.
pub fn nmis() -> u64 {
    (0..CPUS).map(arch::nmi::ended).sum()
}

/// How a batch went.
pub type Outcome = Result<Verdict, Refused>;

/// Performs a plan. Compiled here and not where it is called, so that it is never patched itself.
///
/// # Safety
/// As [`Engine::patch`].
#[inline(never)]
pub unsafe fn patch(sites: &[Site], kind: Kind, dir: Direction) -> Outcome {
    // SAFETY: the caller's duty.
    unsafe { ENGINE.patch(plan(sites, kind), dir) }
}

/// Performs a program that is not one of the protocols.
///
/// # Safety
/// As [`Engine::run`].
#[inline(never)]
pub unsafe fn run(sites: &[Site], kind: Kind, dir: Direction, forth: &[Step], back: &[Step]) -> Outcome {
    // SAFETY: the caller's duty.
    unsafe { ENGINE.run(plan(sites, kind), dir, Run::custom(forth, back, dir)) }
}

fn plan(sites: &[Site], kind: Kind) -> Suited<'_, Native> {
    match Plan::new(sites).and_then(|plan| plan.suits(kind)) {
        Ok(plan) => plan,
        Err(error) => panic!("{}: {error}", kind.name()),
    }
}
