//! The weakest effect of every step that `docs/contract.md` allows.

use textpoke_core::{Direction, Step, Verdict};

use super::store::is_there;
use super::{Machine, Sink};
use crate::action::Action;
use crate::nmi::Entry;
use crate::property::Violation;
use crate::scenario::{Fetch, Handler, IsaId, Order, Repairer, RetireRule, Unfenced};
use crate::script::{NONE, Node};
use crate::state::*;
use crate::text::Text;

impl Machine {
    /// What the patcher may do now.
    pub(super) fn patcher<const N: usize>(&self, s: &State<N>, out: &mut impl Sink<N>) {
        if s.threads[N - 1].is(PATCHER) && s.threads[N - 1].visit() != Visit::None {
            // An NMI runs on its CPU.
            return;
        }
        self.becomes_visible(s, out);
        let node = self.node(s);
        if node.kill != NONE && !matches!(node.step, Step::Done(_)) {
            let mut to = *s;
            to.misc &= !PARKING;
            to.set_right(0);
            to.drain();
            to.threads = to.threads.map(|th| th.without(PARKED));
            let clean = self.world.repairer == Repairer::SkipsClean && s.text == self.text.all(0, Direction::Install);
            if clean {
                // It does find the window that the dead one left open.
                to.misc &= !OPEN;
            }
            self.go(to, if clean { self.script.leave } else { node.kill }, Action::Dies, out);
        }
        match node.step {
            Step::Done(verdict) if s.sub == 0 => {
                let mut to = *s;
                to.sub = 1;
                let released = self.release(&mut to, node, verdict);
                out.take(0, Action::Performs { step: node.step, dir: node.dir }, released.map(|()| to));
            }
            Step::Done(_) if node.ok != NONE => {
                let mut to = *s;
                to.set_right(0);
                self.go(to, node.ok, Action::Begins, out);
            }
            Step::Done(_) => {}
            Step::Store { .. } => {
                self.store(s, node, out);
                self.fail(*s, node, false, out);
            }
            Step::Record if s.sub == 0 => {
                let mut to = *s;
                to.sub = 1;
                self.data(&mut to, DataStore::Address(node.record), self.world.unfenced != Some(Unfenced::Record));
                out.take(0, Action::Records { bytes: false }, Ok(to));
                self.fail(*s, node, false, out);
            }
            Step::SyncCores => self.rounds(s, node, ACKED, out),
            Step::AwaitNoneInside => self.rounds(s, node, SEEN, out),
            // Everybody is parked already: nothing to do, and nothing that could fail.
            Step::Park if s.sub == 0 && s.misc & PARKING != 0 => {
                self.go(*s, node.ok, Action::AllDid { step: node.step }, out);
            }
            Step::Park => self.rounds(s, node, PARKED, out),
            step => {
                if self.enabled(s, step) {
                    let mut to = *s;
                    let ok = self.effect(&mut to, node);
                    match ok {
                        Ok(true) => {
                            let action = match step {
                                Step::Record => Action::Records { bytes: true },
                                step => Action::Performs { step, dir: node.dir },
                            };
                            self.go(to, node.ok, action, out);
                            // It may fail although all of its work was done.
                            if to != *s {
                                self.fail(to, node, true, out);
                            }
                        }
                        Ok(false) => {
                            to.node = node.mismatch;
                            match self.expected_end(&to, false) {
                                Ok(()) => self.go(to, node.mismatch, Action::Mismatch, out),
                                Err(v) => out.take(0, Action::Mismatch, Err(v)),
                            }
                        }
                        Err(v) => out.take(0, Action::Performs { step, dir: node.dir }, Err(v)),
                    }
                }
                self.fail(*s, node, false, out);
            }
        }
    }

    /// Whether a step that happens at once can happen now.
    fn enabled<const N: usize>(&self, s: &State<N>, step: Step) -> bool {
        match step {
            Step::Retire => s.threads.iter().all(|&th| !self.keeps_table(s, th)),
            // Those that came in since need not have ended.
            Step::AwaitNmis => s.threads.iter().all(|th| th.is(ACKED | PATCHER)),
            // An NMI that does not count itself is waited for by nobody.
            Step::Announce { idle: true } => !self.nmis_count() || s.running() == 0,
            _ => true,
        }
    }

    /// Whether `Retire` has to wait for this thread, or for what it will go on with after its NMI.
    fn keeps_table<const N: usize>(&self, s: &State<N>, th: Thread) -> bool {
        self.frame_keeps_table(s, th) || th.below().is_some_and(|below| self.frame_keeps_table(s, below))
    }

    fn frame_keeps_table<const N: usize>(&self, s: &State<N>, th: Thread) -> bool {
        let Some(spot) = th.spot() else { return false };
        let own = spot.site == OWN;
        match (self.world.retire, self.world.handler, th.stage()) {
            (_, _, Stage::Program) => false,
            (_, _, Stage::Holds) => th.table() != 0 || self.world.handler == Handler::Leaves && !own,
            (RetireRule::RunningOnly, _, stage) => stage == Stage::Looked,
            (RetireRule::Contract, _, _) if own => false,
            (RetireRule::Contract, Handler::Leaves, _) => true,
            // Whoever stays recognises a trap whose byte has gone: it executes the address again.
            (RetireRule::Contract, Handler::Stays, _) => self.trap_stands(s.text, spot),
        }
    }

