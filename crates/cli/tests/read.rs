//! `report`, `info` and the errors that all reading verbs share.

mod support;

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Step, TestTrace, refusal, sample, stdout, textpoke};
use textpoke_cli::data::meta::ExitKind;

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&stdout(args)).unwrap()
}

fn by_name<'a>(report: &'a Value, name: &str) -> &'a Value {
    let functions = report["functions"].as_array().unwrap();
    functions.iter().find(|f| f["name"] == name).unwrap_or_else(|| panic!("{name} in {report}"))
}

#[test]
fn numbers_of_the_report() {
    let temp = tempfile::tempdir().unwrap();
    let dir = sample().write(&temp.path().join("t"));
    let report = json(&["report", "--json", dir.to_str().unwrap()]);
    assert_eq!(report["lost"], 7);

    let work = by_name(&report, "app::work");
    assert_eq!(work["calls"], 5);
    // 100..300 once although the function calls itself, 600..700, and 200..260, 350..360.
    assert_eq!(work["total_ns"], 200 + 100 + 60 + 10);
    assert_eq!(work["self_ns"], 200 + 100 + 60 + 10);
    // The median of 10, 60, 100, 100, 200: above 64 a bucket is 2 ns wide.
    assert!((100..=102).contains(&work["p50_ns"].as_u64().unwrap()), "{work}");
    assert_eq!(work["exit"], "patched");
    assert_eq!(work["file"], "/opt/prog");

    let main = by_name(&report, "main");
    assert_eq!(main["total_ns"], 1000, "still running at the end");
    assert_eq!(main["self_ns"], 1000 - 200 - 100 - 100);
    let poll = by_name(&report, "Base::poll(int)");
    assert_eq!((&poll["exit"], &poll["total_ns"]), (&"inferred".into(), &100.into()));
    let fork = by_name(&report, "fork");
    assert_eq!((&fork["exit"], &fork["calls"], &fork["total_ns"]), (&"entry-only".into(), &1.into(), &0.into()));

    let threads = report["threads"].as_array().unwrap();
    assert_eq!(threads.len(), 2);
    assert_eq!(threads[1]["name"], "worker<&>");
    assert_eq!((&threads[1]["calls"], &threads[1]["lost"]), (&2.into(), &7.into()));
    let keys: Vec<_> = report["functions"][0].as_object().unwrap().keys().cloned().collect();
    for key in ["name", "file", "calls", "total_ns", "self_ns", "p50_ns", "p99_ns", "exit"] {
        assert!(keys.iter().any(|k| k == key), "{key}");
    }
}

