//! RISC-V's model, RVWMO, with five readings of how instruction fetch takes part in it.
//!
//! `docs/herd.md` says what is the manual's and what is our reading of the models that are known by name only.

use super::candidate::Candidate;
use super::event::Kind;
use super::relation::Relation;

/// How fetches are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetching {
    /// Before the accesses of the instruction itself, and after the accesses before a FENCE.I.
    ZiccifOnly,
    /// In the order of the program as well, and before all accesses that follow.
    Ziccid,
    /// As `ZiccifOnly`, and before all stores that follow.
    DecodeBeforeStores,
    /// As `ZiccifOnly`, and before all accesses that follow.
    Decode,
    /// As `ZiccifOnly`, and a FENCE.I orders fetches before it too.
    FenceOrdersFetches,
}

/// All of them, in the order of the published columns, with the columns' names.
pub const MODELS: [(&str, Fetching); 5] = [
    ("Ziccif-only", Fetching::ZiccifOnly),
    ("Ziccid", Fetching::Ziccid),
    ("ir-decode-w", Fetching::DecodeBeforeStores),
    ("ir-decode", Fetching::Decode),
    ("ir3-fetch", Fetching::FenceOrdersFetches),
];

/// What all of them share: the global memory order must respect it.
#[must_use]
pub fn shared(c: &Candidate<'_>) -> Relation {
    let mut order = preserved(c);
    order.join(&Relation::of(c.len(), |a, b| c.before(a, b) || (c.rf(a, b) && (c.fetch(b) || c.external(a, b)))));
    order
}

/// Whether the candidate is one of the model's executions.
#[must_use]
pub fn allowed(c: &Candidate<'_>, shared: &Relation, model: Fetching) -> bool {
    let mut order = shared.clone();
    order.join(&fetching(c, model));
    order.acyclic()
}

fn fetching(c: &Candidate<'_>, model: Fetching) -> Relation {
    Relation::of(c.len(), |a, b| {
        if !c.po(a, b) {
            return false;
        }
        let (fetch_a, fetch_b) = (c.fetch(a), c.fetch(b));
        let own = fetch_a && c.access(b) && c.events[a].step == c.events[b].step;
        let fence = (a + 1..b).any(|m| c.events[m].kind == Kind::FenceI);
        // Accesses after a FENCE.I come after their own fetches, which need not be events.
        let fenced = fence && (c.access(a) || (fetch_a && model == Fetching::FenceOrdersFetches));
        let later = fetch_a
            && match model {
                Fetching::ZiccifOnly | Fetching::FenceOrdersFetches => false,
                Fetching::DecodeBeforeStores => c.write(b),
                Fetching::Decode => c.access(b),
                Fetching::Ziccid => c.access(b) || fetch_b,
            };
        own || (fenced && (c.access(b) || fetch_b)) || later
    })
}

/// Preserved program order: RVWMO rules 4 and 9 to 13. The surface has no atomics. Rules 1 and 2, accesses of one location,
/// follow: a store is after what it overwrites, and of two loads that got different stores the first is before the store
/// that the second got.
fn preserved(c: &Candidate<'_>) -> Relation {
    Relation::of(c.len(), |a, b| {
        if !c.po(a, b) || !c.access(a) || !c.access(b) {
            return false;
        }
        let fence = (a + 1..b).any(|m| match c.events[m].kind {
            Kind::Fence(before, after) => is(c, a, before) && is(c, b, after),
            Kind::FenceTso => c.read(a) || c.write(b),
            _ => false,
        });
        let syntactic = c.addr(a, b) || (c.write(b) && (c.data(a, b) || c.ctrl(a, b)));
        let through_store =
            c.read(b) && c.from[b].is_some_and(|w| c.po(w, b) && c.po(a, w) && (c.addr(a, w) || c.data(a, w)));
        let through_address = c.write(b) && (a + 1..b).any(|m| c.access(m) && c.addr(a, m));
        fence || syntactic || through_store || through_address
    })
}

/// Whether an access is one of those that a FENCE names.
fn is(c: &Candidate<'_>, e: usize, kinds: u8) -> bool {
    (c.read(e) && kinds & 2 != 0) || (c.write(e) && kinds & 1 != 0)
}
