//! Seed 004, and NMIs that meet traps.

use super::{Expect, Row, SAFE, amd, bad, bytewise, intel, row};
use crate::property::Violation::{self, *};
use crate::scenario::Profile::{self, *};

const fn fails(violation: Violation) -> Expect {
    Expect::Unsafe(violation, None)
}

const fn by(digest: &'static str, check: &'static str, profile: Profile, expect: Expect) -> Row {
    bytewise(row(digest, check, profile, expect))
}

/// The rows of the digest, §2.5 and §2.6. Everybody is parked from the start here, and there they are parked first, so
/// that the lengths of the first rows differ.
pub(super) const DIGEST: &[Row] = &[
    bytewise(intel("004 stop_machine, NMIs ignored", "nmi-ignored", fails(Torn))),
    bytewise(amd("004 stop_machine, NMIs ignored", "nmi-ignored", fails(Torn))),
    bytewise(intel("the same, even the patcher's own NMI", "nmi-ignored-own", fails(Torn))),
    bytewise(amd("the same, even the patcher's own NMI", "nmi-ignored-own", fails(Torn))),
    bytewise(intel("004 wait for NMIs but no helper write", "nmi-waits", fails(Torn))),
    bytewise(amd("004 wait for NMIs but no helper write", "nmi-waits", fails(Torn))),
    bytewise(intel("004 helper writes, no wait before writing", "nmi-no-wait", bad(Torn, 8))),
    bytewise(amd("004 helper writes, no wait before writing", "nmi-no-wait", fails(Torn))),
    bytewise(amd("004 as written in the commit, one NMI", "nmi-as-written-one", SAFE)),
    bytewise(intel("004 as written, two NMIs on two CPUs", "nmi-as-written", bad(Torn, 13))),
    bytewise(super::cut(amd("004 as written, two NMIs on two CPUs", "nmi-as-written", bad(Torn, 14)), 0)),
    bytewise(amd("004 later kernel form", "nmi-atomic", SAFE)),
    // Who helps is in the way of another: two others that take NMIs.
    bytewise(super::three(amd("004 later kernel form", "nmi-atomic", SAFE))),
    // One transition more than there: the call returns before the next one begins.
    bytewise(amd("004 later form, two records, no wait after clearing", "nmi-two-records", bad(Mismatched, 15))),
    bytewise(intel("004 under x86-SDM, even fixed", "nmi-atomic", bad(Torn, 12))),
    intel("int3 full + NMI hitting the site, re-entrant path", "nmi-meets-trap", SAFE),
    amd("int3 full + NMI hitting the site, re-entrant path", "nmi-meets-trap", SAFE),
    intel("int3 full + NMI hitting the site, else", "nmi-meets-trap-fragile", bad(NestedNmi, 8)),
    amd("int3 full + NMI hitting the site, else", "nmi-meets-trap-fragile", fails(NestedNmi)),
];

