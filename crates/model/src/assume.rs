//! What a verdict rests on, in words.

use textpoke_core::{Phase, Step};

use crate::scenario::{IsaId, OneByte, Profile, Scenario};

/// The assumptions that a verdict about this scenario needs.
pub fn assumptions(s: &Scenario) -> Vec<&'static str> {
    let steps: Vec<Step> = s.batches.iter().flat_map(|b| b.programs()[0].to_vec()).collect();
    let has = |wanted: fn(&Step) -> bool| steps.iter().any(wanted);
    let traps = has(|s| matches!(s, Step::Store { phase: Phase::Trap | Phase::TrapHead, .. }));
    let w = &s.world;
    let p = w.profile;
    let intel = p == Profile::Intel;
    let all = [
        (p == Profile::Amd, "aligned 8 bytes are fetched at once, in order (AMD APM vol. 2, 7.6.1)"),
        (
            intel && w.one_byte == OneByte::Traps,
            "one byte of INT3 stored over code, or code over it, shows the old or the new (Intel engineers, not the manual)",
        ),
        (
            intel && w.one_byte == OneByte::Any,
            "any one byte stored over code shows the old or the new (undocumented by Intel)",
        ),
        (intel && w.at_once == 2, "2 aligned bytes are fetched at once (undocumented by Intel)"),
        (intel && w.at_once == 8, "8 aligned bytes are fetched at once (undocumented by Intel)"),
        (p.isa() == IsaId::Arm, "instructions in the list change one by one (Arm ARM DDI 0487, B2.2.5)"),
        (p == Profile::Arm, "CTR_EL0.IDC = 0, DIC = 0: clean, invalidate, synchronise"),
        (p == Profile::ArmIdc, "CTR_EL0.IDC = 1, DIC = 0: invalidate, synchronise"),
        (p == Profile::ArmDic, "CTR_EL0.IDC = 1, DIC = 1: synchronise"),
        (p.isa() == IsaId::Riscv, "aligned fetches of up to 4 bytes are atomic (RISC-V Ziccif)"),
        (p == Profile::Ziccid, "fetches see memory in order (RISC-V Ziccid)"),
        (w.bounded_staleness, "after a while every CPU has fetched anew (no vendor says so)"),
        (true, "storing a byte that is there already changes nothing"),
        (traps, "no thread that comes by blocks the trap signal; the trap handler is not interrupted by program code"),
        (w.nmi.is_some(), "an NMI ends; its entry and return code is not patched"),
    ];
    all.into_iter().filter(|(on, _)| *on).map(|(_, text)| text).collect()
}