    /// The effect of a step that happens at once. False: it found a mismatch.
    fn effect<const N: usize>(&self, s: &mut State<N>, node: &Node) -> Result<bool, Violation> {
        match node.step {
            Step::Open if self.world.writable => {}
            Step::Open => s.misc |= OPEN,
            Step::Close => s.misc &= !OPEN,
            Step::Verify { after } => {
                let dir = if after { node.dir.opposite() } else { node.dir };
                return Ok(s.text == self.text.all(usize::from(node.set), dir));
            }
            Step::Publish => {
                let table = DataStore::Table(1 + 2 * node.set + u8::from(node.dir == Direction::Remove));
                self.data(s, table, self.world.unfenced != Some(Unfenced::Publish));
                s.misc |= HANDLER;
            }
            Step::Maintain => {
                s.drain();
                self.maintain(s, None);
            }
            Step::Record => {
                self.data(s, DataStore::Bytes(node.record), self.world.unfenced != Some(Unfenced::Record));
            }
            Step::Announce { .. } => match self.world.unfenced {
                Some(Unfenced::Announce) => self.data(s, DataStore::Flag(node.record), false),
                // Announced without the order that should make the record visible before. x86-64 knows no such atomic.
                Some(Unfenced::Record) if self.isa() != IsaId::X86 => s.apply(DataStore::Flag(node.record)),
                _ => self.data(s, DataStore::Flag(node.record), true),
            },
            Step::Withdraw => self.data(s, DataStore::Flag(0), true),
            Step::Pause if self.world.bounded_staleness => {
                let text = s.text;
                s.threads = s.threads.map(|th| self.synchronise(th, text));
            }
            Step::Retire => self.withdraw(s),
            Step::Unpark => {
                s.misc &= !PARKING;
                let text = s.text;
                s.threads = s.threads.map(|th| match th.visit() {
                    _ if !self.world.unpark_synchronises => th.without(PARKED),
                    Visit::None => self.synchronise(th.without(PARKED), text),
                    // The NMI goes on as it is; the thread below it synchronises before it goes on.
                    _ => th.without(PARKED).with(DUE),
                });
            }
            _ => {}
        }
        Ok(true)
    }

    fn nmis_count(&self) -> bool {
        self.world.nmi.is_some_and(|nmi| nmi.entry != Entry::Plain)
    }

    /// Whether the text can be written.
    pub(super) fn is_open<const N: usize>(&self, s: &State<N>) -> bool {
        self.world.writable || s.misc & OPEN != 0
    }

    fn withdraw<const N: usize>(&self, s: &mut State<N>) {
        s.drain();
        s.apply(DataStore::Table(0));
        if self.world.handler == Handler::Leaves {
            s.misc &= !HANDLER;
        }
    }

    /// The call returns: whatever the machine still held is released, without waiting for anybody.
    fn release<const N: usize>(&self, s: &mut State<N>, node: &Node, verdict: Verdict) -> Result<(), Violation> {
        let right = match verdict {
            // Traps may still stand in the text: everything stays as it is for whoever repairs.
            Verdict::Broken(..) => return Ok(()),
            Verdict::Performed(dir) => dir,
            Verdict::Undone(_) => node.first.opposite(),
        };
        let decides = |th: &Thread| th.stage() == Stage::Holds && th.table() != 0;
        if s.table() != 0 && s.threads.iter().any(|th| decides(th) || th.below().is_some_and(|th| decides(&th))) {
            return Err(Violation::TableInUse);
        }
        self.withdraw(s);
        if s.misc & PARKING != 0 {
            return Err(Violation::LeftParked);
        }
        // The live protocol's record is the borrowed plan; the others' buffers stay for good.
        let helps = |th: &Thread| th.visit().helps() || th.nested().helps();
        if s.misc & TWO_BUFFERS != 0 && (s.announced() != 0 || s.threads.iter().any(helps)) {
            return Err(Violation::RecordInUse);
        }
        if s.misc & OPEN != 0 {
            return Err(Violation::LeftWritable);
        }
        if self.world.foreign {
            return Ok(());
        }
        if s.text != self.text.all(usize::from(node.set), right.opposite()) {
            return Err(Violation::WrongText);
        }
        s.set_right(Text::version(node.set, right));
        Ok(())
    }

