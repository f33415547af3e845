//! Which instruction set, and whose promises about instruction fetch.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use textpoke_model::{Check, IsaId, Profile};

use crate::error::{Error, Result};

/// Reads the name of an instruction set, however it is spelled.
///
/// # Errors
/// A message that names those that are modelled.
pub fn isa(text: &str) -> Result<IsaId, String> {
    match text.to_ascii_lowercase().replace('_', "-").as_str() {
        "x86-64" | "amd64" | "x64" => Ok(IsaId::X86),
        "aarch64" | "arm64" => Ok(IsaId::Arm),
        "riscv64" | "riscv" | "rv64" => Ok(IsaId::Riscv),
        _ => Err(format!("{} are modelled", isas(&IsaId::ALL))),
    }
}

/// The parser of `--profile`, which knows all names and what they mean.
pub fn profiles() -> impl TypedValueParser<Value = Profile> {
    let value = |p: Profile| PossibleValue::new(p.name()).help(meaning(p));
    PossibleValuesParser::new(Profile::ALL.map(value)).map(|name| {
        // The parser lets no other name through.
        Profile::ALL.into_iter().find(|p| p.name() == name).unwrap_or(Profile::Intel)
    })
}

const fn meaning(profile: Profile) -> &'static str {
    match profile {
        Profile::Intel => "x86-64, Intel's manual: nothing is promised",
        Profile::Amd => "x86-64, AMD's manual: aligned 8 bytes at once, in order",
        Profile::Arm => "aarch64: clean, invalidate, synchronise",
        Profile::ArmIdc => "aarch64 with CTR_EL0.IDC: nothing to clean",
        Profile::ArmDic => "aarch64 with CTR_EL0.IDC and DIC: nothing to invalidate either",
        Profile::Ziccif => "riscv64 with Ziccif alone: aligned 4 bytes at once, in any order",
        Profile::Ziccid => "riscv64 with Ziccid: in order",
    }
}

/// Under which rules a check is explored: one profile, or all of an instruction set, or all of x86-64, or else all that
/// the check is for.
///
/// # Errors
/// Of usage, if these do not go together.
pub fn chosen(check: &Check, isa: Option<IsaId>, profile: Option<Profile>) -> Result<Vec<Profile>> {
    if let (Some(isa), Some(profile)) = (isa, profile)
        && profile.isa() != isa
    {
        let names: Vec<&str> = isa.profiles().iter().map(|p| p.name()).collect();
        return Err(Error::Usage(format!(
            "{} is a profile of {}; those of {} are {}",
            profile.name(),
            profile.isa().name(),
            isa.name(),
            listed(&names, "and")
        )));
    }
    let wanted = profile.map(Profile::isa).or(isa);
    if let Some(isa) = wanted.filter(|isa| !check.isas.contains(isa)) {
        return Err(Error::Usage(format!(
            "{} is a check for {}, not for {}; `textpoke check --list --isa {}` shows those",
            check.name,
            isas(check.isas),
            isa.name(),
            isa.name()
        )));
    }
    if let Some(profile) = profile {
        return Ok(vec![profile]);
    }
    let all = match wanted {
        Some(isa) => vec![isa],
        None if check.isas.contains(&IsaId::X86) => vec![IsaId::X86],
        None => check.isas.to_vec(),
    };
    Ok(all.into_iter().flat_map(IsaId::profiles).copied().collect())
}

/// Their names, as a sentence has them.
#[must_use]
pub fn isas(all: &[IsaId]) -> String {
    let names: Vec<&str> = all.iter().map(|isa| isa.name()).collect();
    listed(&names, "and")
}

fn listed(names: &[&str], and: &str) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).into(),
        [most @ .., last] => format!("{} {and} {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(check: &str, isa: Option<IsaId>, profile: Option<Profile>) -> Result<Vec<&'static str>, String> {
        let all = chosen(Check::find(check).unwrap(), isa, profile);
        all.map(|all| all.iter().map(|p| p.name()).collect()).map_err(|e| e.to_string())
    }

    #[test]
    fn x86_unless_the_check_is_for_others() {
        assert_eq!(names("breakpoint", None, None).unwrap(), ["intel", "amd"]);
        assert_eq!(names("two-nops", None, None).unwrap(), ["arm64", "arm64-idc", "arm64-dic", "ziccif", "ziccid"]);
        assert_eq!(names("breakpoint", Some(IsaId::Riscv), None).unwrap(), ["ziccif", "ziccid"]);
        assert_eq!(names("breakpoint", None, Some(Profile::ArmDic)).unwrap(), ["arm64-dic"]);
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let error = names("breakpoint", Some(IsaId::Arm), Some(Profile::Ziccif)).unwrap_err();
        assert_eq!(error, "ziccif is a profile of riscv64; those of aarch64 are arm64, arm64-idc and arm64-dic");
        let error = names("five-nops", Some(IsaId::Arm), None).unwrap_err();
        assert!(error.starts_with("five-nops is a check for x86-64, not for aarch64; "), "{error}");
        assert!(names("two-nops", None, Some(Profile::Amd)).unwrap_err().contains("aarch64 and riscv64, not for x86"));
    }

    #[test]
    fn instruction_sets_have_several_names() {
        for (text, wanted) in [("x86_64", IsaId::X86), ("AMD64", IsaId::X86), ("arm64", IsaId::Arm)] {
            assert_eq!(isa(text), Ok(wanted));
        }
        assert!(IsaId::ALL.into_iter().all(|one| isa(one.name()) == Ok(one)));
        assert_eq!(isa("vax").unwrap_err(), "x86-64, aarch64 and riscv64 are modelled");
    }
}
