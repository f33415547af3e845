//! Candidate executions: one path of each process, which store every fetch and load got, and in which order the stores of
//! each location came.

use super::event::{Event, Kind};
use super::path::Path;
use super::relation::Relation;
use super::test::Test;
use super::value::{Location, Value};

/// More events than this do not fit into a row of a relation.
pub const EVENTS: usize = 64;

/// An execution that is to be judged.
pub struct Candidate<'a> {
    /// The path of each process.
    pub paths: &'a [&'a Path],
    /// All events, process by process, each in program order.
    pub events: Vec<&'a Event>,
    /// The process of each event.
    pub process: Vec<u8>,
    /// The number of each process's first event.
    pub first: Vec<usize>,
    /// Of each fetch and load: the store that it got; none for the initial value.
    pub from: Vec<Option<usize>>,
    /// For each location that is stored to: the stores, in coherence order.
    pub order: Vec<(Location, Vec<usize>)>,
}

impl<'a> Candidate<'a> {
    /// The events of these paths, without sources and order yet; none if there are too many.
    #[must_use]
    pub fn new(paths: &'a [&'a Path]) -> Option<Self> {
        let (mut events, mut process, mut first) = (Vec::new(), Vec::new(), Vec::new());
        for (number, path) in paths.iter().enumerate() {
            first.push(events.len());
            events.extend(&path.events);
            process.resize(events.len(), number as u8);
        }
        let from = vec![None; events.len()];
        (events.len() <= EVENTS).then_some(Self { paths, events, process, first, from, order: Vec::new() })
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether it is a fetch.
    #[must_use]
    pub fn fetch(&self, e: usize) -> bool {
        self.events[e].kind == Kind::Fetch
    }

    /// Whether it is a load.
    #[must_use]
    pub fn read(&self, e: usize) -> bool {
        matches!(self.events[e].kind, Kind::Read(_))
    }

    /// Whether it is a store.
    #[must_use]
    pub fn write(&self, e: usize) -> bool {
        matches!(self.events[e].kind, Kind::Write(_))
    }

    /// Whether it is a load or a store.
    #[must_use]
    pub fn access(&self, e: usize) -> bool {
        self.read(e) || self.write(e)
    }

    /// Program order.
    #[must_use]
    pub fn po(&self, a: usize, b: usize) -> bool {
        a < b && self.process[a] == self.process[b]
    }

    /// Whether both are at the same location.
    #[must_use]
    pub fn same(&self, a: usize, b: usize) -> bool {
        self.events[a].at.is_some() && self.events[a].at == self.events[b].at
    }

    /// Whether `b` got what `a` stored.
    #[must_use]
    pub fn rf(&self, a: usize, b: usize) -> bool {
        self.from[b] == Some(a)
    }

    /// Whether `a` is stored before `b`.
    #[must_use]
    pub fn co(&self, a: usize, b: usize) -> bool {
        self.order.iter().any(|(_, stores)| {
            let place = |e| stores.iter().position(|s| *s == e);
            matches!((place(a), place(b)), (Some(a), Some(b)) if a < b)
        })
    }

    /// Whether the fetch or load `a` got something that stood there before `b` was stored.
    #[must_use]
    pub fn fr(&self, a: usize, b: usize) -> bool {
        (self.fetch(a) || self.read(a))
            && self.write(b)
            && self.same(a, b)
            && match self.from[a] {
                None => true,
                Some(from) => self.co(from, b),
            }
    }

    /// `fr` or `co`: `b` overwrites what `a` got or stored.
    #[must_use]
    pub fn before(&self, a: usize, b: usize) -> bool {
        self.fr(a, b) || self.co(a, b)
    }

    /// Whether they belong to different processes.
    #[must_use]
    pub fn external(&self, a: usize, b: usize) -> bool {
        self.process[a] != self.process[b]
    }

    /// Whether `set`, a set of events of `b`'s path, has the event `a`.
    #[must_use]
    pub fn in_set(&self, set: u64, a: usize, b: usize) -> bool {
        !self.external(a, b) && a >= self.first[usize::from(self.process[b])] && {
            let local = a - self.first[usize::from(self.process[b])];
            set >> local & 1 == 1
        }
    }

    /// `b`'s address comes from the load `a`.
    #[must_use]
    pub fn addr(&self, a: usize, b: usize) -> bool {
        self.in_set(self.events[b].addr, a, b)
    }

    /// What `b` stores comes from the load `a`.
    #[must_use]
    pub fn data(&self, a: usize, b: usize) -> bool {
        self.in_set(self.events[b].data, a, b)
    }

    /// A branch before `b` was decided by the load `a`.
    #[must_use]
    pub fn ctrl(&self, a: usize, b: usize) -> bool {
        self.in_set(self.events[b].ctrl, a, b)
    }

    /// Per location, a process's own loads and stores are in program order: no load sees a later store or one that was
    /// overwritten before it, and stores are ordered as they were executed.
    #[must_use]
    pub fn coherent(&self) -> bool {
        let n = self.len();
        let accesses: Vec<bool> = (0..n).map(|e| self.access(e)).collect();
        Relation::of(n, |a, b| {
            accesses[a] && accesses[b] && self.same(a, b) && (self.po(a, b) || self.rf(a, b) || self.before(a, b))
        })
        .acyclic()
    }

    /// Tries every source and every coherence order, until `judge` says to stop.
    pub fn each(&mut self, test: &Test, judge: &mut impl FnMut(&Self) -> bool) -> bool {
        let mut locations: Vec<Location> = Vec::new();
        for e in 0..self.len() {
            if let (true, Some(at)) = (self.write(e), self.events[e].at)
                && !locations.contains(&at)
            {
                locations.push(at);
            }
        }
        self.sources(test, 0, &locations, judge)
    }

    fn sources(
        &mut self,
        test: &Test,
        e: usize,
        locations: &[Location],
        judge: &mut impl FnMut(&Self) -> bool,
    ) -> bool {
        if e == self.len() {
            self.order.clear();
            return self.orders(locations, judge);
        }
        if !self.fetch(e) && !self.read(e) {
            return self.sources(test, e + 1, locations, judge);
        }
        let wanted = self.events[e].value;
        if self.events[e].at.is_some_and(|at| test.initially(at) == wanted) {
            self.from[e] = None;
            if !self.sources(test, e + 1, locations, judge) {
                return false;
            }
        }
        for store in 0..self.len() {
            let fits = self.write(store) && self.same(store, e) && self.events[store].value == wanted;
            // No load gets what is stored after it in its own program; of fetches only a model can say so.
            if fits && !(self.read(e) && self.po(e, store)) {
                self.from[e] = Some(store);
                if !self.sources(test, e + 1, locations, judge) {
                    return false;
                }
            }
        }
        self.from[e] = None;
        true
    }

    fn orders(&mut self, locations: &[Location], judge: &mut impl FnMut(&Self) -> bool) -> bool {
        let Some((at, rest)) = locations.split_first() else {
            return !self.coherent() || judge(self);
        };
        let stores: Vec<usize> =
            (0..self.len()).filter(|e| self.write(*e) && self.events[*e].at == Some(*at)).collect();
        self.order.push((*at, Vec::new()));
        let go_on = self.permute(&stores, rest, judge);
        self.order.pop();
        go_on
    }

    fn permute(&mut self, left: &[usize], rest: &[Location], judge: &mut impl FnMut(&Self) -> bool) -> bool {
        if left.is_empty() {
            return self.orders(rest, judge);
        }
        let depth = self.order.len() - 1;
        for (i, store) in left.iter().enumerate() {
            // Stores of one process come in its order, so only its first may be next.
            if left[..i].iter().any(|earlier| self.po(*earlier, *store)) {
                continue;
            }
            let others: Vec<usize> = left.iter().copied().filter(|e| e != store).collect();
            self.order[depth].1.push(*store);
            if !self.permute(&others, rest, judge) {
                return false;
            }
            self.order[depth].1.pop();
        }
        true
    }

    /// What a location holds at the end.
    #[must_use]
    pub fn finally(&self, test: &Test, at: Location) -> Value {
        let stores = self.order.iter().find(|(known, _)| *known == at);
        match stores.and_then(|(_, stores)| stores.last()) {
            Some(last) => self.events[*last].value,
            None => test.initially(at),
        }
    }
}