    fn store<const N: usize>(&self, s: &State<N>, node: &Node, out: &mut impl Sink<N>) {
        if self.behind_data(s) {
            return;
        }
        let (from, to) = node.pieces;
        let meets = s.threads.iter().any(|th| th.visit() != Visit::None);
        for i in 0..to - from {
            let any = self.world.order == Order::Any;
            let pending = if any { s.sub >> i & 1 == 0 } else { s.sub <= i };
            let piece = &self.script.pieces[usize::from(from + i)];
            if !pending || is_there(piece, s.text) {
                continue;
            }
            let action = Action::Stores { piece: from + i, nmi: false, meets };
            if self.world.foreign {
                out.take(0, action, Err(Violation::ForeignLost));
                return;
            }
            let mut next = *s;
            next.sub = if any { s.sub | 1 << i } else { i + 1 };
            self.write(&mut next, piece);
            let settled = self.settle(&mut next);
            out.take(0, action, settled.map(|()| next));
            if !any {
                return;
            }
        }
    }

    /// A step that asks every thread for something and ends when all have answered.
    fn rounds<const N: usize>(&self, s: &State<N>, node: &Node, flag: u64, out: &mut impl Sink<N>) {
        // Looking at threads needs nobody to be asked.
        if s.sub == 0 && flag != SEEN {
            let mut to = *s;
            to.sub = 1;
            to.drain();
            if flag == PARKED {
                to.misc |= PARKING;
            }
            out.take(0, Action::Asks { step: node.step }, Ok(to));
        } else if s.threads.iter().all(|th| th.is(flag | PATCHER)) {
            let mut to = *s;
            if flag == ACKED && to.threads[N - 1].is(PATCHER) {
                to.threads[N - 1] = self.synchronise(to.threads[N - 1], s.text);
            }
            self.go(to, node.ok, Action::AllDid { step: node.step }, out);
        }
        let mut to = *s;
        if flag == PARKED {
            to.misc &= !PARKING;
            to.threads = to.threads.map(|th| th.without(PARKED));
        }
        self.fail(to, node, false, out);
    }

    fn fail<const N: usize>(&self, s: State<N>, node: &Node, done: bool, out: &mut impl Sink<N>) {
        if node.fail != NONE {
            self.go(s, node.fail, Action::Fails { step: node.step, done }, out);
        }
    }

    /// Goes to another step and through those that have no effect that anybody could see.
    fn go<const N: usize>(&self, mut s: State<N>, node: u16, action: Action, out: &mut impl Sink<N>) {
        s.node = node;
        s.sub = 0;
        s.threads = s.threads.map(|th| th.without(ACKED | SEEN));
        self.await_those_that_run(&mut s);
        let settled = self.settle(&mut s);
        out.take(0, action, settled.map(|()| s));
    }

    /// Where an `AwaitNmis` begins: it is for the NMIs that are counted now.
    pub(super) fn await_those_that_run<const N: usize>(&self, s: &mut State<N>) {
        if self.node(s).step == Step::AwaitNmis {
            let awaited = |th: &Thread| self.nmis_count() && th.counted() > 0;
            s.threads = s.threads.map(|th| if awaited(&th) { th } else { th.with(ACKED) });
        }
    }

    /// Performs the steps at hand that commute with everything, so that they are no transitions of their own.
    pub(super) fn settle<const N: usize>(&self, s: &mut State<N>) -> Result<(), Violation> {
        loop {
            let node = self.node(s);
            let ok = match node.step {
                Step::Done(verdict) => {
                    // A table that nobody retired is withdrawn at a moment of its own: handlers may read it before.
                    if s.sub == 0
                        && (s.table() == 0 && s.pending(0).is_none() || matches!(verdict, Verdict::Broken(..)))
                    {
                        self.release(s, node, verdict)?;
                        s.sub = 1;
                    }
                    return Ok(());
                }
                Step::Store { .. } => {
                    if !self.is_open(s) {
                        return Err(Violation::Fault);
                    }
                    let (from, to) = node.pieces;
                    let left = (0..to - from).any(|i| {
                        let pending = self.world.order == Order::Any || s.sub <= i;
                        pending && !is_there(&self.script.pieces[usize::from(from + i)], s.text)
                    });
                    if left {
                        return Ok(());
                    }
                    true
                }
                Step::Undo(_) => true,
                // What waits in the store buffer leaves it at a moment of its own, or behind a barrier.
                Step::Open | Step::Close | Step::Verify { .. } if node.fail == NONE => self.effect(s, node)?,
                Step::Maintain if node.fail == NONE && self.fetch != Fetch::Caches && s.pending(0).is_none() => true,
                Step::Pause if !self.world.bounded_staleness && node.fail == NONE => true,
                _ => return Ok(()),
            };
            s.node = if ok { node.ok } else { node.mismatch };
            s.sub = 0;
            self.await_those_that_run(s);
            self.expected_end(s, ok)?;
        }
    }
}

impl Machine {
    /// Steps may fail, but if they do not, no way ends with bytes that nobody can explain.
    fn expected_end<const N: usize>(&self, s: &State<N>, ok: bool) -> Result<(), Violation> {
        match self.node(s).step {
            Step::Done(Verdict::Broken(..)) if !ok => Err(Violation::NotUndone),
            _ => Ok(()),
        }
    }
}
