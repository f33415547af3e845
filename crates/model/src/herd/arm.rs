//! Arm's model: what must have happened before what, and that nothing happened before itself.
//!
//! The facts are those of the Arm ARM's memory model (B2.3) with instruction fetch, as herd's `aarch64.cat` has them;
//! `docs/herd.md` lists the rules in plain words, in the order of this file.

use super::candidate::Candidate;
use super::event::{Acquire, Barrier, Kind, Set};
use super::relation::{Relation, bits};
use super::test::Options;

/// What one consistent way of ordering an execution's cache maintenance looks like.
pub struct Ordered {
    /// Everything that happened before something else, transitively.
    pub before: Relation,
}

/// Judges a candidate: calls `found` with every consistent order of its cache maintenance until that says to stop.
/// Returns whether there was one.
pub fn judge(c: &Candidate<'_>, options: &Options, found: &mut impl FnMut(&Ordered) -> bool) -> bool {
    let rules = Rules::new(c, options);
    let mut any = false;
    rules.choose(&rules.fixed, 0, &mut |ordered| {
        any = true;
        found(ordered)
    });
    any
}

/// What the choices are made on.
struct Rules<'a> {
    c: &'a Candidate<'a>,
    options: &'a Options,
    /// Everything that needs no choice.
    fixed: Relation,
    /// What a DSB orders after an IC.
    completed: Relation,
    /// Pairs of an IC and a fetch, and of a DC and a store, of the same line: one was first.
    pairs: Vec<(usize, usize)>,
}

impl<'a> Rules<'a> {
    fn new(c: &'a Candidate<'a>, options: &'a Options) -> Self {
        let n = c.len();
        let dsb = dsb(c);
        let sync = synchronised(c, &dsb);
        let mut fixed = local(c);
        fixed.join(&dsb);
        fixed.join(&sync);
        fixed.join(&observed(c, options));
        let mut completed = dsb;
        completed.join(&sync);
        let mut pairs = Vec::new();
        for a in 0..n {
            for b in 0..n {
                let line = c.events[a].at.is_none() || c.same(a, b);
                let ic = c.events[a].kind == Kind::Ic && c.fetch(b);
                let dc = c.events[a].kind == Kind::Dc && c.write(b);
                if line && (ic || dc) {
                    pairs.push((a, b));
                }
            }
        }
        Self { c, options, fixed, completed, pairs }
    }

    /// Decides the pairs from `next` on, depth first. Whatever contradicts itself is given up at once.
    fn choose(&self, so_far: &Relation, next: usize, found: &mut impl FnMut(&Ordered) -> bool) -> bool {
        let mut before = so_far.clone();
        self.consequences(&mut before, next);
        before.close();
        if !before.irreflexive() {
            return true;
        }
        let Some((maintenance, other)) = self.pairs.get(next) else { return found(&Ordered { before }) };
        for (a, b) in [(*maintenance, *other), (*other, *maintenance)] {
            if before.has(b, a) {
                continue;
            }
            let mut chosen = before.clone();
            chosen.add(a, b);
            if !self.choose(&chosen, next + 1, found) {
                return false;
            }
        }
        true
    }

    /// What follows from the pairs before `next`, which are decided.
    fn consequences(&self, before: &mut Relation, next: usize) {
        let c = self.c;
        let decided = &self.pairs[..next];
        for &(ic, fetch) in decided.iter().filter(|(ic, _)| c.events[*ic].kind == Kind::Ic) {
            if before.has(fetch, ic) {
                // A fetch that was before a completed IC drags all earlier fetches of its CPU with it.
                for earlier in (0..fetch).filter(|e| c.fetch(*e) && c.po(*e, fetch)) {
                    for after in bits(self.completed.row(ic)) {
                        before.add(earlier, after);
                    }
                }
            } else if !self.options.dic {
                // A fetch after an IC that still got the old word: the IC came before the new one was there to be fetched.
                for store in (0..c.len()).filter(|w| c.fr(fetch, *w)) {
                    if self.options.idc {
                        before.add(ic, store);
                        continue;
                    }
                    for &(dc, w) in decided.iter().filter(|(dc, _)| c.events[*dc].kind == Kind::Dc) {
                        if w == store && before.has(w, dc) {
                            before.add(ic, dc);
                        }
                    }
                }
            }
        }
    }
}