/// What the digest does not have.
pub(super) const OURS: &[Row] = &[
    bytewise(intel("004 as written in the commit, one NMI", "nmi-as-written-one", fails(Torn))),
    bytewise(intel("nmi_assist, NMIs inside NMIs", "nmi_assist-nested", SAFE)),
    bytewise(amd("nmi_assist, NMIs inside NMIs", "nmi_assist-nested", SAFE)),
    bytewise(intel("004 as written, one NMI inside another", "nmi-as-written-nested", fails(Torn))),
    bytewise(amd("004 as written, one NMI inside another", "nmi-as-written-nested", SAFE)),
    intel("int3 full + NMIs inside NMIs hitting the site", "nmi-nested-in-trap", SAFE),
    amd("int3 full + NMIs inside NMIs hitting the site", "nmi-nested-in-trap", SAFE),
    by("nmi_assist, NMIs inside NMIs", "nmi_assist-nested", Arm, SAFE),
    by("nmi_assist, NMIs inside NMIs", "nmi_assist-nested", Ziccif, SAFE),
    by("nmi_assist, NMIs inside NMIs", "nmi_assist-nested", Ziccid, SAFE),
    bytewise(intel("the later form whose NMIs synchronise", "nmi-atomic-syncs", fails(Torn))),
    bytewise(amd("the later form whose NMIs synchronise", "nmi-atomic-syncs", SAFE)),
    bytewise(intel("nmi_assist without the parked CPUs' synchronisation", "nmi_assist-no-sync", fails(Torn))),
    bytewise(amd("nmi_assist without the parked CPUs' synchronisation", "nmi_assist-no-sync", SAFE)),
    bytewise(intel("004 as written, one NMI, no barrier behind the flag", "nmi-no-barrier", fails(Torn))),
    bytewise(amd("004 as written, one NMI, no barrier behind the flag", "nmi-no-barrier", fails(Torn))),
    // The announcement is an atomic, which no store passes on x86-64.
    bytewise(intel("an announcement that does not order the record", "nmi-record-no-barrier", SAFE)),
    bytewise(amd("an announcement that does not order the record", "nmi-record-no-barrier", SAFE)),
    bytewise(intel("two records, no wait after clearing", "nmi-two-records", fails(Torn))),
    by("NMIs ignored", "nmi-ignored", Arm, fails(NotLive)),
    by("NMIs ignored", "nmi-ignored", Ziccif, fails(Torn)),
    by("NMIs ignored", "nmi-ignored", Ziccid, fails(Torn)),
    by("NMIs waited for", "nmi-waits", Arm, fails(NotLive)),
    by("NMIs waited for", "nmi-waits", Ziccif, fails(Torn)),
    by("NMIs help, nobody waits", "nmi-no-wait", Arm, fails(NotLive)),
    by("NMIs help, nobody waits", "nmi-no-wait", Ziccif, fails(Torn)),
    by("004 as written, two NMIs", "nmi-as-written", Arm, fails(NotLive)),
    by("004 as written, two NMIs", "nmi-as-written", Ziccif, fails(Torn)),
    by("004 as written, two NMIs", "nmi-as-written", Ziccid, fails(Torn)),
    by("004 as written, one NMI", "nmi-as-written-one", Ziccid, SAFE),
    by("the later form", "nmi-atomic", Arm, fails(NotLive)),
    by("the later form", "nmi-atomic", Ziccif, fails(Torn)),
    by("the later form", "nmi-atomic", Ziccid, SAFE),
    by("two records, no wait after clearing", "nmi-two-records", Ziccid, fails(Mismatched)),
    by("an announcement that does not order the record", "nmi-record-no-barrier", Arm, fails(Mismatched)),
    by("an announcement that does not order the record", "nmi-record-no-barrier", Ziccif, fails(Mismatched)),
    by("an announcement that does not order the record", "nmi-record-no-barrier", Ziccid, fails(Mismatched)),
    by("an NMI that reads the record before the announcement", "nmi-reads-early", Arm, fails(Mismatched)),
    by("an NMI that reads the record before the announcement", "nmi-reads-early", Ziccif, fails(Mismatched)),
    by("an NMI that reads the record before the announcement", "nmi-reads-early", Ziccid, fails(Mismatched)),
    by("nmi_assist without the parked CPUs' synchronisation", "nmi_assist-no-sync", Arm, fails(NotLive)),
    by("nmi_assist without the parked CPUs' synchronisation", "nmi_assist-no-sync", Ziccif, fails(Torn)),
    by("nmi_assist without the parked CPUs' synchronisation", "nmi_assist-no-sync", Ziccid, SAFE),
    by("a trap in an NMI", "nmi-meets-trap", Arm, SAFE),
    by("a trap in an NMI", "nmi-meets-trap", Ziccif, SAFE),
    by("a trap in an NMI", "nmi-meets-trap", Ziccid, SAFE),
];
