//! Non-maskable interrupts: they come at any moment, parking does not stop them, and they may execute the sites.

use textpoke_core::{Step, nmi};

use super::store::is_there;
use super::{Machine, Sink, Who};
use crate::action::{Action, NmiStep};
use crate::nmi::{Entry, Nesting};
use crate::property::Violation;
use crate::script::Piece;
use crate::state::*;

impl Machine {
    /// An NMI comes in at CPU `t`, between any two instructions, also into the trap handler, also while it is parked, and
    /// into another NMI where that is possible.
    pub(super) fn nmi_arrives<const N: usize>(&self, s: &State<N>, t: usize, out: &mut impl Sink<N>) {
        let th = s.threads[t];
        let who = self.who::<N>(th, t);
        let Some(world) = self.world.nmi.filter(|_| th.nmis_left() > 0) else { return };
        let inside = th.visit() != Visit::None;
        if inside && world.nests == Nesting::Kills && th.is(UNMASKED) {
            let step = NmiStep::Arrives { meanwhile: false, inside };
            return out.take(who, Action::Nmi { step }, Err(Violation::NestedNmi));
        }
        if inside && (world.nests != Nesting::Runs || !th.can_nest()) {
            return;
        }
        let mut to = *s;
        to.threads[t] = self.redirect(if inside { th.nests() } else { th.interrupted() });
        if !world.acquires && !inside {
            let (addresses, bytes) = s.records();
            to.threads[t] = to.threads[t].with_record(addresses & bytes);
        }
        if th.is(PATCHER) {
            // It sees its own CPU's stores; so must all others that it can meet from now on.
            to.drain();
        }
        if world.entry == Entry::Plain {
            to.threads[t] = to.threads[t].visiting(Visit::Handles);
        }
        let node = self.node(s);
        let begun = s.text != self.text.all(usize::from(node.set), node.dir);
        let meanwhile = begun && !matches!(node.step, Step::Done(_));
        out.take(who, Action::Nmi { step: NmiStep::Arrives { meanwhile, inside } }, Ok(to));
    }

    /// The NMI of CPU `t` is over.
    pub(super) fn nmi_leaves<const N: usize>(&self, s: &State<N>, t: usize, out: &mut impl Sink<N>) {
        let th = s.threads[t];
        if th.stage() != Stage::Program || th.spot().is_some() {
            return;
        }
        let mut to = *s;
        let back = self.redirect(if th.nested() == Visit::None { th.resumed() } else { th.unnested() });
        to.threads[t] = match back.visit() {
            Visit::None if back.is(DUE) => self.synchronise(back.without(DUE), s.text),
            _ => back,
        };
        if back.visit() == Visit::None && self.node(s).step == Step::AwaitNmis {
            to.threads[t] = to.threads[t].with(ACKED);
        }
        out.take(self.who::<N>(th, t), Action::Nmi { step: NmiStep::Leaves }, Ok(to));
    }

    /// What an NMI does before its work.
    pub(super) fn nmi_gets_on<const N: usize>(&self, s: &State<N>, t: usize, out: &mut impl Sink<N>) {
        let th = s.threads[t];
        let who = self.who::<N>(th, t);
        let Some(world) = self.world.nmi else { return };
        let mut to = *s;
        let announced = s.announced() != 0;
        let helps = |announced| if announced { Visit::Address } else { Visit::Handles };
        let (step, next) = match th.visit() {
            Visit::None | Visit::Handles => return,
            Visit::Arrived => {
                match world.entry {
                    Entry::Plain | Entry::Counts => (NmiStep::Counts, Visit::Handles),
                    Entry::AsWritten => (NmiStep::Counts, Visit::Counted),
                    Entry::Atomic => (NmiStep::Enters { announced }, helps(announced)),
                    Entry::Visit => {
                        let read_early = !world.acquires && announced && th.record() & s.announced() == 0;
                        if read_early {
                            let step = Action::Nmi { step: NmiStep::Enters { announced } };
                            return out.take(who, step, Err(Violation::Mismatched));
                        }
                        // The announcement says which buffer.
                        to.threads[t] = th.with_record(s.announced());
                        (NmiStep::Enters { announced }, self.live_entry(announced))
                    }
                }
            }
            Visit::Counted => (NmiStep::Reads { announced }, helps(announced)),
            Visit::Address => {
                let (addresses, _) = s.records();
                let record = if world.entry == Entry::Visit { th.record() } else { addresses };
                to.threads[t] = th.with_record(record);
                if addresses & record == 0 {
                    return out.take(who, Action::Nmi { step: NmiStep::Address }, Err(Violation::Mismatched));
                }
                (NmiStep::Address, Visit::Bytes)
            }
            Visit::Bytes => {
                // Nothing in the buffers would be written; other bytes than the address is for would be.
                if s.records().1 & th.record() == 0 {
                    let step = Action::Nmi { step: NmiStep::Bytes };
                    return out.take(who, step, Err(Violation::Mismatched));
                }
                (NmiStep::Bytes, Visit::Writes)
            }
            // A store of what is there already needs the window, too.
            Visit::Writes if !self.is_open(s) => {
                let step = Action::Nmi { step: NmiStep::Written };
                return out.take(who, step, Err(Violation::Fault));
            }
            Visit::Writes => match self.unwritten(s, th) {
                Some((index, piece)) => {
                    to.threads[t] = th.at_index(index + 1);
                    self.write(&mut to, &piece);
                    // It may have left the patcher nothing to do.
                    let settled = self.settle(&mut to);
                    let number = self.script.records[usize::from(th.record()) - 1].0 + index;
                    return out.take(
                        who,
                        Action::Stores { piece: number, nmi: true, meets: false },
                        settled.map(|()| to),
                    );
                }
                None if world.entry == Entry::Visit => {
                    self.maintain(&mut to, Some(t));
                    (NmiStep::Maintains, Visit::Maintains)
                }
                None => (NmiStep::Written, Visit::Handles),
            },
            Visit::Maintains => {
                to.threads[t] = self.synchronise(th, s.text);
                (NmiStep::Synchronises, Visit::Handles)
            }
        };
        to.threads[t] = to.threads[t].visiting(next);
        out.take(who, Action::Nmi { step }, Ok(to));
    }

    /// Where `core`'s own NMI goes after its entry.
    fn live_entry(&self, announced: bool) -> Visit {
        let mut visit = nmi::Visit::new();
        visit.next(false);
        match visit.next(announced) {
            nmi::Act::Read => Visit::Address,
            _ => Visit::Handles,
        }
    }

    /// The next piece of the record that is not in memory yet, with its place in the record.
    fn unwritten<const N: usize>(&self, s: &State<N>, th: Thread) -> Option<(u16, Piece)> {
        let (from, to) = self.script.records[usize::from(th.record()) - 1];
        let pieces = &self.script.pieces[usize::from(from)..usize::from(to)];
        let rest = pieces.iter().enumerate().skip(usize::from(th.index()));
        rest.map(|(i, piece)| (i as u16, *piece)).find(|(_, piece)| !is_there(piece, s.text))
    }

    /// The patcher's own CPU is number 0.
    pub(crate) fn who<const N: usize>(&self, th: Thread, t: usize) -> Who {
        if th.is(PATCHER) { 0 } else { t as Who + 1 }
    }
}