#[test]
fn sorting_limits_and_filters() {
    let temp = tempfile::tempdir().unwrap();
    let dir = sample().write(&temp.path().join("t"));
    let dir = dir.to_str().unwrap();
    let first = |args: &[&str]| {
        let report = json(&[&["report", dir, "--json"], args].concat());
        let names = report["functions"].as_array().unwrap().clone();
        names.iter().map(|f| f["name"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(first(&["--sort", "calls", "-n", "1"]), ["app::work"]);
    assert_eq!(first(&["-n", "1"]), ["main"]);
    assert_eq!(first(&["-D", "1"]), ["main", "app::work"], "the worker's outermost call");
    assert_eq!(first(&["-t", "101"]), ["main", "app::work"]);
    assert_eq!(first(&["-t", "201ns"]), ["main"]);
    refusal(&["report", dir, "-D", "0"], 2);
    refusal(&["report", dir, "-t", "fast"], 2);
}

#[test]
fn filters_given_to_record_are_the_defaults() {
    let temp = tempfile::tempdir().unwrap();
    let mut trace = sample();
    trace.meta.depth = Some(1);
    let dir = trace.write(&temp.path().join("t"));
    let dir = dir.to_str().unwrap();
    let functions =
        |args: &[&str]| json(&[&["report", dir, "--json"], args].concat())["functions"].as_array().unwrap().len();
    assert_eq!(functions(&[]), 2);
    assert_eq!(functions(&["-D", "9"]), 4);
}

#[test]
fn the_table_for_people() {
    let temp = tempfile::tempdir().unwrap();
    let dir = sample().write(&temp.path().join("t"));
    let table = stdout(&["report", dir.to_str().unwrap()]);
    assert!(!table.contains('\x1b'), "colours only on a terminal");
    assert!(table.lines().next().unwrap().starts_with("prog pid 41 · 1.00 µs · 2 threads · 8 calls"), "{table}");
    assert!(table.lines().nth(1).unwrap().starts_with("LOST 7 records"), "{table}");
    for wanted in ["app::work", "~ Base::poll", "· fork", "libbase.so", "worker<&>", "1 function was not traced"] {
        assert!(table.contains(wanted), "{wanted} in\n{table}");
    }
    let clean = TestTrace::new(&[("f", "/x", ExitKind::Patched)])
        .thread(1, "f", &[Step::Enter(0, 0), Step::Exit(10)])
        .write(&temp.path().join("clean"));
    assert!(!stdout(&["report", clean.to_str().unwrap()]).contains("LOST"));
}

#[test]
fn a_trace_without_calls_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let dir = TestTrace::new(&[]).write(&temp.path().join("t"));
    let dir = dir.to_str().unwrap();
    assert!(stdout(&["report", dir]).contains("No calls"));
    assert_eq!(json(&["report", dir, "--json"])["functions"], Value::Array(Vec::new()));
    let svg = temp.path().join("f.svg");
    stdout(&["flame", dir, "-o", svg.to_str().unwrap()]);
    assert!(svg.exists());
}

#[test]
fn info_shows_how_the_trace_was_made() {
    let temp = tempfile::tempdir().unwrap();
    let dir = sample().write(&temp.path().join("t"));
    let dir = dir.to_str().unwrap();
    let text = stdout(&["info", dir]);
    for wanted in
        ["/opt/prog --fast", "2026-11-21 01:14:56 UTC", "1.00 µs", "byte for byte", "too short", "the program lived on"]
    {
        assert!(text.contains(wanted), "{wanted} in\n{text}");
    }
    assert!(stdout(&["info", dir, "--refused"]).contains("tiny()"));
    let info = json(&["info", dir, "--json"]);
    assert_eq!((&info["lost"], &info["verified"]), (&7.into(), &true.into()));
    assert_eq!(info["exits"]["entry-only"], 1);
}

#[test]
fn what_is_not_a_readable_trace_is_refused_with_advice() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name).to_str().unwrap().to_string();
    for verb in ["report", "info", "flame"] {
        assert!(refusal(&[verb, &at("missing")], 1).contains("there is no trace at"));
    }
    fs::create_dir(temp.path().join("empty")).unwrap();
    assert!(refusal(&["report", &at("empty")], 1).contains("no meta.json"));
    fs::write(temp.path().join("file"), "x").unwrap();
    assert!(refusal(&["report", &at("file")], 1).contains("not a directory"));

    let dir = sample().write(&temp.path().join("t"));
    let meta = fs::read_to_string(dir.join("meta.json")).unwrap();
    let with = |text: &str| {
        fs::write(dir.join("meta.json"), text).unwrap();
        refusal(&["report", dir.to_str().unwrap()], 1)
    };
    assert!(with("{").contains("cannot be understood"));
    assert!(with(&meta.replace("\"version\":1", "\"version\":99")).contains("newer textpoke (format 99"));
    // A newer format may look different in everything but its version.
    assert!(with("{\"version\":2}").contains("newer textpoke"));
    assert!(with(&meta.replace("\"function\":3", "\"function\":30")).contains("damaged"));
    assert!(with(&meta.replace("\"tsc_hz\":1000000000.0", "\"tsc_hz\":0.0")).contains("clock"));
    assert!(with("{\"version\":1}").contains("damaged"));
}

#[test]
fn damaged_record_files_are_read_as_far_as_they_go() {
    let temp = tempfile::tempdir().unwrap();
    let dir = sample().write(&temp.path().join("t"));
    let whole = fs::read(dir.join("41-0.rec")).unwrap();
    let warned = |wanted: &str| {
        let output = textpoke(&["report", "--json", dir.to_str().unwrap()]);
        assert!(output.status.success());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains(wanted), "{wanted} in {errors}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    fs::write(dir.join("41-0.rec"), &whole[..16 * 4 + 5]).unwrap();
    let report = warned("cut short: 4 of 9 records");
    assert_eq!(by_name(&report, "app::work")["calls"], 4);
    fs::write(dir.join("41-0.rec"), [&whole[..], &[1, 2, 3]].concat()).unwrap();
    warned("within a record");
    fs::remove_file(dir.join("41-0.rec")).unwrap();
    let report = warned("41-0.rec is missing");
    assert_eq!(by_name(&report, "app::work")["calls"], 2);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let temp = tempfile::tempdir().unwrap();
    let functions: Vec<String> = (0..5000).map(|i| format!("function_number_{i}")).collect();
    let table: Vec<_> = functions.iter().map(|f| (f.as_str(), "/x", ExitKind::Patched)).collect();
    let steps: Vec<_> = (0..5000).flat_map(|i| [Step::Enter(i, i as u64 * 2), Step::Exit(i as u64 * 2 + 1)]).collect();
    let dir = TestTrace::new(&table).thread(1, "t", &steps).write(&temp.path().join("t"));
    let dir = dir.to_str().unwrap();
    for args in [&["report", dir, "--json"][..], &["export", dir, "--chrome", "-"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_textpoke"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take()); // more than a pipe holds is still to come
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
}

#[test]
fn every_help_has_examples_and_exit_codes() {
    for verb in ["demo", "sites", "record", "report", "flame", "export", "info", "repair"] {
        let help = stdout(&[verb, "--help"]);
        assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{verb}: {help}");
    }
    assert!(stdout(&["--help"]).contains("Exit codes:"));
    refusal(&[], 2);
    refusal(&["nonsense"], 2);
}
