//! What every row of the table must say, written by hand from the literature's digest and from the documents.
//!
//! `digest` names the row there; lengths are transitions, and are given where the digest's transitions are the same as
//! ours. Where we differ from it, `docs/protocols/README.md` says why.

mod keys;
mod nmi;
mod words;
mod x86;

use textpoke_core::Kind;

use crate::property::Violation;
use crate::scenario::{Handler, Profile};
use crate::variants::{Check, Shape};

/// The verdict that a row must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Safe.
    Safe,
    /// Unsafe, by this violation, in a shortest counterexample of so many transitions if that is pinned.
    Unsafe(Violation, Option<usize>),
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The row of the digest, or what of our own it is.
    pub digest: &'static str,
    /// The check.
    pub check: &'static str,
    /// Profile, processors, sites, cut.
    pub shape: Shape,
    /// Whether the handler leaves with the batch; as the check has it if not given.
    pub handler: Option<Handler>,
    /// Failing steps allowed; as the check has it if not given.
    pub failures: Option<u8>,
    /// Whether the patcher may be killed.
    pub killed: bool,
    /// Whether the one who comes then goes on to the new form.
    pub onward: bool,
    /// Whether the pieces of a store may appear in any order.
    pub any_order: bool,
    /// Whether the program has traps of its own.
    pub own_traps: bool,
    /// Whether each contiguous write is one transition, as in the digest.
    pub whole_writes: bool,
    /// How many NMIs each CPU takes; as the check has it if not given.
    pub nmis: Option<u8>,
    /// Whether it is one of those in which a protocol that runs live meets everything that may go wrong.
    pub sweep: bool,
    /// Only with `--deep`.
    pub deep: bool,
    /// The verdict.
    pub expect: Expect,
}

const fn row(digest: &'static str, check: &'static str, profile: Profile, expect: Expect) -> Row {
    Row {
        digest,
        check,
        shape: Shape::new(profile),
        handler: None,
        failures: None,
        killed: false,
        onward: false,
        any_order: false,
        own_traps: false,
        whole_writes: true,
        nmis: None,
        sweep: false,
        deep: false,
        expect,
    }
}

const fn cut(mut row: Row, cut: u8) -> Row {
    row.shape.cut = Some(cut);
    row
}

const fn three(mut row: Row) -> Row {
    row.shape.cpus = 3;
    row
}

const fn bytewise(mut row: Row) -> Row {
    row.whole_writes = false;
    row
}

const fn intel(digest: &'static str, check: &'static str, expect: Expect) -> Row {
    row(digest, check, Profile::Intel, expect)
}

const fn amd(digest: &'static str, check: &'static str, expect: Expect) -> Row {
    row(digest, check, Profile::Amd, expect)
}

const fn bad(violation: Violation, length: usize) -> Expect {
    Expect::Unsafe(violation, Some(length))
}

const SAFE: Expect = Expect::Safe;

/// The table: the digest's rows, our own, and every built-in protocol in every world that it is for.
pub fn rows(deep: bool) -> Vec<Row> {
    let written =
        [x86::DIGEST, x86::OURS, x86::OTHERS, keys::BRANCH, words::DIGEST, words::OURS, nmi::DIGEST, nmi::OURS];
    let written: Vec<Row> = written.into_iter().flatten().copied().collect();
    let mut rows = written.clone();
    for kind in Kind::ALL {
        for profile in Check::of(kind).isas.iter().flat_map(|isa| isa.profiles().iter().copied()) {
            rows.extend(built_in(kind, profile));
        }
    }
    if deep {
        // The verdicts of the digest do not depend on the number of processors; nor must ours.
        for cpus in [3, 4] {
            let skipped = |r: &Row| match r.check {
                // One CPU's NMIs are what these are about: more CPUs have more.
                "nmi-as-written-one" | "nmi-as-written-nested" => true,
                // These do not fit into memory: NMIs that execute the text as they like, or interrupt each other.
                "nmi-nested-in-trap" => true,
                "nmi-meets-trap" | "nmi_assist-nested" => cpus == 4,
                _ => cpus <= r.shape.cpus,
            };
            for &r in written.iter().filter(|r| !skipped(r)) {
                let expect = match r.expect {
                    Expect::Safe => Expect::Safe,
                    Expect::Unsafe(violation, _) => Expect::Unsafe(violation, None),
                };
                rows.push(Row { shape: Shape { cpus, ..r.shape }, expect, deep: true, ..r });
            }
        }
    }
    rows.retain(|r| deep || !r.deep);
    rows
}

/// A protocol that runs live, by one book: more processors, more sites, and everything that may go wrong.
///
/// Of AArch64's caches the ones that need everything get all rows; the others, whose fetch yields less, the first ones.
fn built_in(kind: Kind, profile: Profile) -> Vec<Row> {
    let check = match (profile, kind) {
        (Profile::Intel, Kind::Word) => "word-eight",
        (Profile::Intel, Kind::ShortJump) => "short_jump-half",
        _ => kind.name(),
    };
    let plain = Row { whole_writes: false, sweep: true, ..row("built in", check, profile, SAFE) };
    let with = |digest, cpus, sites| Row { digest, shape: Shape { cpus, sites, ..plain.shape }, ..plain };
    let mut rows = Vec::new();
    for (cpus, sites) in [(2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (4, 1), (4, 2)] {
        if kind == Kind::NmiAssist && (cpus, sites) == (4, 2) {
            // Four CPUs and their NMIs: more than 4 GiB of states. Helpers that write need two that take NMIs.
            continue;
        }
        let heavy = match kind {
            Kind::Displace | Kind::Pair => (cpus, sites) == (4, 2),
            // The patcher's own CPU takes NMIs, too.
            Kind::NmiAssist => cpus == 4 || (cpus, sites) == (3, 2) || sites == 3,
            _ => false,
        };
        rows.push(Row { deep: heavy, ..with("built in", cpus, sites) });
    }
    if matches!(profile, Profile::ArmIdc | Profile::ArmDic) {
        return rows;
    }
    if kind.traps() {
        rows.push(Row { handler: Some(Handler::Leaves), own_traps: true, ..with("the handler leaves", 3, 1) });
    }
    let heavy = kind == Kind::NmiAssist;
    rows.push(Row { failures: Some(1), deep: heavy, ..with("every step fails once", 2, 2) });
    rows.push(Row { failures: Some(1), own_traps: true, deep: heavy, ..with("every step fails once", 3, 1) });
    rows.push(Row { failures: Some(2), any_order: true, ..with("two steps fail", 2, 1) });
    if kind != Kind::NmiAssist {
        rows.push(Row { failures: Some(1), deep: true, ..with("every step fails once", 3, 2) });
    }
    if kind == Kind::NmiAssist {
        rows.push(Row { nmis: Some(2), deep: true, ..with("two NMIs on each CPU", 2, 1) });
        rows.push(Row { nmis: Some(2), deep: true, ..with("two NMIs on each CPU", 3, 1) });
    }
    // Whoever is killed while everybody is parked leaves torn text behind: the row of `park-killed`.
    if !kind.parks() {
        rows.push(Row { killed: true, any_order: true, ..with("killed and repaired", 2, 1) });
        rows.push(Row { killed: true, failures: Some(1), ..with("killed and repaired", 2, 2) });
        rows.push(Row { killed: true, onward: true, failures: Some(1), ..with("killed and finished", 2, 2) });
        rows.push(Row { killed: true, deep: true, ..with("killed and repaired", 3, 2) });
        rows.push(Row { killed: true, failures: Some(2), deep: true, ..with("killed and repaired", 2, 2) });
    }
    rows
}
