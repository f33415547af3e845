//! x86-64.

use super::{Expect, Row, SAFE, amd, bad, bytewise, cut, intel};
use crate::property::Violation::*;

/// The rows of the digest, §2.5 and §2.6.
pub(super) const DIGEST: &[Row] = &[
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
pub(super) const OURS: &[Row] = &[
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

/// Seed 003 and two instructions, which the digest has for other instruction sets.
pub(super) const OTHERS: &[Row] = &[
    bytewise(intel(
        "003 stop_machine, several instructions (there arm64)",
        "park-several",
        Expect::Unsafe(MidInstruction, None),
    )),
    bytewise(amd(
        "003 stop_machine, several instructions (there arm64)",
        "park-several",
        Expect::Unsafe(MidInstruction, None),
    )),
    intel("waiting under stop_machine (there RISC-V)", "park-wait", Expect::Unsafe(Deadlock, None)),
    amd("waiting under stop_machine (there RISC-V)", "park-wait", Expect::Unsafe(Deadlock, None)),
    bytewise(intel("003 without the synchronisation on the way out", "park-no-sync", Expect::Unsafe(Stale, None))),
    bytewise(amd("003 without the synchronisation on the way out", "park-no-sync", Expect::Unsafe(Torn, None))),
    bytewise(intel("a patcher killed while it parks everybody", "park-killed", Expect::Unsafe(Torn, None))),
    bytewise(amd("a patcher killed while it parks everybody", "park-killed", Expect::Unsafe(Torn, None))),
    intel("waits by the clock instead of synchronising", "timed-waits", bad(Torn, 4)),
    amd("waits by the clock instead of synchronising", "timed-waits", Expect::Unsafe(Torn, None)),
    intel("the same, assuming bounded staleness", "timed-waits-bounded", SAFE),
    amd("the same, assuming bounded staleness", "timed-waits-bounded", SAFE),
    // x86-64 makes stores visible in order.
    intel("a trap table that is published without a barrier", "publish-no-barrier", SAFE),
    amd("a trap table that is published without a barrier", "publish-no-barrier", SAFE),
    intel("the handler's two reads the other way round", "table-first", SAFE),
    amd("the handler's two reads the other way round", "table-first", SAFE),
    intel("a handler that looks once", "looks-once", Expect::Unsafe(LostTrap, None)),
    amd("a handler that looks once", "looks-once", Expect::Unsafe(LostTrap, None)),
];
