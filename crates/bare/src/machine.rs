//! The machine: what each step is in a kernel.

use core::sync::atomic::Ordering;

use textpoke_core::nmi::Buffer;
use textpoke_core::plan::Suited;
use textpoke_core::{Cause, Direction, Machine, Phase, Site, Step, Unit};

use crate::engine::Engine;
use crate::hooks::Hooks;
use crate::write;

/// One batch under way. Made by [`Engine::patch`]; [`Engine::run_on`] hands it out.
#[derive(Debug)]
pub struct BareMachine<'a, H, const CPUS: usize> {
    engine: &'a Engine<H, CPUS>,
    sites: &'a [Site],
    /// Whether the protocol has stores of eight bytes.
    wide: bool,
    /// In which the batch goes now: the opposite one on the way back.
    dir: Direction,
    open: bool,
    parked: bool,
    /// The one that was laid out last.
    recorded: Buffer,
    /// Whether NMIs may have used the alias.
    shared: bool,
}

impl<'a, H: Hooks, const CPUS: usize> BareMachine<'a, H, CPUS> {
    pub(crate) fn new(engine: &'a Engine<H, CPUS>, plan: Suited<'a, H::Isa>, dir: Direction) -> Self {
        let wide = |step: &Step| matches!(step, Step::Store { unit: Unit::Eight, .. });
        Self {
            engine,
            sites: plan.plan().sites(),
            wide: plan.kind().program(dir).iter().any(wide),
            dir,
            open: false,
            parked: false,
            recorded: Buffer::First,
            shared: false,
        }
    }

    fn hooks(&self) -> &'a H {
        &self.engine.hooks
    }

    fn open(&mut self) -> Result<(), Cause> {
        // Said here, where nothing has changed yet.
        if self.wide && !self.sites.iter().all(Site::in_one_word) {
            return Err(Cause::Unsupported);
        }
        if !self.open {
            self.open = true;
            self.hooks().open(self.sites)?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Cause> {
        if !self.open {
            return Ok(());
        }
        self.hooks().close(self.sites, self.shared)?;
        (self.open, self.shared) = (false, false);
        Ok(())
    }

    fn verify(&self, after: bool) -> Result<(), Cause> {
        for site in self.sites {
            let expected = if after { site.after(self.dir) } else { site.before(self.dir) };
            for (addr, &expected) in (site.addr..).zip(expected) {
                // SAFETY: text, which a kernel can read.
                let found = unsafe { (addr as *const u8).read_volatile() };
                if found != expected {
                    return Err(Cause::Mismatch(addr));
                }
            }
        }
        Ok(())
    }

    fn publish(&self) -> Result<(), Cause> {
        let wait = |turns| self.hooks().wait(turns);
        // SAFETY: 1. the engine lets one batch at a time. 2. The sites are borrowed for longer than `self` and withdrawn by
        // `retire`, or stay by condition 3 of `Engine::patch`.
        unsafe { self.engine.table.publish(self.sites, self.dir, wait) }.map_err(|_| Cause::TimedOut)
    }

    fn store(&self, phase: Phase, unit: Unit) -> Result<(), Cause> {
        if !self.open || unit == Unit::Eight && !self.sites.iter().all(Site::in_one_word) {
            return Err(Cause::Unsupported);
        }
        for site in self.sites {
            // SAFETY: the alias is open, and the step comes from a protocol.
            unsafe { write::phase(self.hooks(), site, phase, unit, self.dir) };
        }
        Ok(())
    }

    fn maintain(&self) {
        for site in self.sites {
            textpoke_cpu::maintain(site.addr, u64::from(site.len));
        }
    }

    fn sync(&self) -> Result<(), Cause> {
        self.hooks().sync_others()?;
        textpoke_cpu::serialize();
        Ok(())
    }

    fn park(&mut self) -> Result<(), Cause> {
        if !self.parked {
            self.hooks().park_others()?;
            self.parked = true;
        }
        Ok(())
    }

    fn unpark(&mut self) {
        if self.parked {
            self.hooks().unpark_others();
            self.parked = false;
        }
        // The patcher itself goes on in the new code, too.
        textpoke_cpu::serialize();
    }

    fn record(&mut self) {
        self.recorded = self.engine.nmis.free();
        self.engine.nmis.lay_out(self.recorded, self.sites, self.dir);
    }

    fn announce(&mut self, idle: bool) -> Result<(), Cause> {
        let nmis = &self.engine.nmis;
        self.shared = true;
        if idle {
            self.until(|| nmis.gate.announce_if_idle(self.recorded))?;
        } else {
            nmis.gate.announce(self.recorded);
        }
        nmis.set_announced(Some(self.recorded));
        Ok(())
    }

    fn withdraw(&mut self) {
        self.engine.nmis.gate.withdraw();
        self.engine.nmis.set_announced(None);
    }

    /// Waits for NMIs.
    fn until(&self, mut done: impl FnMut() -> bool) -> Result<(), Cause> {
        let mut turns = 0;
        while !done() {
            if turns == 0 {
                self.engine.nmis.counters.waits.fetch_add(1, Ordering::Relaxed);
            }
            if !self.hooks().wait(turns) {
                return Err(Cause::TimedOut);
            }
            turns += 1;
        }
        Ok(())
    }

    fn retire(&self) -> Result<(), Cause> {
        // A CPU that trapped and has not looked yet finds no trap where it trapped, and executes what stands there.
        self.engine.table.withdraw();
        self.engine.table.drain(|turns| self.hooks().wait(turns)).map_err(|_| Cause::TimedOut)
    }
}

impl<H: Hooks, const CPUS: usize> Machine for BareMachine<'_, H, CPUS> {
    fn perform(&mut self, step: Step) -> Result<(), Cause> {
        match step {
            Step::Open => self.open(),
            Step::Verify { after } => self.verify(after),
            Step::Publish => self.publish(),
            Step::Store { phase, unit } => self.store(phase, unit),
            Step::Maintain => {
                self.maintain();
                Ok(())
            }
            Step::SyncCores => self.sync(),
            Step::Park => self.park(),
            Step::Unpark => {
                self.unpark();
                Ok(())
            }
            Step::AwaitNoneInside => self.hooks().none_inside(self.sites),
            Step::Record => {
                self.record();
                Ok(())
            }
            Step::Announce { idle } => self.announce(idle),
            Step::Withdraw => {
                self.withdraw();
                Ok(())
            }
            Step::AwaitNmis => self.until(|| self.engine.nmis.gate.is_idle()),
            Step::Pause => {
                self.hooks().wait(0);
                Ok(())
            }
            Step::Retire => self.retire(),
            Step::Undo(_) => {
                self.dir = self.dir.opposite();
                Ok(())
            }
            Step::Close => self.close(),
            // What a broken batch still holds must stay.
            Step::Done(_) => Ok(()),
        }
    }
}
