//! What every row of the table must say, written by hand from the literature's digest and from the documents.
//!
//! `digest` names the row there; lengths are transitions, and are given where the digest's transitions are the same as
//! ours. Where we differ from it, `docs/protocols/README.md` says why.

use crate::property::Violation::{self, *};
use crate::scenario::{Handler, Profile};
use crate::variants::Shape;

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
        deep: false,
        expect,
    }
}

const fn cut(mut row: Row, cut: u8) -> Row {
    row.shape.cut = Some(cut);
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

/// The rows of the digest that concern x86-64, §2.5 and §2.6.
const DIGEST: &[Row] = &[
    bytewise(intel("000 naive 5-byte memcpy", "naive-copy", bad(Torn, 2))),
    bytewise(amd("000 naive 5-byte memcpy", "naive-copy", bad(Torn, 3))),
    amd("single 8-byte store inside a quadword", "word", SAFE),
    intel("single 8-byte store inside a quadword", "word", bad(Torn, 2)),
    amd("same, site straddling a quadword", "straddling-store", bad(Torn, 4)),
    intel("same, site straddling a quadword", "straddling-store", bad(Torn, 2)),
    intel("000 int3, no IPI anywhere", "int3-no-sync", bad(Torn, 4)),
    cut(amd("000 int3, no IPI anywhere (straddling)", "int3-no-sync", bad(Torn, 6)), 3),
    cut(amd("000 int3, no IPI anywhere (aligned)", "int3-no-sync", bad(LostTrap, 8)), 0),
    intel("int3 without sync 1", "int3-no-sync-1", bad(Torn, 4)),
    cut(amd("int3 without sync 1 (straddling)", "int3-no-sync-1", bad(Torn, 6)), 3),
    intel("int3 without sync 2", "int3-no-sync-2", bad(Torn, 8)),
    amd("int3 without sync 2", "int3-no-sync-2", SAFE),
    intel("int3 without sync 3, handler then unregistered", "int3-no-sync-3", bad(LostTrap, 13)),
    amd("int3 without sync 3, handler then unregistered", "int3-no-sync-3", bad(LostTrap, 14)),
    intel("same + handler re-checks that cc is still there", "int3-no-sync-3-stays", SAFE),
    amd("same + handler re-checks that cc is still there", "int3-no-sync-3-stays", SAFE),
    cut(intel("000 int3 full, 3 syncs (aligned)", "int3-full", SAFE), 0),
    cut(amd("000 int3 full, 3 syncs (aligned)", "int3-full", SAFE), 0),
    cut(intel("000 int3 full, 3 syncs (straddling)", "int3-full", SAFE), 3),
    cut(amd("000 int3 full, 3 syncs (straddling)", "int3-full", SAFE), 3),
    intel("old code = five 1-byte NOPs, int3 full", "five-nops", bad(MidInstruction, 8)),
    amd("old code = five 1-byte NOPs, int3 full", "five-nops", bad(MidInstruction, 10)),
    intel("same, WaitTasks after sync 1", "five-nops-wait", SAFE),
    amd("same, WaitTasks after sync 1", "five-nops-wait", SAFE),
    cut(amd("001 jmp phases, no sync (inside a quadword)", "jump-no-sync", SAFE), 0),
    cut(amd("001 jmp phases, no sync (straddling 2|3)", "jump-no-sync", bad(Torn, 5)), 2),
    intel("001 jmp phases, no sync", "jump-no-sync", bad(Torn, 2)),
    amd("001 jmp phases with a sync after each", "short_jump", SAFE),
    intel("001 jmp phases with a sync after each", "short_jump", bad(Torn, 2)),
    intel("same, assuming 2 aligned bytes fetch atomically", "short_jump-half", SAFE),
];

/// What the digest does not have, or has for other instruction sets only.
const OURS: &[Row] = &[
    bytewise(intel("003 stop_machine, one CPU patches (there arm64)", "park", SAFE)),
    bytewise(amd("003 stop_machine, one CPU patches (there arm64)", "park", SAFE)),
    intel("003 stop_machine, several instructions (there arm64)", "park-several", Expect::Unsafe(MidInstruction, None)),
    amd("003 stop_machine, several instructions (there arm64)", "park-several", Expect::Unsafe(MidInstruction, None)),
    intel("waiting under stop_machine (there RISC-V)", "park-wait", Expect::Unsafe(Deadlock, None)),
    amd("waiting under stop_machine (there RISC-V)", "park-wait", Expect::Unsafe(Deadlock, None)),
    intel("the exemption of one byte is load-bearing", "breakpoint-not-exempt", bad(Torn, 3)),
    intel("word, assuming 8 aligned bytes fetch at once", "word-eight", SAFE),
    intel("a handler withdrawn while a trap is pending", "handler-leaves-early", Expect::Unsafe(LostTrap, None)),
    amd("a handler withdrawn while a trap is pending", "handler-leaves-early", Expect::Unsafe(LostTrap, None)),
    intel("displace without the wait", "displace-no-wait", Expect::Unsafe(MidInstruction, None)),
    amd("displace without the wait", "displace-no-wait", Expect::Unsafe(MidInstruction, None)),
    intel("displace as if one instruction", "displace-head-only", Expect::Unsafe(MidInstruction, None)),
    amd("displace as if one instruction", "displace-head-only", Expect::Unsafe(MidInstruction, None)),
    intel("displace without inner traps", "displace-no-inner-traps", SAFE),
    amd("displace without inner traps", "displace-no-inner-traps", SAFE),
    intel("a failed removal undone by installing", "displace-turns-blindly", Expect::Unsafe(Torn, None)),
    amd("a failed removal undone by installing", "displace-turns-blindly", Expect::Unsafe(Torn, None)),
    intel("nobody inside, by program counters", "inside-by-counter", Expect::Unsafe(MidInstruction, None)),
    amd("nobody inside, by program counters", "inside-by-counter", Expect::Unsafe(MidInstruction, None)),
    intel("a thread moved while its trap is pending", "moved-while-pending", Expect::Unsafe(MidInstruction, None)),
    amd("a thread moved while its trap is pending", "moved-while-pending", Expect::Unsafe(MidInstruction, None)),
    intel("a CALL among the displaced instructions", "displace-over-call", Expect::Unsafe(MidInstruction, None)),
    amd("a CALL among the displaced instructions", "displace-over-call", Expect::Unsafe(MidInstruction, None)),
    intel("a repairer that trusts clean text", "repair-skips-clean", Expect::Unsafe(LostTrap, None)),
    amd("a repairer that trusts clean text", "repair-skips-clean", Expect::Unsafe(LostTrap, None)),
    intel("a new form of several instructions", "several-new", Expect::Unsafe(MidInstruction, None)),
    amd("a new form of several instructions", "several-new", Expect::Unsafe(MidInstruction, None)),
];

/// The table: the digest's rows, our own, and every built-in protocol in every world that it is for.
pub fn rows(deep: bool) -> Vec<Row> {
    let mut rows: Vec<Row> = DIGEST.iter().chain(OURS).copied().collect();
    for profile in [Profile::Intel, Profile::Amd] {
        for check in ["breakpoint", "displace", "word", "short_jump"] {
            let check = match (profile, check) {
                (Profile::Intel, "word") => "word-eight",
                (Profile::Intel, "short_jump") => "short_jump-half",
                _ => check,
            };
            let plain = Row { whole_writes: false, ..row("built in", check, profile, SAFE) };
            let with = |digest, cpus, sites| {
                let shape = Shape { cpus, sites, ..plain.shape };
                Row { digest, shape, ..plain }
            };
            for (cpus, sites) in [(2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (4, 1), (4, 2)] {
                let huge = check == "displace" && (cpus, sites) == (4, 2);
                rows.push(Row { deep: huge, ..with("built in", cpus, sites) });
            }
            rows.push(Row { handler: Some(Handler::Leaves), own_traps: true, ..with("the handler leaves", 3, 1) });
            rows.push(Row { failures: Some(1), ..with("every step fails once", 2, 2) });
            rows.push(Row { failures: Some(1), own_traps: true, ..with("every step fails once", 3, 1) });
            rows.push(Row { failures: Some(2), any_order: true, ..with("two steps fail", 2, 1) });
            rows.push(Row { killed: true, any_order: true, ..with("killed and repaired", 2, 1) });
            rows.push(Row { killed: true, failures: Some(1), ..with("killed and repaired", 2, 2) });
            rows.push(Row { killed: true, onward: true, failures: Some(1), ..with("killed and finished", 2, 2) });
            rows.push(Row { killed: true, deep: true, ..with("killed and repaired", 3, 2) });
            rows.push(Row { failures: Some(1), deep: true, ..with("every step fails once", 3, 2) });
            rows.push(Row { killed: true, failures: Some(2), deep: true, ..with("killed and repaired", 2, 2) });
        }
    }
    if deep {
        // The verdicts of the digest do not depend on the number of processors; nor must ours.
        for cpus in [3, 4] {
            for &r in DIGEST.iter().chain(OURS) {
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
