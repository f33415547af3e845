//! What a thread does: fetch, execute, be interrupted, and take part in the patcher's steps.

use textpoke_core::{Direction, Site, Step};

use super::fetch::{Fetched, Seen};
use super::{Machine, Sink};
use crate::action::{Action, What};
use crate::property::Violation;
use crate::scenario::{Fetch, Inside};
use crate::state::*;
use crate::text::Form;

impl Machine {
    /// What thread `t` may do now.
    pub(super) fn thread<const N: usize>(&self, s: &State<N>, t: usize, out: &mut impl Sink<N>) {
        let th = s.threads[t];
        self.nmi_arrives(s, t, out);
        match th.visit() {
            Visit::None => {
                self.answer_patcher(s, t, out);
                if th.is(PARKED | PATCHER) {
                    return;
                }
            }
            Visit::Handles => self.nmi_leaves(s, t, out),
            _ => return self.nmi_gets_on(s, t, out),
        }
        if th.stage() != Stage::Program {
            return self.trap(s, t, out);
        }
        if self.world.foreign {
            return;
        }
        if th.visit() == Visit::None {
            self.be_interrupted(s, t, out);
        }
        match self.fetch {
            Fetch::Set | Fetch::Caches => self.program_from_set(s, t, out),
            Fetch::Queue(granule) => self.program_from_queue(s, t, granule, out),
        }
    }

    /// Acknowledgements, and being looked at.
    fn answer_patcher<const N: usize>(&self, s: &State<N>, t: usize, out: &mut impl Sink<N>) {
        let th = s.threads[t];
        let who = self.who::<N>(th, t);
        if th.is(PATCHER) {
            return;
        }
        let mut set = |th, action| out.take(who, action, Ok(put(s, t, th)));
        match self.node(s).step {
            Step::SyncCores if s.sub == 1 && !th.is(ACKED) => {
                set(self.synchronise(th, s.text).with(ACKED), Action::Synchronises);
            }
            Step::Park if s.sub == 1 && !th.is(PARKED) => set(th.with(PARKED), Action::Parks),
            Step::AwaitNoneInside => {
                if !th.is(SEEN) && !self.is_inside(th) {
                    set(th.with(SEEN), Action::SeenOutside);
                }
                let node = self.node(s);
                if let Some(moved) = self.moved(&self.sites[usize::from(node.set)], node.dir, th) {
                    set(moved, Action::Moved);
                }
            }
            _ => {}
        }
    }

    /// Whether `AwaitNoneInside` takes a thread for one that is inside.
    fn is_inside(&self, th: Thread) -> bool {
        let here = th.spot().is_some_and(|spot| {
            if spot.site == OWN {
                return false;
            }
            match (th.stage(), self.world.inside) {
                (Stage::Program, _) => spot.offset > 0,
                (_, Inside::Contract) => spot.offset > 0,
                // The reported counter is one behind the trap instruction.
                _ => usize::from(spot.offset) + 1 < self.text.len(usize::from(spot.site)),
            }
        });
        here || matches!(th.saved(), Saved::Signal(_))
    }

    /// Where the machine may move a thread that stands on an inner boundary: to the copy of the old instructions, unless
    /// it may have come from new ones.
    fn moved(&self, sites: &[Site], dir: Direction, th: Thread) -> Option<Thread> {
        let spot = th.spot().filter(|spot| spot.site != OWN && !th.is(PARKED))?;
        let site = &sites[usize::from(spot.site)];
        if dir == Direction::Remove || site.new_inner != 0 || site.copy == 0 {
            return None;
        }
        match (th.stage(), self.world.inside) {
            (Stage::Program, _) if site.begins_at(usize::from(spot.offset)) => Some(self.redirect(th.outside())),
            (Stage::Pending, Inside::ByCounterAndMove) => {
                let counter = spot.offset + 1;
                let inner = counter < site.len && site.begins_at(usize::from(counter));
                // Its trap will be reported one byte in front of where it was moved to.
                inner.then(|| th.trapped(Spot { site: OWN, offset: counter, came: 0 }))
            }
            _ => None,
        }
    }

    /// Signals whose handlers are program code, and coming back from them and from called functions.
    ///
    /// A thread that is outside of every site anyway loses nothing by a signal, so that only the others are caught.
    fn be_interrupted<const N: usize>(&self, s: &State<N>, t: usize, out: &mut impl Sink<N>) {
        let th = s.threads[t];
        let who = self.who::<N>(th, t);
        match (th.spot(), th.saved()) {
            (Some(spot), Saved::Nothing) if self.world.signals => {
                let th = self.redirect(th.outside()).saving(Saved::Signal(spot));
                out.take(who, Action::Caught, Ok(put(s, t, th)));
            }
            (None, Saved::Signal(spot) | Saved::Call(spot)) => {
                let th = self.redirect(th).saving(Saved::Nothing).inside(spot);
                out.take(who, Action::Returns, Ok(put(s, t, th)));
            }
            _ => {}
        }
        if self.world.own_traps && th.spot().is_none() {
            let th = self.redirect(th).trapped(Spot::head(OWN));
            out.take(who, Action::OwnTrap, Ok(put(s, t, th)));
        }
    }

