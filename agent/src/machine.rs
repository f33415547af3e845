//! One batch, performed: [`Live`] with the two steps that only the tracer can do, a journal, and a stopwatch.

use core::sync::atomic::Ordering::Relaxed;

use textpoke_core::journal::{Header, MAGIC, State, VERSION};
use textpoke_core::{Cause, Direction, Kind, Machine, Outcome, Plan, Run, Site, Step, Verdict, drive};
use textpoke_linux::cpu::timestamp as now;
use textpoke_linux::live::{Hooks, Live};
use textpoke_linux::{Host, Prot, Published, Range};
use textpoke_trace::control::{Control, MAX_RANGES, MAX_STEPS, ToSidecar, ToTracer};
use textpoke_trace::layout::JOURNAL_BYTES;

use crate::params::{control, journal, params, published};
use crate::talk::{Gone, Line};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The protocol.
    pub kind: Kind,
    /// The direction.
    pub dir: Direction,
    /// Index of the first site.
    pub first: u64,
    /// Number of sites.
    pub count: u64,
    /// Whether the sites may hold anything that an interrupted batch leaves.
    pub mixed: bool,
}

/// How an order ended.
pub enum End {
    /// As the protocol says.
    Verdict(Verdict),
    /// It made no sense; nothing was done.
    Refused,
}

/// Performs one batch. When the tracer goes away meanwhile, the batch ends by itself.
pub fn perform(line: &Line, order: Order) -> End {
    let Some(sites) = adopt(order) else { return End::Refused };
    let Ok(plan) = Plan::<Host>::new(sites) else { return End::Refused };
    if plan.suits(order.kind).is_err() {
        return End::Refused;
    }
    let mut ranges = [Range::new(0, 0, Prot(0)); MAX_RANGES];
    let Some(ranges) = read_ranges(control(), &mut ranges) else { return End::Refused };
    let hooks = Remote { line, parked: false };
    // SAFETY: 1., 2. the tracer's plan and its ranges, for text of this address space; copies and stand-ins are in the
    // image's own mapping. 3. The tracer sees every trap first, and the handler decides by the same table when it is
    // gone. 4. The sidecar performs one batch at a time and has registered. 5. The copy of the sites is never unmapped
    // by the sidecar, and not changed after a broken batch, because no further batch is accepted.
    let live = unsafe { Live::new(plan, order.kind, order.dir, ranges, published(), hooks) };
    let mut steps = [Step::Maintain; MAX_STEPS];
    let run = if order.mixed {
        let (forth, back) = (order.kind.program(order.dir), order.kind.program(order.dir.opposite()));
        Run::custom(without_expectation(forth, &mut steps), back, order.dir)
    } else {
        live.run()
    };
    let mut timed = Timed { live, order, steps: 0 };
    control().report.steps.store(0, Relaxed);
    let verdict = drive(run, &mut timed);
    control().report.membarriers.store(timed.live.syncs(), Relaxed);
    End::Verdict(verdict)
}

/// Copies the order's sites from DATA to TABLE, where the trap handlers of fork children find them too.
fn adopt(order: Order) -> Option<&'static [Site]> {
    let p = params();
    let end = order.first.checked_add(order.count)?;
    if order.count == 0 || end > p.site_capacity.load(Relaxed) {
        return None;
    }
    // Handlers may still read the table of an earlier batch, whose sites could be the ones to be overwritten.
    published().withdraw();
    published().drain(1_000_000_000).ok()?;
    let from = (p.journal.load(Relaxed) as usize + JOURNAL_BYTES) as *const Site;
    let to = p.site_copy.load(Relaxed) as *mut Site;
    // SAFETY: both arrays have `site_capacity` elements, which `end` does not exceed; DATA and TABLE are different
    // mappings. A site is plain data, whatever the bytes. Nobody reads the copy: no table is published and none in use.
    unsafe {
        let (first, count) = (order.first as usize, order.count as usize);
        core::ptr::copy_nonoverlapping(from.add(first), to.add(first), count);
        Some(core::slice::from_raw_parts(to.add(first), count))
    }
}

fn read_ranges<'a>(control: &Control, into: &'a mut [Range; MAX_RANGES]) -> Option<&'a [Range]> {
    let into = into.get_mut(..control.range_count.load(Relaxed) as usize)?;
    for (range, shared) in into.iter_mut().zip(&control.ranges) {
        let prot = Prot(shared.prot.load(Relaxed) as u32);
        *range = Range::new(shared.start.load(Relaxed), shared.end.load(Relaxed), prot);
    }
    Some(into)
}

/// A program that takes the sites as they are.
fn without_expectation<'a>(program: &[Step], into: &'a mut [Step; MAX_STEPS]) -> &'a [Step] {
    let kept = program.iter().filter(|&&step| step != Step::Verify { after: false });
    let len = into.iter_mut().zip(kept).map(|(to, &step)| *to = step).count();
    &into[..len.min(MAX_STEPS)]
}

