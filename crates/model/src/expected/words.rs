//! AArch64 and RISC-V.

use super::{Expect, Row, SAFE, bad, row};
use crate::property::Violation::{self, *};
use crate::scenario::Profile::{self, *};

const fn bytewise(digest: &'static str, check: &'static str, profile: Profile, expect: Expect) -> Row {
    super::bytewise(row(digest, check, profile, expect))
}

const fn fails(violation: Violation) -> Expect {
    Expect::Unsafe(violation, None)
}

/// The rows of the digest, §2.5 and §2.6. Its lengths count what our machine has no transitions for (a prefetch, caches
/// one by one), so that few are pinned.
pub(super) const DIGEST: &[Row] = &[
    row("002 two NOPs -> MOV X9,X30; BL, cache maintenance between", "two-nops", Arm, fails(NotLive)),
    row("the same with V6 off", "two-nops-any", Arm, fails(Pair)),
    row("002 + ISB IPI after each store", "two-nops-barriers", Arm, fails(NotLive)),
    row("the same with V6 off", "two-nops-barriers-any", Arm, fails(Pair)),
    row("002 + WaitTasks between stores", "two-nops-wait", Arm, fails(NotLive)),
    row("the same with V6 off", "two-nops-wait-any", Arm, SAFE),
    row("002 MOV pre-patched at build, NOP<->BL toggled", "prepared_pair", Arm, SAFE),
    row("the same without a sync, P2", "prepared_pair-no-sync", Arm, fails(Stale)),
    row("002 MOV->B live", "mov-to-b", Arm, fails(NotLive)),
    row("002 B->MOV live", "b-to-mov", Arm, fails(NotLive)),
    row("002 NOP->MOV live", "nop-to-mov", Arm, fails(NotLive)),
    row("002 NOP->B", "nop-to-b", Arm, SAFE),
    bytewise("003 stop_machine, one CPU patches, cnt=1 (MOV->B), ISB on exit", "park-mov", Arm, SAFE),
    bytewise("the same without ISB", "park-no-sync", Arm, fails(NotLive)),
    bytewise("003 stop_machine, cnt=2 words", "park-several", Arm, fails(Pair)),
    row("003 patch_text_nosync(cnt=2)", "word-by-word", Arm, fails(Pair)),
    row("000 mail: two-word site via trap, no task wait", "pair-no-wait", Arm, fails(Pair)),
    row("000 mail: two-word site via trap, no task wait", "pair-no-wait", Ziccif, fails(Pair)),
    row("000 mail: two-word site via trap, no task wait", "pair-no-wait", Ziccid, bad(Pair, 10)),
    row("+ WaitTasks after the trap sync", "pair", Arm, SAFE),
    row("+ WaitTasks after the trap sync", "pair", Ziccif, SAFE),
    row("+ WaitTasks after the trap sync", "pair", Ziccid, SAFE),
    row("same under stop_machine", "park-wait", Arm, fails(Deadlock)),
    row("same under stop_machine", "park-wait", Ziccif, fails(Deadlock)),
    row("same under stop_machine", "park-wait", Ziccid, fails(Deadlock)),
];

