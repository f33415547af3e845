//! `litmus`: exit codes and what is printed. That silicon does what it does is tested in `crates/litmus`.

mod support;

use std::process::{Command, Stdio};

use serde_json::Value;
use support::textpoke;

/// Standard output, standard error and the exit code.
fn litmus(args: &[&str]) -> (String, String, i32) {
    let output = textpoke(&[&["litmus"], args].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

#[test]
fn the_table_is_for_people() {
    let (text, _, code) = litmus(&["breakpoint", "naive-copy", "--seconds", "0.5"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours into a pipe");
    assert_eq!(text.matches("as promised").count(), 6 + 1, "six places and the last line: {text}");
    let control = text.lines().skip_while(|line| !line.starts_with("control")).nth(1).unwrap();
    assert!(control.ends_with("failed"), "{control}");
    assert!(text.contains("Nothing happened that the checker calls impossible."), "{text}");
    assert!(text.contains("verdicts rest on:") && text.contains("V1       torn instruction"), "{text}");
}

#[test]
fn the_document_is_for_programs() {
    let (text, _, code) = litmus(&["word", "--json", "--seconds", "0.1", "--profile", "intel"]);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 0, "{text}");
    for text in ["cpu", "vendor", "kernel", "profile"] {
        assert!(document[text].is_string(), "{text}");
    }
    assert_eq!((&document["contradicted"], &document["complete"]), (&false.into(), &true.into()));
    let cells = document["cells"].as_array().unwrap();
    let [control, word] = &cells[..] else { panic!("two cells: {text}") };
    assert_eq!((&control["variant"], &control["outcome"]), (&"control".into(), &"failed-as-predicted".into()));
    // By Intel's book a store of eight bytes may tear; no CPU was seen to do it.
    assert_eq!((&word["checker"]["verdict"], &word["checker"]["violation"]), (&"unsafe".into(), &"torn".into()));
    assert_eq!(
        (&word["outcome"], &word["boundary"], &word["ours"]),
        (&"not-seen".into(), &"inside 8".into(), &true.into())
    );
    assert_eq!(word["place"], serde_json::json!({"offset": 0, "last": false}));
    let counts = word["counts"].as_object().unwrap();
    let of = |name: &str| counts[name].as_u64().unwrap();
    assert!(of("flips") >= 2 && of("old") > 0 && of("new") > 0, "{text}");
    assert_eq!(of("executions"), of("old") + of("new"));
    for name in ["undone", "wrong", "stale", "segv", "ill", "other", "stray", "lost", "hung", "died"] {
        assert!(counts[name].is_u64(), "{name}");
    }
}

#[test]
fn names_and_numbers_are_checked() {
    let (_, error, code) = litmus(&["int4"]);
    assert_eq!(code, 2);
    assert!(error.contains("no variant \"int4\"") && error.contains("straddling-store"), "{error}");
    for bad in [&["--seconds", "0"][..], &["--seconds", "x"], &["--list", "word"], &["--seconds", "100000"]] {
        assert_eq!(litmus(bad).2, 2, "{bad:?}");
    }
    let (text, _, code) = litmus(&["--list"]);
    assert_eq!(code, 0);
    assert!(text.contains("displace-head-only") && text.contains("Always run first"), "{text}");
    let (text, _, _) = litmus(&["--list", "--json"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    assert!(list.as_array().unwrap().iter().any(|v| v["name"] == "word" && v["live"] == true), "{text}");
    let help = litmus(&["--help"]).0;
    assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
}

/// The children of a process, from /proc.
fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// A child that is gone, or only waits to be collected.
fn is_over(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with(['Z', 'X']))
}

#[test]
fn a_killed_parent_leaves_no_children() {
    let program = env!("CARGO_BIN_EXE_textpoke");
    let mut parent = Command::new(program)
        .args(["litmus", "breakpoint", "--seconds", "3600"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // The first children only answer whether they can work; one that runs a cell has orders to run for minutes.
    let child = loop {
        let is_cell = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("\"breakpoint\"")
        };
        match children(parent.id()).into_iter().find(is_cell) {
            Some(child) => break child,
            None => std::thread::yield_now(),
        }
    };
    assert!(!is_over(child));
    parent.kill().unwrap();
    parent.wait().unwrap();
    // Never ends if the child does not.
    while !is_over(child) {
        std::thread::yield_now();
    }
}
