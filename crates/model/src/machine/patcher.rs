//! The weakest effect of every step that `docs/contract.md` allows.

use textpoke_core::{Direction, Step, Verdict};

use super::{Machine, Sink};
use crate::action::Action;
use crate::property::Violation;
use crate::scenario::{Handler, Order, Repairer, RetireRule};
use crate::script::{NONE, Node, Piece};
use crate::state::*;

impl Machine {
    /// What the patcher may do now.
    pub(super) fn patcher<const N: usize>(&self, s: &State<N>, out: &mut impl Sink<N>) {
        let node = self.node(s);
        if node.kill != NONE && !matches!(node.step, Step::Done(_)) {
            let mut to = *s;
            to.misc &= !(PARKING | OLD_IS_RIGHT | NEW_IS_RIGHT);
            to.threads = to.threads.map(|th| th.without(PARKED));
            let clean = self.world.repairer == Repairer::SkipsClean && s.text == self.text.all(Direction::Install);
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
                to.misc &= !(OLD_IS_RIGHT | NEW_IS_RIGHT);
                self.go(to, node.ok, Action::Begins, out);
            }
            Step::Done(_) => {}
            Step::Store { .. } => {
                self.store(s, node, out);
                self.fail(*s, node, false, out);
            }
            Step::SyncCores => self.rounds(s, node, ACKED, out),
            Step::AwaitNoneInside => self.rounds(s, node, SEEN, out),
            Step::Park => self.rounds(s, node, PARKED, out),
            step => {
                if self.enabled(s, step) {
                    let mut to = *s;
                    let ok = self.effect(&mut to, node);
                    match ok {
                        Ok(true) => {
                            self.go(to, node.ok, Action::Performs { step, dir: node.dir }, out);
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
        step != Step::Retire || s.threads.iter().all(|&th| !self.keeps_table(s, th))
    }

    /// Whether `Retire` has to wait for this thread.
    fn keeps_table<const N: usize>(&self, s: &State<N>, th: Thread) -> bool {
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
            Step::Open => s.misc |= OPEN,
            Step::Close => s.misc &= !OPEN,
            Step::Verify { after } => {
                let dir = if after { node.dir.opposite() } else { node.dir };
                return Ok(s.text == self.text.all(dir));
            }
            Step::Publish => {
                s.set_table(match node.dir {
                    Direction::Install => 1,
                    Direction::Remove => 2,
                });
                s.misc |= HANDLER;
            }
            Step::Retire => self.withdraw(s),
            Step::Unpark => {
                s.misc &= !PARKING;
                let text = s.text;
                s.threads = s.threads.map(|th| self.synchronise(th.without(PARKED), text));
            }
            _ => {}
        }
        Ok(true)
    }

    fn withdraw<const N: usize>(&self, s: &mut State<N>) {
        s.set_table(0);
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
        if s.table() != 0 && s.threads.iter().any(|th| th.stage() == Stage::Holds && th.table() != 0) {
            return Err(Violation::TableInUse);
        }
        self.withdraw(s);
        if s.misc & OPEN != 0 {
            return Err(Violation::LeftWritable);
        }
        if self.world.foreign {
            return Ok(());
        }
        if s.text != self.text.all(right.opposite()) {
            return Err(Violation::WrongText);
        }
        s.misc |= if right == Direction::Install { NEW_IS_RIGHT } else { OLD_IS_RIGHT };
        Ok(())
    }

    fn store<const N: usize>(&self, s: &State<N>, node: &Node, out: &mut impl Sink<N>) {
        let (from, to) = node.pieces;
        for i in 0..to - from {
            let any = self.world.order == Order::Any;
            let pending = if any { s.sub >> i & 1 == 0 } else { s.sub <= i };
            let piece = &self.script.pieces[usize::from(from + i)];
            if !pending || is_there(piece, s.text) {
                continue;
            }
            let action = Action::Stores { piece: from + i };
            if self.world.foreign {
                out.take(0, action, Err(Violation::ForeignLost));
                return;
            }
            let mut next = *s;
            next.text = s.text & !piece.mask | piece.value;
            next.sub = if any { s.sub | 1 << i } else { i + 1 };
            if self.world.profile == crate::scenario::Profile::Intel {
                next.threads = next.threads.map(|th| Thread { fetch: th.fetch | piece.seen, ..th });
            }
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
            if flag == PARKED {
                to.misc |= PARKING;
            }
            out.take(0, Action::Asks { step: node.step }, Ok(to));
        } else if s.threads.iter().all(|th| th.is(flag)) {
            self.go(*s, node.ok, Action::AllDid { step: node.step }, out);
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
        let settled = self.settle(&mut s);
        out.take(0, action, settled.map(|()| s));
    }

    /// Performs the steps at hand that commute with everything, so that they are no transitions of their own.
    pub(super) fn settle<const N: usize>(&self, s: &mut State<N>) -> Result<(), Violation> {
        loop {
            let node = self.node(s);
            let ok = match node.step {
                Step::Done(verdict) => {
                    // A table that nobody retired is withdrawn at a moment of its own: handlers may read it before.
                    if s.sub == 0 && (s.table() == 0 || matches!(verdict, Verdict::Broken(..))) {
                        self.release(s, node, verdict)?;
                        s.sub = 1;
                    }
                    return Ok(());
                }
                Step::Store { .. } => {
                    if s.misc & OPEN == 0 {
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
                Step::Open | Step::Close | Step::Maintain | Step::Verify { .. } if node.fail == NONE => {
                    self.effect(s, node)?
                }
                _ => return Ok(()),
            };
            s.node = if ok { node.ok } else { node.mismatch };
            s.sub = 0;
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

fn is_there(piece: &Piece, text: u32) -> bool {
    text & piece.mask == piece.value
}