/// What the digest does not have.
pub(super) const OURS: &[Row] = &[
    row("000 mail where the new first word is not in the list", "pair-mov", Arm, fails(NotLive)),
    row("the same, parking twice with a wait in between", "park_twice", Arm, SAFE),
    row("two words one by one, where all may change live", "two-nops", Ziccif, fails(Pair)),
    row("two words one by one, where all may change live", "two-nops", Ziccid, fails(Pair)),
    row("the same with barriers", "two-nops-barriers", Ziccif, fails(Pair)),
    row("the same with barriers", "two-nops-barriers", Ziccid, fails(Pair)),
    row("the same with the wait", "two-nops-wait", Ziccif, SAFE),
    row("the same with the wait", "two-nops-wait", Ziccid, SAFE),
    row("the first planted and the second toggled at once", "plant-no-wait", Arm, fails(Pair)),
    row("the first planted and the second toggled at once", "plant-no-wait", Ziccif, fails(Pair)),
    row("the first planted and the second toggled at once", "plant-no-wait", Ziccid, fails(Pair)),
    row("NOP<->JALR toggled without FENCE.I", "prepared_pair-no-sync", Ziccif, fails(Stale)),
    row("NOP<->JALR toggled without FENCE.I", "prepared_pair-no-sync", Ziccid, fails(Stale)),
    row("no remote context synchronisation", "word-no-sync", Arm, fails(Stale)),
    row("no remote context synchronisation", "word-no-sync", ArmDic, fails(Stale)),
    row("no remote context synchronisation", "word-no-sync", Ziccif, fails(Stale)),
    row("no remote context synchronisation", "word-no-sync", Ziccid, fails(Stale)),
    row("no cache maintenance", "word-no-maintain", Arm, fails(Stale)),
    row("no cache maintenance, IDC", "word-no-maintain", ArmIdc, fails(Stale)),
    row("no cache maintenance, IDC and DIC", "word-no-maintain", ArmDic, SAFE),
    row("maintenance not broadcast", "word-local", Arm, fails(Stale)),
    row("maintenance not broadcast, IDC", "word-local", ArmIdc, fails(Stale)),
    row("maintenance not broadcast, IDC and DIC", "word-local", ArmDic, SAFE),
    row("data not cleaned", "word-no-clean", Arm, fails(Stale)),
    row("data not cleaned, IDC", "word-no-clean", ArmIdc, SAFE),
    row("data not cleaned, IDC and DIC", "word-no-clean", ArmDic, SAFE),
    row("instruction caches not invalidated", "word-no-invalidate", Arm, fails(Stale)),
    row("instruction caches not invalidated, IDC", "word-no-invalidate", ArmIdc, fails(Stale)),
    row("instruction caches not invalidated, IDC and DIC", "word-no-invalidate", ArmDic, SAFE),
    bytewise("003 with maintenance not broadcast", "park-local", Arm, fails(NotLive)),
    bytewise("003 with maintenance not broadcast, IDC and DIC", "park-local", ArmDic, SAFE),
    bytewise("003 on RISC-V without FENCE.I on exit", "park-no-sync", Ziccif, fails(Stale)),
    bytewise("003 on RISC-V without FENCE.I on exit", "park-no-sync", Ziccid, fails(Stale)),
    bytewise("003 on RISC-V, two words", "park-several", Ziccif, fails(Pair)),
    bytewise("003 on RISC-V, two words", "park-several", Ziccid, fails(Pair)),
    bytewise("a patcher killed while it parks everybody", "park-killed", Arm, fails(NotLive)),
    bytewise("a patcher killed while it parks everybody", "park-killed", Ziccif, fails(Torn)),
    bytewise("a patcher killed while it parks everybody", "park-killed", Ziccid, fails(Torn)),
    row("a trap table that is published without a barrier", "publish-no-barrier", Arm, fails(LostTrap)),
    row("a trap table that is published without a barrier", "publish-no-barrier", Ziccif, fails(LostTrap)),
    row("a trap table that is published without a barrier", "publish-no-barrier", Ziccid, fails(LostTrap)),
    row("the handler's two reads the other way round", "table-first", Arm, SAFE),
    row("the handler's two reads the other way round", "table-first", Ziccif, SAFE),
    row("the handler's two reads the other way round", "table-first", Ziccid, SAFE),
    row("a handler that looks once", "looks-once", Arm, fails(LostTrap)),
    row("a handler that looks once", "looks-once", Ziccif, fails(LostTrap)),
    row("a handler that looks once", "looks-once", Ziccid, fails(LostTrap)),
    row("two bytes at 2 mod 4", "compressed", Ziccif, SAFE),
    row("two bytes at 2 mod 4", "compressed", Ziccid, SAFE),
    row("four bytes at 2 mod 4", "word-at-2-mod-4", Ziccif, bad(Torn, 2)),
    row("four bytes at 2 mod 4", "word-at-2-mod-4", Ziccid, fails(Torn)),
    row("small instructions merged into a larger one", "merge", Ziccif, fails(MidInstruction)),
    row("small instructions merged into a larger one", "merge", Ziccid, fails(MidInstruction)),
    row("the head shrinks to a jump", "shrink", Ziccif, SAFE),
    row("the head shrinks to a jump", "shrink", Ziccid, SAFE),
];