/// What the order of accesses in one process guarantees: barriers, dependencies, acquire and release, same location.
fn local(c: &Candidate<'_>) -> Relation {
    Relation::of(c.len(), |a, b| {
        if !c.po(a, b) {
            return false;
        }
        let (from, to) = (c.events[a].kind, c.events[b].kind);
        if c.access(a) && c.access(b) {
            return (c.same(a, b) && c.write(b))
                || depends(c, a, b)
                || barrier(c, a, b)
                || matches!(from, Kind::Read(Acquire::Full | Acquire::Weak))
                || matches!(to, Kind::Write(true))
                || matches!((from, to), (Kind::Write(true), Kind::Read(Acquire::Full)));
        }
        let maintained = |kind| matches!(kind, Kind::Dc | Kind::Ic);
        // What an instruction does comes after its fetch and after those before it.
        (c.fetch(a) && !c.fetch(b))
            // Cache maintenance by an address that was loaded.
            || (maintained(to) && c.addr(a, b))
            // Cleaning is ordered with accesses by DMB, and with those to its line without.
            || ((c.access(a) || from == Kind::Dc)
                && (c.access(b) || to == Kind::Dc)
                && (c.same(a, b) || between(c, a, b, |kind| full(kind).is_some_and(|kind| kind == Barrier::Full))))
    })
}

/// Dependencies between two accesses of a process.
fn depends(c: &Candidate<'_>, a: usize, b: usize) -> bool {
    let pick = |n: usize| c.in_set(c.events[b].pick[n], a, b);
    let through_address = |m: usize| c.access(m) && c.po(a, m) && c.po(m, b);
    c.addr(a, b)
        || c.data(a, b)
        || (c.write(b) && (c.ctrl(a, b) || (0..3).any(pick)))
        || (c.write(b)
            && (a..b).any(|m| through_address(m) && (c.addr(a, m) || c.in_set(c.events[m].pick[0], a, m))))
        // The value of a store that is ordered after a load is not there before it for the CPU's own loads either.
        || (c.read(b) && c.from[b].is_some_and(|w| c.po(w, b) && (c.addr(a, w) || c.data(a, w))))
}

/// DMB, and DSB in its place.
fn barrier(c: &Candidate<'_>, a: usize, b: usize) -> bool {
    between(c, a, b, |kind| match full(kind) {
        Some(Barrier::Full) => true,
        Some(Barrier::Loads) => c.read(a),
        Some(Barrier::Stores) => c.write(a) && c.write(b),
        None => false,
    })
}

fn full(kind: Kind) -> Option<Barrier> {
    match kind {
        Kind::Dmb(barrier) | Kind::Dsb(barrier) => Some(barrier),
        _ => None,
    }
}

fn between(c: &Candidate<'_>, a: usize, b: usize, is: impl Fn(Kind) -> bool) -> bool {
    c.po(a, b) && (a + 1..b).any(|m| is(c.events[m].kind))
}

/// DSB: what it waits for is before everything after it, except fetches, which may be long done.
fn dsb(c: &Candidate<'_>) -> Relation {
    Relation::of(c.len(), |a, b| {
        let waits = |kind| match kind {
            Kind::Dsb(Barrier::Full) => c.access(a) || matches!(c.events[a].kind, Kind::Dc | Kind::Ic | Kind::Fetch),
            Kind::Dsb(Barrier::Loads) => c.read(a),
            Kind::Dsb(Barrier::Stores) => c.write(a),
            _ => false,
        };
        !c.fetch(b) && between(c, a, b, waits)
    })
}

/// Context synchronisation: what it is known to come after is before everything after it, fetches too.
fn synchronised(c: &Candidate<'_>, dsb: &Relation) -> Relation {
    let n = c.len();
    let sets = |e: usize, set: Set, a: usize| c.in_set(set, a, e);
    let reaches = Relation::of(n, |a, s| {
        if c.events[s].kind != Kind::Context || !c.po(a, s) {
            return false;
        }
        let event = c.events[s];
        let own_fetch = c.fetch(a) && c.events[a].step == event.step;
        let branch = c.read(a) && (sets(s, event.ctrl, a) || sets(s, event.pick[2], a));
        let address = c.read(a) && (a..s).any(|m| c.access(m) && (c.addr(a, m) || sets(m, c.events[m].pick[0], a)));
        own_fetch || branch || address || dsb.has(a, s)
    });
    reaches.then(&Relation::of(n, |s, b| c.events[s].kind == Kind::Context && c.po(s, b)))
}

/// What one CPU sees of another, and a fetch of anybody.
fn observed(c: &Candidate<'_>, options: &Options) -> Relation {
    let n = c.len();
    let mut seen = Relation::of(n, |a, b| {
        (c.access(a) && c.access(b) && c.external(a, b) && (c.rf(a, b) || c.before(a, b)))
            || (c.fetch(b) && c.rf(a, b))
            || (options.dic && c.fetch(a) && c.fr(a, b))
    });
    if options.dic {
        // Coherent fetches of a CPU come in order.
        let fetches = Relation::of(n, |a, b| c.fetch(a) && c.fetch(b) && c.po(a, b));
        seen.join(&fetches.then(&Relation::of(n, |a, b| c.fetch(a) && c.fr(a, b))));
    }
    seen
}
