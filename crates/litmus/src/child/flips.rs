//! The patcher: batch after batch, until the budget is spent.

use std::time::{Duration, Instant};

use textpoke_core::{Direction, Kind, Site, Unit, Verdict, drive};
use textpoke_linux::process::{self, Error};
use textpoke_linux::sync;

use super::HUNG;
use super::executor::{Executor, Hung};
use super::text::Text;
use crate::machine::{Raw, peek};
use crate::shared::{Shared, count};
use crate::spec::{Budget, Spec};
use crate::variant::{By, Stores, Variant};

/// How a loop of batches ends before its time.
enum End {
    Hung,
    Refused(String),
}

impl From<Hung> for End {
    fn from(Hung: Hung) -> Self {
        Self::Hung
    }
}

/// Changes the site there and back while the executor runs; returns the exit code.
///
/// # Errors
/// In words, when the variant cannot be run here.
pub fn flip(
    spec: &Spec,
    variant: &Variant,
    text: Text,
    executor: &Executor,
    shared: &'static Shared,
) -> Result<u8, String> {
    // Tables point to it until the process ends.
    let text: &'static Text = Box::leak(Box::new(text));
    let mut clock = Clock::new(spec.budget, shared);
    let ended = match variant.by {
        By::Live(kind) => live(kind, text.site(), executor, &mut clock),
        By::Raw(stores) => raw(stores, text, executor, &mut clock),
    };
    match ended.and_then(|()| Ok(executor.stop()?)) {
        Ok(()) => Ok(0),
        Err(End::Hung) => {
            count(&shared.patcher.hung);
            Ok(HUNG)
        }
        Err(End::Refused(why)) => Err(why),
    }
}

/// A protocol of ours, by the library's machine.
fn live(kind: Kind, site: Site, executor: &Executor, clock: &mut Clock) -> Result<(), End> {
    process::prepare().map_err(|e| End::Refused(e.to_string()))?;
    let several = site.inner != 0;
    let mut dir = Direction::Install;
    executor.settled(false);
    while clock.goes_on() {
        clock.pause(executor);
        if several {
            executor.catch();
        }
        executor.either();
        // SAFETY: 1. both forms, the copy, and what they branch to were made for this. 2. Nobody branches into the
        // site, nobody else writes to it, and it stays mapped. 3. Nothing is in use below the stack pointer. 4. This is
        // what is to be found out, in a process that is made to be lost. 5. No thread blocks SIGTRAP.
        match unsafe { process::apply(&[site], kind, dir) } {
            Ok(_) => {
                clock.flipped();
                dir = dir.opposite();
            }
            // A thread was not looked at in time, on a busy machine; everything is as before.
            Err(Error::Failed(Verdict::Undone(_))) => count(&clock.shared.patcher.undone),
            Err(error) => return Err(End::Refused(error.to_string())),
        }
        executor.settled(dir == Direction::Remove);
    }
    Ok(())
}

/// A variant: the batches that the checker explores, with the old form put back behind them while nobody runs.
fn raw(stores: Stores, text: &'static Text, executor: &Executor, clock: &mut Clock) -> Result<(), End> {
    let subject = &text.subject;
    let window = text.window().map_err(End::Refused)?;
    let site: &'static [Site; 1] = core::array::from_ref(&subject.site);
    let old = &site[0].old[..site[0].len()];
    executor.settled(false);
    while clock.goes_on() {
        for batch in &subject.batches {
            clock.pause(executor);
            if subject.several {
                executor.catch();
            }
            executor.either();
            let dir = batch.dir;
            let retire = subject.world.retire;
            let mut machine = Raw { site, stores, dir, retire, window: &window, executor, hung: false };
            let verdict = drive(batch.run(), &mut machine);
            match verdict {
                _ if machine.hung => return Err(End::Hung),
                Verdict::Performed(dir) => {
                    clock.flipped();
                    executor.settled(dir == Direction::Install);
                }
                Verdict::Undone(_) | Verdict::Broken(..) => {
                    return Err(End::Refused(format!("the machine of variants failed: {verdict:?}")));
                }
            }
        }
        if (site[0].addr..).zip(old).any(|(at, &byte)| peek(at) != byte) {
            clock.pause(executor);
            executor.hold()?;
            // SAFETY: inside the window; nobody executes it.
            unsafe { window.store(site[0].addr, old, Unit::Byte) };
            sync::cores().map_err(|e| End::Refused(format!("membarrier failed ({e})")))?;
            executor.settled(false);
            executor.release();
        }
    }
    Ok(())
}

/// When to end, and pauses of changing length.
struct Clock {
    budget: Budget,
    end: Instant,
    shared: &'static Shared,
    turns: u64,
    random: u64,
}

impl Clock {
    fn new(budget: Budget, shared: &'static Shared) -> Self {
        let span = if let Budget::Time(nanos) = budget { nanos } else { 0 };
        let end = Instant::now() + Duration::from_nanos(span);
        Self { budget, end, shared, turns: 0, random: textpoke_cpu::timestamp() | 1 }
    }

    fn goes_on(&mut self) -> bool {
        self.turns += 1;
        if !self.turns.is_multiple_of(8) {
            return true;
        }
        let counts = self.shared.counts();
        let little = counts.flips < 2 || counts.old == 0 || counts.new == 0;
        match self.budget {
            Budget::UntilSeen { executions, flips } => {
                counts.failures() == 0 && (little || counts.executions < executions || counts.flips < flips)
            }
            // On a busy machine nothing may have happened when the time is over; then there is nothing to judge by.
            Budget::Time(_) => (little && counts.failures() == 0) || Instant::now() < self.end,
        }
    }

    fn flipped(&self) {
        count(&self.shared.patcher.flips);
    }

    /// Lets the executor run through the code as it is, a few times or many.
    fn pause(&mut self, executor: &Executor) {
        if executor.one_cpu {
            return executor.give_way();
        }
        // Xorshift: the next batch should meet the executor anywhere.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        // Mostly short ones, and some long ones, during which it settles in the new code.
        let longest = if self.random >> 32 & 7 == 0 { 64 } else { 1 };
        for _ in 0..self.random % longest {
            std::hint::spin_loop();
        }
    }
}
