//! Keys for programs.

use std::collections::BTreeMap;

use serde::Serialize;
use textpoke_attach::keys::{Flipped, Key, Tables};
use textpoke_keys::abi::Kind;

/// What `keys PID --json` prints.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    /// The process.
    pub pid: u32,
    /// The keys.
    pub keys: Vec<One<'a>>,
    /// What could not be understood.
    pub faults: &'a [String],
}

/// A key.
#[derive(Debug, Serialize)]
pub struct One<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    value: u64,
    initial: u64,
    bytes: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<&'a str>,
    file: &'a str,
    line: u32,
    object: &'a str,
    address: u64,
    sites: Vec<u64>,
}

/// What was changed.
#[derive(Debug, Serialize)]
pub struct Change<'a> {
    name: &'a str,
    before: State,
    after: State,
    sites: usize,
}

#[derive(Debug, Serialize)]
struct State {
    value: u64,
    count: u32,
}

/// All that is known of these keys.
#[must_use]
pub fn document<'a>(
    pid: u32,
    tables: &'a Tables,
    keys: &[&'a Key],
    targets: &'a BTreeMap<u64, String>,
) -> Document<'a> {
    let one = |key: &&'a Key| {
        let branch = key.kind == Kind::Branch;
        One {
            name: &key.name,
            index: key.index,
            kind: kind(key.kind),
            enabled: branch.then_some(key.value == 1),
            count: branch.then_some(key.count),
            value: key.value,
            initial: key.initial,
            bytes: key.width,
            function: (key.kind == Kind::Call).then(|| targets.get(&key.value).map(String::as_str)).flatten(),
            file: &key.file,
            line: key.line,
            object: &tables.objects[key.object].path,
            address: key.at,
            sites: key.sites.iter().map(|entry| entry.code).collect(),
        }
    };
    Document { pid, keys: keys.iter().map(one).collect(), faults: &tables.faults }
}

/// What was changed.
#[must_use]
pub fn changes(done: &[Flipped]) -> Vec<Change<'_>> {
    let change = |flipped: &'_ Flipped| -> (State, State) {
        let state = |value, count| State { value, count };
        (state(flipped.value.0, flipped.count.0), state(flipped.value.1, flipped.count.1))
    };
    done.iter()
        .map(|flipped| {
            let (before, after) = change(flipped);
            Change { name: &flipped.name, before, after, sites: flipped.sites }
        })
        .collect()
}

/// The word for a kind.
const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Branch => "branch",
        Kind::Call => "call",
        Kind::Imm => "number",
    }
}
