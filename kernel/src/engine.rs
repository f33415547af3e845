//! The engine of this kernel, and where its interrupts, traps and NMIs come in.

use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use textpoke_bare::{Engine, Frame, Hooks, Rendezvous};
use textpoke_core::{Cause, Site};

use crate::CPUS;
use crate::arch::{self, Native, ipi, paging, smp};

/// The one that changes this kernel's text.
pub static ENGINE: Engine<Mine, CPUS> = Engine::new(Mine);
/// Where the CPUs meet.
pub static MEETING: Rendezvous<CPUS> = Rendezvous::new();

/// How often all other CPUs were asked to synchronise, parking included.
pub static ROUNDS: AtomicU64 = AtomicU64::new(0);
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

// SAFETY: each function does what the trait says: see there, and the modules that do the work.
unsafe impl Hooks for Mine {
    type Isa = Native;

    fn open(&self, sites: &[Site]) -> Result<(), Cause> {
        sites.iter().for_each(|site| paging::open(site.addr, site.end()));
        Ok(())
    }

    fn writable(&self, addr: u64) -> *mut u8 {
        paging::alias(addr)
    }

    fn close(&self, sites: &[Site], shared: bool) -> Result<(), Cause> {
        sites.iter().for_each(|site| paging::close(site.addr, site.end()));
        // The other CPUs forget their translations whenever they are asked.
        if shared { self.sync_others() } else { Ok(()) }
    }

    fn sync_others(&self) -> Result<(), Cause> {
        ROUNDS.fetch_add(1, Ordering::Relaxed);
        MEETING.sync(smp::this(), ipi::send, wait)
    }

    fn park_others(&self) -> Result<(), Cause> {
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
        wait(turns)
    }
}

/// The interrupt by which one CPU asks another: at which address did it come in?
pub(crate) fn on_interrupt(cpu: usize, pc: u64) {
    let (at, count) = &INTERRUPTED[cpu];
    at.store(pc, Ordering::Relaxed);
    // Release orders the address before the count; pairs with the Acquire of `none_inside`.
    count.fetch_add(1, Ordering::Release);
    MEETING.answer_with(cpu, paging::forget);
}

/// The trap.
pub(crate) fn on_trap<F: Frame<Isa = Native>>(cpu: usize, frame: &mut F) -> bool {
    // SAFETY: the entry code saved it and will restore it.
    unsafe { ENGINE.trap(cpu, frame) }
}

/// The NMI.
pub(crate) fn on_nmi(cpu: usize) {
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

/// Sends an NMI to a CPU, also to this one.
pub fn send_nmi(cpu: usize) {
    arch::nmi::send(cpu);
}
