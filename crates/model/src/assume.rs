//! What a verdict rests on, in words.

use textpoke_core::{Phase, Step};

use crate::report::programs;
use crate::scenario::{Profile, Scenario};

/// The assumptions that a verdict about this scenario needs.
pub fn assumptions(s: &Scenario) -> Vec<&'static str> {
    let steps: Vec<Step> = s.batches.iter().flat_map(|b| programs(b).0).collect();
    let has = |wanted: fn(&Step) -> bool| steps.iter().any(wanted);
    let traps = has(|s| matches!(s, Step::Store { phase: Phase::Trap | Phase::TrapHead, .. }));
    let w = &s.world;
    let amd = w.profile == Profile::Amd;
    let all = [
        (amd, "aligned 8 bytes are fetched at once, in order (AMD APM vol. 2, 7.6.1)"),
        (
            !amd && w.one_byte_exempt,
            "a one-byte store over code shows the old or the new byte (Intel engineers, not the manual)",
        ),
        (!amd && w.at_once == 2, "2 aligned bytes are fetched at once (undocumented by Intel)"),
        (!amd && w.at_once == 8, "8 aligned bytes are fetched at once (undocumented by Intel)"),
        (true, "storing a byte that is there already changes nothing"),
        (traps, "no thread that comes by blocks the trap signal; the trap handler is not interrupted by program code"),
    ];
    all.into_iter().filter(|(on, _)| *on).map(|(_, text)| text).collect()
}
