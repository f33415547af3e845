//! `sites --json`.

use serde_json::{Value, json};
use textpoke_analyze::{ExitEvent, Function};

use super::survey::{Summary, Survey, exit, jump, protocol, way};
use crate::names;

/// The whole document.
#[must_use]
pub fn document(surveys: &[Survey]) -> Value {
    let files: Vec<Value> = surveys
        .iter()
        .map(|s| {
            let functions: Vec<Value> = s.functions.iter().map(|f| function(f, s.bias)).collect();
            json!({
                "path": s.path,
                "build_id": s.build_id,
                "isa": s.isa.to_string(),
                "bias": hex(s.bias),
                "functions": functions,
            })
        })
        .collect();
    json!({ "files": files, "summary": Summary::of(surveys) })
}

fn function(f: &Function, bias: u64) -> Value {
    let entry = f.entry.as_ref();
    let exits: Vec<Value> = f
        .exits
        .iter()
        .map(|e| {
            let event = match e.event {
                ExitEvent::Return => "return",
                ExitEvent::TailJump => "tail-jump",
            };
            json!({ "addr": hex(e.site.vaddr.wrapping_add(bias)), "kind": event })
        })
        .collect();
    let blocked: Vec<Value> = f
        .blocked_exits
        .iter()
        .map(|(at, reason)| json!({ "addr": hex(at.wrapping_add(bias)), "reason": reason.to_string() }))
        .collect();
    json!({
        "name": names::demangle(&f.name),
        "symbol": f.name,
        "aliases": f.aliases,
        "addr": hex(f.vaddr.wrapping_add(bias)),
        "size": f.size,
        "way": entry.map(|site| way(site.way)).ok(),
        "protocol": entry.map(protocol).ok(),
        "jump": entry.map(jump).ok(),
        "reason": entry.err().map(ToString::to_string),
        "displaced_bytes": entry.map(|site| site.len()).ok(),
        "exit": exit(f.exit),
        "exits": exits,
        "blocked_exits": blocked,
    })
}

fn hex(n: u64) -> String {
    format!("{n:#x}")
}
