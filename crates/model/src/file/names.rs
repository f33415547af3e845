//! Words that stand for something, and what is said about others.

use super::error::Error;
use super::lex::Word;
use crate::property::{Sometimes, Violation};
use crate::scenario::{IsaId, Profile};

/// The thing with this name. An error names the known ones and, if there is one, the nearest.
pub(super) fn find<T: Copy>(what: &str, word: &Word<'_>, known: &[(String, T)]) -> Result<T, Error> {
    match known.iter().find(|(name, _)| word.is(name)) {
        Some(&(_, thing)) => Ok(thing),
        None => Err(word.at.error(unknown(what, word.text, known.iter().map(|(name, _)| name.as_str())))),
    }
}

/// A sentence about a word that nobody knows.
pub(super) fn unknown<'n>(what: &str, word: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    let lower = word.to_lowercase();
    let distance = |name: &&str| strsim::osa_distance(name, &lower);
    let near = known.clone().min_by_key(distance).filter(|name| distance(name) <= name.len() / 3);
    let names = known.collect::<Vec<_>>().join(", ");
    match near {
        Some(near) => format!("unknown {what} \"{word}\"; did you mean \"{near}\"? known are: {names}"),
        None => format!("unknown {what} \"{word}\"; known are: {names}"),
    }
}

/// `MidInstruction` as `mid-instruction`: the names that reports have in JSON.
pub(super) fn kebab(name: &impl std::fmt::Debug) -> String {
    let mut out = String::new();
    for c in format!("{name:?}").chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.extend(c.to_lowercase());
    }
    out
}

pub(super) fn sometimes() -> Vec<(String, Sometimes)> {
    Sometimes::ALL.into_iter().map(|s| (kebab(&s), s)).collect()
}

/// By name and, those that have one, by number.
pub(super) fn violations() -> Vec<(String, Violation)> {
    let names = Violation::ALL.into_iter().map(|v| (kebab(&v), v));
    let numbers = Violation::ALL.into_iter().filter_map(|v| Some((v.number()?.to_lowercase(), v)));
    names.chain(numbers).collect()
}

pub(super) fn isas() -> Vec<(String, IsaId)> {
    IsaId::ALL.into_iter().map(|isa| (isa.name().into(), isa)).collect()
}

pub(super) fn profiles() -> Vec<(String, Profile)> {
    Profile::ALL.into_iter().map(|p| (p.name().into(), p)).collect()
}
