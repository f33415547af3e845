//! `check`: verdicts, exit codes, and what is printed.

mod support;

use serde_json::Value;
use support::{refusal, stdout, textpoke};

/// Standard output and the exit code.
fn check(args: &[&str]) -> (String, i32) {
    let output = textpoke(&[&["check"], args].concat());
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

fn json(args: &[&str]) -> (Value, i32) {
    let (text, code) = check(&[args, &["--json"]].concat());
    (serde_json::from_str(&text).unwrap(), code)
}

#[test]
fn a_safe_protocol() {
    let (text, code) = check(&["breakpoint", "--cpus", "3"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(text.matches("SAFE in every interleaving").count(), 2, "under both books: {text}");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("AMD APM vol. 2, 7.6.1") && words.contains("Intel engineers, not the manual"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours into a pipe");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn an_unsafe_one_shows_the_interleaving() {
    let (text, code) = check(&["naive-copy", "--profile", "intel"]);
    assert_eq!(code, 1);
    assert!(text.contains("UNSAFE in 2 transitions"), "{text}");
    let rows: Vec<&str> = text.lines().skip_while(|line| !line.contains("patcher   ")).take(4).collect();
    assert!(rows[0].ends_with("CPU 1                          0f 1f 44 00 00"), "{text}");
    assert!(rows[1].contains("stores e8 at +0") && rows[1].ends_with("e8 1f 44 00 00"), "{text}");
    assert!(rows[2].ends_with("executes e8 1f 44 00 00 at +0"), "{text}");
    assert!(rows[3].contains("=> V1, torn instruction"), "{text}");
}

#[test]
fn a_step_left_out_is_missed() {
    let args = ["breakpoint", "--without", "sync cores 2", "--profile", "intel", "--sites", "2"];
    let (document, code) = json(&args);
    assert_eq!((code, &document["safe"]), (1, &Value::Bool(false)));
    let report = &document["reports"][0];
    assert_eq!((&report["verdict"], &report["violation"]), (&"unsafe".into(), &"torn".into()), "{report}");
    let lines = report["trace"]["lines"].as_array().unwrap();
    assert_eq!(report["length"].as_u64().unwrap(), lines.len() as u64);
    assert!(lines.iter().all(|line| line["text"].as_array().unwrap().len() == 2), "two sites");
    assert!(lines.iter().all(|line| line["cpu"].is_u64() && line["choice"].is_u64() && line["what"].is_string()));
    // Another way to write the step.
    assert_eq!(json(&["breakpoint", "--without", "sync-cores-2"]).1, 1);
    // Not under AMD's rules: there the tail is fetched in order.
    let (document, code) = json(&["breakpoint", "--without", "sync cores 2", "--profile", "amd"]);
    assert_eq!((code, &document["safe"]), (0, &Value::Bool(true)));
}

#[test]
fn failures_and_kills_are_explored() {
    let states = |args: &[&str]| json(args).0["reports"][0]["states"].as_u64().unwrap();
    let plain = states(&["word", "--profile", "amd"]);
    let failing = states(&["word", "--profile", "amd", "--failures", "1"]);
    let killed = states(&["word", "--profile", "amd", "--failures", "1", "--killed"]);
    assert!(plain < failing && failing < killed, "{plain} {failing} {killed}");
}

#[test]
fn everything_is_as_expected() {
    let (text, code) = check(&["--all"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("all exactly as expected") && !text.contains("NOT AS EXPECTED"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let (document, code) = json(&["--all"]);
    assert_eq!((code, &document["as_expected"]), (0, &Value::Bool(true)));
    let entries = document["entries"].as_array().unwrap();
    assert!(entries.iter().all(|e| e["agrees"] == true && e["row"].is_string() && e["report"]["states"].is_u64()));
    for name in ["breakpoint", "displace", "word", "short_jump", "naive-copy", "five-nops"] {
        assert!(entries.iter().any(|e| e["report"]["name"] == name), "{name}");
        assert!(text.contains(&format!("\n{name}  ")), "{name}");
    }
}

#[test]
fn steps_and_names_are_printed() {
    let text = stdout(&["check", "displace", "--print"]);
    for wanted in
        ["install\n   1  open", "  7  await none inside  ", "remove, way back if a step fails", "store head trap"]
    {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let (program, _) = json(&["displace", "--print"]);
    let steps = |i: usize, what: &str| program["batches"][i][what].as_array().unwrap().clone();
    assert_eq!(steps(0, "steps").len(), 16);
    assert_eq!(steps(0, "steps")[6], "await none inside");
    assert_eq!((steps(1, "steps").len(), steps(1, "back")[2].as_str()), (15, Some("store head trap")));
    let (list, _) = json(&["--list"]);
    let names: Vec<&str> = list.as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    let text = stdout(&["check", "--list"]);
    assert!(names.len() > 20 && names.iter().all(|name| text.contains(&format!("  {name}  "))), "{text}");
    // Whatever is listed can be asked for.
    for name in names {
        assert!(stdout(&["check", name, "--print"]).contains("open"), "{name}");
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    let unknown = refusal(&["check", "int3"], 2);
    assert!(unknown.contains("no check \"int3\"") && unknown.contains("int3-no-sync-2, "), "{unknown}");
    let step = refusal(&["check", "word", "--without", "sync cores 2"], 2);
    assert!(step.contains("word has no step") && step.contains("store whole, maintain, sync cores, "), "{step}");
    assert!(refusal(&["check", "word", "--isa", "aarch64"], 2).contains("aarch64 is not modelled yet"));
    assert!(refusal(&["check", "word", "--isa", "vax"], 2).contains("no instruction set \"vax\""));
    assert!(refusal(&["check"], 2).contains("<NAME|--all|--deep|--list>"));
    assert!(refusal(&["check", "word", "--all"], 2).contains("cannot be used with"));
    assert!(refusal(&["check", "--all", "--cpus", "3"], 2).contains("cannot be used with"));
    assert!(refusal(&["check", "word", "--cpus", "1"], 2).contains("2..=5"));
    assert_eq!(check(&["word", "--isa", "x86_64", "--profile", "amd"]).1, 0);
}

#[test]
fn too_little_memory_is_no_verdict() {
    let output = textpoke(&["check", "displace", "--cpus", "4", "--sites", "2", "--profile", "amd", "--memory", "4M"]);
    assert_eq!(output.status.code(), Some(3));
    let (text, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(text.contains("NO VERDICT within 4.0 MiB"), "{text}");
    assert!(errors.contains("--cpus") && errors.contains("--memory"), "{errors}");
}