    fn program_from_set<const N: usize>(&self, s: &State<N>, t: usize, out: &mut impl Sink<N>) {
        let th = s.threads[t];
        let mut at = |spot: Spot| {
            self.may_see(self.visible(th), usize::from(spot.site), usize::from(spot.offset), |seen| {
                self.execute(s, t, spot, &seen, th, out);
            });
        };
        match th.spot() {
            Some(spot) => at(spot),
            None => self.heads().for_each(at),
        }
    }

    fn program_from_queue<const N: usize>(&self, s: &State<N>, t: usize, granule: u8, out: &mut impl Sink<N>) {
        let th = s.threads[t];
        let who = self.who::<N>(th, t);
        let (first, second) = (Fetched(th.fetch as u32), Fetched((th.fetch >> 32) as u32));
        let mut fetch = |e: Fetched, ahead: bool| {
            let more = self.read_more(s.text, e, granule);
            let (spot, from, to, values) = (more.spot(), e.got(), more.got(), more.values());
            let queue = if ahead { th.fetch & 0xffff_ffff | u64::from(more.0) << 32 } else { u64::from(more.0) };
            let to_state = put(s, t, Thread { fetch: queue, ..th });
            out.take(who, Action::Fetches { spot, from, to, values }, Ok(to_state));
        };
        if !first.is_some() {
            match th.spot() {
                Some(spot) => fetch(Fetched::begin(spot), false),
                None => self.heads().for_each(|spot| fetch(Fetched::begin(spot), false)),
            }
            return;
        }
        if !first.is_complete() {
            return fetch(first, false);
        }
        if second.is_some() && !second.is_complete() {
            fetch(second, true);
        } else if !second.is_some() && self.world.queue > 1 {
            let seen = self.decode(first);
            match seen.form {
                Some(f) if f.next != 0 && !f.call => {
                    let spot = first.spot();
                    let came = if spot.offset == 0 { f.versions } else { f.versions & spot.came };
                    fetch(Fetched::begin(Spot { offset: f.next, came, ..spot }), true);
                }
                Some(_) => self.heads().for_each(|spot| fetch(Fetched::begin(spot), true)),
                // Nothing is known of what follows a trap.
                None => {}
            }
        }
        let popped = Thread { fetch: th.fetch >> 32, ..th };
        self.execute(s, t, first.spot(), &self.decode(first), popped, out);
    }

    fn heads(&self) -> impl Iterator<Item = Spot> {
        (0..self.text.sites()).map(|i| Spot::head(i as u8))
    }

    fn execute<const N: usize>(
        &self,
        s: &State<N>,
        t: usize,
        spot: Spot,
        seen: &Seen<'_>,
        th: Thread,
        out: &mut impl Sink<N>,
    ) {
        let to = self.after(s, spot, seen, th).map(|th| put(s, t, th));
        // A form is executed to its end by the instruction that leaves the site, if it belongs to one version alone.
        let came = |form: &Form| if spot.offset == 0 { form.versions } else { form.versions & spot.came };
        let whole = seen.form.filter(|form| form.next == 0).map_or(0, came);
        let whole = if whole.is_power_of_two() { whole } else { 0 };
        let (what, nmi) = (seen.what, th.visit() != Visit::None);
        let action = Action::Executes { spot, what, len: seen.len, values: seen.values, whole, nmi };
        out.take(self.who::<N>(th, t), action, to);
    }

    /// The thread after it executed what it saw at `spot`.
    fn after<const N: usize>(
        &self,
        s: &State<N>,
        spot: Spot,
        seen: &Seen<'_>,
        th: Thread,
    ) -> Result<Thread, Violation> {
        let Some(form) = seen.form else {
            return match seen.what {
                What::Trap => Ok(self.redirect(th).trapped(spot)),
                What::Fixed => Err(Violation::NotLive),
                _ if spot.offset > 0 => Err(Violation::MidInstruction),
                _ => Err(Violation::Torn),
            };
        };
        let came = if spot.offset == 0 { form.versions } else { form.versions & spot.came };
        if came == 0 {
            return Err(Violation::Pair);
        }
        // Who had begun with what is gone now had begun before: its first instruction would have been stale itself.
        let ends = self.world.begun_ends && spot.offset > 0 && spot.came & s.right() == 0;
        if self.world.after_return && s.right() != 0 && form.versions & s.right() == 0 && !ends {
            return Err(Violation::Stale);
        }
        let behind = Spot { offset: form.next, came, ..spot };
        Ok(match (form.next, form.call, th.saved()) {
            (0, ..) => th.outside(),
            (_, true, Saved::Nothing) if th.visit() == Visit::None => th.outside().saving(Saved::Call(behind)),
            _ => th.inside(behind),
        })
    }
}

/// The state with another thread in place `t`.
pub(super) fn put<const N: usize>(s: &State<N>, t: usize, th: Thread) -> State<N> {
    let mut to = *s;
    to.threads[t] = th;
    to
}