/// What the sidecar asks the tracer to do.
struct Remote<'a> {
    line: &'a Line,
    /// Everybody else is parked.
    parked: bool,
}

impl Remote<'_> {
    fn ask(&self, what: ToTracer) -> Result<(), Cause> {
        self.line.say(what);
        match self.line.hear() {
            Ok(Some(ToSidecar::Answer(words))) => match Outcome::from_words(words) {
                Some(Outcome::Ok) => Ok(()),
                Some(Outcome::Failed(cause)) => Err(cause),
                Some(Outcome::Start) | None => Err(Cause::Unsupported),
            },
            Ok(_) => Err(Cause::Unsupported),
            // Its memory has no other user: nothing to be restored, nobody to be told.
            Err(Gone::Target) => textpoke_linux::sys::exit_group(0),
            Err(Gone::Tracer) => Err(Cause::TimedOut),
        }
    }
}

impl Hooks for Remote<'_> {
    fn await_none_inside(&mut self, _: &[Site]) -> Result<(), Cause> {
        self.ask(ToTracer::AwaitNoneInside)
    }

    fn park(&mut self) -> Result<(), Cause> {
        self.ask(ToTracer::Park)?;
        self.parked = true;
        Ok(())
    }

    /// Whose tracer is gone is parked no more: the kernel has let everybody go.
    fn unpark(&mut self) -> Result<(), Cause> {
        match self.ask(ToTracer::Unpark) {
            Err(cause) if !self.line.tracer_is_gone() => return Err(cause),
            _ => self.parked = false,
        }
        Ok(())
    }

    fn release(&mut self) {
        if self.parked {
            let _ = self.unpark();
        }
    }

    /// Without a tracer nobody can tell whether a thread has a trap pending, so the handler stays for ever and the table
    /// until the next batch replaces it. A thread that is late beyond that finds its trap byte gone and executes what is
    /// there, for which no table is needed.
    fn retire(&mut self, published: &Published) -> Result<(), Cause> {
        match self.ask(ToTracer::Retire) {
            Ok(()) => {
                published.withdraw();
                published.drain(1_000_000_000).map_err(|_| Cause::TimedOut)
            }
            Err(_) if self.line.tracer_is_gone() => Ok(()),
            Err(cause) => Err(cause),
        }
    }
}

/// Keeps the journal and measures steps.
struct Timed<'a> {
    live: Live<'a, Remote<'a>>,
    order: Order,
    steps: usize,
}

impl Machine for Timed<'_> {
    fn perform(&mut self, step: Step) -> Result<(), Cause> {
        if step == Step::Publish || matches!(step, Step::Store { .. }) && self.order.kind == Kind::Word {
            // Before the first byte of text changes.
            write_journal(State::Busy, self.order.first + self.order.count, self.order.first);
        }
        if let Step::Undo(_) = step {
            self.turn();
        }
        let start = now();
        let result = self.live.perform(step);
        if let Some(ticks) = control().report.ticks.get(self.steps) {
            ticks.store(now().wrapping_sub(start), Relaxed);
            self.steps += 1;
            control().report.steps.store(self.steps as u32, Relaxed);
        }
        if let Step::Done(verdict) = step {
            self.done(verdict);
        }
        result
    }
}

const _: () = assert!(MAX_STEPS >= 2 * 20, "a batch and its way back");

impl Timed<'_> {
    /// The tracer resolves traps too, and must do so in the new direction before text changes in it. Without a tracer
    /// the published table is all there is.
    fn turn(&mut self) {
        let dir = self.order.dir.opposite().to_raw();
        let _ = self.live.hooks().ask(ToTracer::Turned(dir));
    }

    fn done(&self, verdict: Verdict) {
        let Order { dir, first, count, .. } = self.order;
        let installed = match (verdict, dir) {
            (Verdict::Performed(Direction::Install), _) | (Verdict::Undone(_), Direction::Remove) => first + count,
            (Verdict::Performed(Direction::Remove), _) | (Verdict::Undone(_), Direction::Install) => first,
            (Verdict::Broken(..), _) => return,
        };
        let state = if installed == 0 { State::Idle } else { State::Installed };
        write_journal(state, installed, installed);
    }
}

/// `sites`: how many there are, of which those from `first` on are being changed.
fn write_journal(state: State, sites: u64, first: u64) {
    let header = Header { magic: MAGIC, version: VERSION, state: state as u32, sites, first };
    // SAFETY: the journal is mapped, and only the sidecar writes its header. Volatile: others read it, when this process
    // is no more. The order of the fields does not matter, for whoever repairs compares every site with its two forms.
    unsafe { journal().write_volatile(header) };
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
}
