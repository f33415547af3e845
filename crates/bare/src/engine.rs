//! The one object that a kernel keeps in a static.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use textpoke_core::plan::Suited;
use textpoke_core::{Direction, Machine, Run, Verdict, drive};

use crate::hooks::Hooks;
use crate::machine::BareMachine;
use crate::nmi::Nmis;
use crate::table::Published;
use crate::trap::{Frame, on_trap};

/// Changes a kernel's text, for up to `CPUS` CPUs.
#[derive(Debug)]
pub struct Engine<H, const CPUS: usize> {
    pub(crate) hooks: H,
    pub(crate) table: Published<CPUS>,
    pub(crate) nmis: Nmis,
    state: AtomicU32,
}

const IDLE: u32 = 0;
const BUSY: u32 = 1;
const BROKEN: u32 = 2;

/// Why a batch was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Another one is under way.
    Busy,
    /// An earlier one could neither be finished nor undone: its sites may hold traps. [`Engine::finish`] tries again.
    Broken,
    /// Nothing is broken, so that there is nothing to be finished.
    Whole,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "another batch is under way; take a lock around patching",
            Self::Broken => "an earlier batch is neither performed nor undone; finish that one first",
            Self::Whole => "no batch is broken",
        })
    }
}

impl core::error::Error for Refused {}

/// How often things happened since the kernel booted. Statistics: nothing is ordered by them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Traps that were acted on.
    pub traps: u64,
    /// NMIs that wrote a record.
    pub nmi_writes: u32,
    /// Times that the patcher found an NMI running and had to wait.
    pub nmi_waits: u32,
}

impl<H: Hooks, const CPUS: usize> Engine<H, CPUS> {
    /// For a static.
    pub const fn new(hooks: H) -> Self {
        Self { hooks, table: Published::new(), nmis: Nmis::new(), state: AtomicU32::new(IDLE) }
    }

    /// The hooks.
    pub fn hooks(&self) -> &H {
        &self.hooks
    }

    /// Performs a plan: when it returns with [`Verdict::Performed`], every CPU executes the new code. With
    /// [`Verdict::Undone`] every site is as it was before.
    ///
    /// To be called with interrupts on, on a CPU that stays the same, and without a lock that another CPU may wait for with
    /// interrupts off: it waits for the other CPUs to answer. It may be called before there are others.
    ///
    /// # Errors
    /// [`Refused`]; nothing was done then. It does not wait for another batch to end.
    ///
    /// # Safety
    /// 1. The sites, and their new instructions, copies and stand-ins, mean what the kernel can bear at any moment from now
    ///    on, and are none of those that patching relies on (see the crate).
    /// 2. If the protocol uses traps, every CPU's trap vector calls [`Engine::trap`] first thing, also while NMIs run; if
    ///    NMIs execute the sites, either such a trap may come in an NMI, or the protocol is `nmi_assist` and every CPU's NMI
    ///    vector calls [`Engine::nmi`].
    /// 3. If the verdict is [`Verdict::Broken`], the sites stay in memory until [`Engine::finish`] succeeds.
    pub unsafe fn patch(&self, plan: Suited<'_, H::Isa>, dir: Direction) -> Result<Verdict, Refused> {
        // SAFETY: the caller's duties.
        unsafe { self.run(plan, dir, plan.run(dir)) }
    }

    /// Performs a run of one's own: a program that was checked with `textpoke check FILE`, or one that is wrong on purpose.
    ///
    /// # Errors
    /// As [`Engine::patch`].
    ///
    /// # Safety
    /// As [`Engine::patch`], and the program is one that suits the plan.
    pub unsafe fn run(&self, plan: Suited<'_, H::Isa>, dir: Direction, run: Run<'_>) -> Result<Verdict, Refused> {
        // SAFETY: the caller's duties; the machine performs every step as it is.
        unsafe { self.run_on(plan, dir, run, |machine| machine) }.map(|(verdict, _)| verdict)
    }

    /// The same on a machine that is made from this engine's, such as one that lets a step fail; it is returned.
    ///
    /// # Errors
    /// As [`Engine::patch`].
    ///
    /// # Safety
    /// As [`Engine::run`], for the steps that the machine performs, too.
    pub unsafe fn run_on<'a, M: Machine>(
        &'a self,
        plan: Suited<'a, H::Isa>,
        dir: Direction,
        run: Run<'_>,
        make: impl FnOnce(BareMachine<'a, H, CPUS>) -> M,
    ) -> Result<(Verdict, M), Refused> {
        self.begin(IDLE)?;
        let mut machine = make(BareMachine::new(self, plan, dir));
        let verdict = drive(run, &mut machine);
        self.end(verdict);
        Ok((verdict, machine))
    }

    /// Performs the rest of the batch that broke, so that its sites are what they are after a batch in direction `to`.
    ///
    /// # Errors
    /// [`Refused`]; nothing was done then.
    ///
    /// # Safety
    /// As [`Engine::patch`], and the plan is the one that broke.
    pub unsafe fn finish(&self, plan: Suited<'_, H::Isa>, to: Direction) -> Result<Verdict, Refused> {
        self.begin(BROKEN)?;
        let run = Run::finish(plan.kind(), to);
        let verdict = drive(run, &mut BareMachine::new(self, plan, to));
        self.end(verdict);
        Ok(verdict)
    }

    /// Takes the right to perform a batch, if things are as expected.
    fn begin(&self, expected: u32) -> Result<(), Refused> {
        // Acquire pairs with the Release of `end`: what the last batch wrote is seen by the next.
        match self.state.compare_exchange(expected, BUSY, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok(()),
            Err(BUSY) => Err(Refused::Busy),
            Err(BROKEN) => Err(Refused::Broken),
            Err(_) => Err(Refused::Whole),
        }
    }

    fn end(&self, verdict: Verdict) {
        let state = if matches!(verdict, Verdict::Broken(..)) { BROKEN } else { IDLE };
        self.state.store(state, Ordering::Release);
    }

    /// To be called first thing in the trap vector, with the frame of the code that trapped; whether it was one of ours.
    /// `cpu` is the number of the CPU, or any other number if it is not known. Takes no lock and waits for nobody.
    ///
    /// # Safety
    /// The frame will be restored, and what it holds about the trap is true. The trap was the kernel's own: a program's is
    /// at an address that the kernel may not be able to read.
    pub unsafe fn trap<F: Frame<Isa = H::Isa>>(&self, cpu: usize, frame: &mut F) -> bool {
        // SAFETY: the caller's duty; what is published comes from `patch`.
        unsafe { on_trap(&self.table, cpu, frame) }
    }

    /// To be called by the NMI vector around all that the NMI does and that may execute sites. An NMI that comes in while a
    /// change is announced writes it first. Takes no lock and waits for nobody.
    pub fn nmi(&self, handle: impl FnOnce()) {
        // SAFETY: what is announced comes from machines, whose plans are kept as condition 3 of `patch` says.
        unsafe { self.nmis.visit(&self.hooks, handle) }
    }

    /// The counts until now.
    pub fn counts(&self) -> Counts {
        Counts {
            traps: self.table.traps(),
            nmi_writes: self.nmis.counters.writes.load(Ordering::Relaxed),
            nmi_waits: self.nmis.counters.waits.load(Ordering::Relaxed),
        }
    }
}
