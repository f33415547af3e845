//! The two checkers against each other: each litmus test of `tests/herd/` that is the skeleton of a protocol, and the same
//! protocol explored step by step.

use std::path::Path;

use textpoke_model::herd::{Decision, Flag, Verdict as Litmus, decide, parse};
use textpoke_model::property::Violation::{self, NotLive, Pair, Stale};
use textpoke_model::{Options, Profile, Verdict, check};

/// What the litmus test says: under this model, and whether a change was flagged that may not be made live.
fn litmus(name: &str, profile: Profile) -> (Litmus, bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/herd");
    let text = std::fs::read_to_string(folder.join(format!("{name}.litmus"))).unwrap();
    let decision: Decision = decide(&parse(&text).unwrap()).unwrap();
    let model = match profile {
        Profile::Ziccif => "Ziccif-only",
        Profile::Ziccid => "Ziccid",
        _ => "aarch64",
    };
    // The cache type stands in the test, and must be the profile's.
    let caches = match profile {
        Profile::ArmIdc => Some("CacheType=IDC\n"),
        Profile::ArmDic => Some("CacheType=IDC DIC\n"),
        _ => None,
    };
    assert_eq!(caches.is_some(), text.contains("CacheType"), "{name}");
    assert!(caches.is_none_or(|line| text.contains(line)), "{name}");
    let verdict = decision.verdicts.iter().find(|(name, _)| *name == model).unwrap().1;
    (verdict, decision.flags.contains(&Flag::Cmodx))
}

/// What exploring the protocol says.
fn explored(name: &str, profile: Profile) -> Option<Violation> {
    match check(name, &Options::new(profile), &mut |_, _| {}).unwrap().verdict {
        Verdict::Safe { .. } => None,
        Verdict::Unsafe { violation, .. } => Some(violation),
        other => panic!("{name}: {other:?}"),
    }
}

/// Where exploring finds old code after the call returned or half of a pair, the litmus test's state is reachable; where
/// it finds nothing, it is not, and nothing is flagged.
#[test]
fn both_checkers_agree_on_what_is_executed() {
    use Profile::{Arm, ArmDic, ArmIdc, Ziccid, Ziccif};
    for (test, protocol, profile, violation) in [
        ("arm-word", "word", Arm, None),
        ("arm-word-dic", "word", ArmDic, None),
        ("arm-word-no-maintenance", "word-no-maintain", Arm, Some(Stale)),
        ("arm-word-no-ic", "word-no-maintain", ArmIdc, Some(Stale)),
        ("arm-word-dic", "word-no-maintain", ArmDic, None),
        ("arm-word-no-isb", "word-no-sync", Arm, Some(Stale)),
        ("arm-word-no-isb-dic", "word-no-sync", ArmDic, Some(Stale)),
        ("arm-pair", "two-nops-any", Arm, Some(Pair)),
        ("arm-pair-isb", "two-nops-barriers-any", Arm, Some(Pair)),
        ("arm-prepared-pair", "prepared_pair", Arm, None),
        ("arm-parked", "park-mov", Arm, None),
        ("riscv-word", "word", Ziccif, None),
        ("riscv-word", "word", Ziccid, None),
        ("riscv-word-no-fence-i", "word-no-sync", Ziccif, Some(Stale)),
        ("riscv-word-no-fence-i", "word-no-sync", Ziccid, Some(Stale)),
        ("riscv-pair", "two-nops", Ziccif, Some(Pair)),
        ("riscv-pair", "two-nops", Ziccid, Some(Pair)),
    ] {
        assert_eq!(explored(protocol, profile), violation, "{protocol} {profile:?}");
        let (verdict, _) = litmus(test, profile);
        let reachable = if violation.is_some() { Litmus::Allowed } else { Litmus::Forbidden };
        assert_eq!(verdict, reachable, "{test} as {protocol} {profile:?}");
    }
}

/// Where exploring finds an instruction that may not change live being changed live, the litmus test is flagged.
#[test]
fn both_checkers_agree_on_what_may_change_live() {
    for (test, protocol, violation) in [
        ("arm-word", "word", None),
        ("arm-pair", "two-nops", Some(NotLive)),
        ("arm-pair-isb", "two-nops-barriers", Some(NotLive)),
        ("arm-prepared-pair", "prepared_pair", None),
        ("arm-nop-to-b", "nop-to-b", None),
        ("arm-mov-to-b", "mov-to-b", Some(NotLive)),
        ("arm-parked", "park-mov", None),
        ("arm-parked-no-isb", "park-no-sync", Some(NotLive)),
    ] {
        assert_eq!(explored(protocol, Profile::Arm), violation, "{protocol}");
        assert_eq!(litmus(test, Profile::Arm).1, violation.is_some(), "{test} as {protocol}");
    }
}
