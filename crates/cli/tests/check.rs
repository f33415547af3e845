//! `check`: verdicts, exit codes, and what is printed.

mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{refusal, stdout, textpoke};

/// Standard output and the exit code.
fn check(args: &[&str]) -> (String, i32) {
    let output = textpoke(&[&["check"], args].concat());
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

/// The same with something on standard input.
fn fed(args: &[&str], input: &str) -> (String, String, i32) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_textpoke"))
        .args([&["check"], args].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
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
fn every_instruction_set_has_its_rules() {
    let profiles = |args: &[&str]| {
        let (document, code) = json(args);
        let reports = document["reports"].as_array().unwrap().clone();
        (reports.iter().map(|r| r["profile"].as_str().unwrap().to_string()).collect::<Vec<_>>().join(" "), code)
    };
    assert_eq!(profiles(&["breakpoint"]), ("intel amd".into(), 0));
    assert_eq!(profiles(&["breakpoint", "--isa", "arm64"]), ("arm64 arm64-idc arm64-dic".into(), 0));
    assert_eq!(profiles(&["breakpoint", "--isa", "RISCV"]), ("ziccif ziccid".into(), 0));
    assert_eq!(profiles(&["breakpoint", "--profile", "ziccid"]), ("ziccid".into(), 0));
    assert_eq!(profiles(&["two-nops"]), ("arm64 arm64-idc arm64-dic ziccif ziccid".into(), 1));
    let (text, _) = check(&["two-nops", "--profile", "ziccif"]);
    assert!(
        text.contains("  site      00000013, 00000013  ->  00001297, 00000013  ->  00001297, 008282e7\n"),
        "{text}"
    );
    assert!(text.contains("\n   => V2, mixed pair"), "{text}");
    let (text, _) = check(&["two-nops", "--isa", "aarch64"]);
    assert_eq!(text.matches("=> V6, not live: ").count(), 3, "{text}");
    assert!(text.contains("   1  stores aa1e03e9 at +0  ") && text.lines().all(|l| l.chars().count() <= 100), "{text}");
}

#[test]
fn nmis_come_where_they_are_asked_for() {
    // What parking does not stop; and each CPU takes one, the patcher's too.
    assert_eq!(check(&["park"]).1, 0);
    let (text, code) = check(&["park", "--nmis", "1", "--profile", "intel"]);
    assert!(
        code == 1 && text.contains("  with      an NMI on each CPU\n") && text.contains("NMI: executes "),
        "{text}"
    );
    assert_eq!(check(&["nmi_assist", "--nmis", "2", "--profile", "ziccif"]).1, 0);
    let (text, code) = check(&["nmi-as-written", "--profile", "intel"]);
    assert!(code == 1 && text.contains("UNSAFE in 13 transitions"), "{text}");
    // Everybody is parked in this one: without NMIs nobody executes anything, and that is not safe.
    let (text, code) = check(&["nmi-as-written", "--profile", "intel", "--nmis", "0"]);
    assert!(code == 3 && text.contains("  with      no NMIs\n") && text.contains("never: old code ran"), "{text}");
    assert_eq!(check(&["nmi_assist", "--nmis", "0"]).1, 0);
}

#[test]
fn counterexamples_are_walked_again() {
    let args = ["breakpoint", "--without", "sync-cores", "--sites", "2", "--cpus", "3", "--nmis", "1"];
    let (written, _, code) = fed(&[&args[..], &["--json"]].concat(), "");
    assert_eq!(code, 1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.json");
    std::fs::write(&path, &written).unwrap();
    let path = path.to_str().unwrap();
    let (text, code) = check(&["--replay", path]);
    assert_eq!((code, text.matches("  REPRODUCED in ").count()), (0, 2), "{text}");
    // What is printed is what was printed then.
    let (before, _) = check(&args);
    let steps = |text: &str| {
        let number = |line: &str| line.get(..4).is_some_and(|n| n.trim().parse::<u8>().is_ok());
        let steps = text.lines().filter(|line| number(line) && !line.contains(" states, "));
        steps.map(String::from).collect::<Vec<_>>()
    };
    assert!(steps(&before).len() > 10);
    assert_eq!(steps(&text), steps(&before));
    let (document, code) = json(&["--replay", path]);
    assert_eq!((code, &document["reproduced"]), (0, &Value::Bool(true)));
    assert_eq!(document["replays"][0]["ended"], document["replays"][0]["recorded"]);

    let mut document: Value = serde_json::from_str(&written).unwrap();
    document["reports"][0]["options"]["without"] = Value::Null;
    let (text, _, code) = fed(&["--replay", "-"], &document.to_string());
    assert!(code == 1 && text.contains("  NOT REPRODUCED: ") && text.contains("  REPRODUCED in "), "{text}");
    document["reports"][0]["trace"]["lines"][2]["choice"] = 1000.into();
    let (text, _, code) = fed(&["--replay", "-"], &document.to_string());
    assert!(code == 1 && text.contains("transition 3 is to be choice 1000"), "{text}");
    document["reports"][0]["options"]["shape"]["profile"] = "vax".into();
    let (_, errors, code) = fed(&["--replay", "-"], &document.to_string());
    assert_eq!((code, errors.lines().count()), (2, 1), "{errors}");
    assert!(errors.contains("standard input: ") && errors.contains("unknown variant `vax`"), "{errors}");
    let missing = refusal(&["check", "--replay", "/nowhere/x.json"], 2);
    assert_eq!(missing, "textpoke: cannot read /nowhere/x.json: it does not exist\n");
}

#[test]
fn counterexamples_to_files_are_walked_again() {
    let file = stdout(&["check", "naive-copy", "--print"]);
    let (before, _, code) = fed(&["-", "--json", "--nmis", "1"], &file);
    assert_eq!(code, 1);
    let (text, errors, code) = fed(&["--replay", "-"], &before);
    assert_eq!((code, text.matches("  REPRODUCED in ").count()), (0, 2), "{text}{errors}");
    assert!(text.contains("  with      an NMI on each CPU\n"), "{text}");
    // A protocol that was changed since goes otherwise; one that is none is told.
    let mut document: Value = serde_json::from_str(&before).unwrap();
    let protocol = document["reports"][0]["protocol"].as_str().unwrap().to_string();
    let parking = protocol.replacen("store whole", "park\n  store whole", 1);
    assert_ne!(parking, protocol);
    document["reports"][0]["protocol"] = parking.into();
    let (text, errors, code) = fed(&["--replay", "-"], &document.to_string());
    assert!(code == 1 && text.contains("  NOT REPRODUCED: "), "{text}{errors}");
    document["reports"][0]["protocol"] = "protocol x\nfly\n".into();
    let (_, errors, code) = fed(&["--replay", "-"], &document.to_string());
    assert!(code == 2 && errors.contains("its protocol is not understood: "), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[test]
fn every_counterexample_of_every_check_is_reproduced() {
    let (list, _) = json(&["--list"]);
    let mut walked = 0;
    for check in list.as_array().unwrap() {
        for isa in check["isas"].as_array().unwrap() {
            let (name, isa) = (check["name"].as_str().unwrap(), isa.as_str().unwrap());
            let (written, errors, code) = fed(&[name, "--isa", isa, "--json"], "");
            if code == 0 {
                continue;
            }
            assert_eq!(code, 1, "{name} {isa}: {errors}");
            let (text, errors, code) = fed(&["--replay", "-"], &written);
            assert_eq!(code, 0, "{name} {isa}: {text}{errors}");
            walked += text.matches("  REPRODUCED in ").count();
        }
    }
    assert!(walked > 100, "{walked}");
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
    for isa in ["x86-64", "aarch64", "riscv64"] {
        assert!(text.contains(&format!("\n{isa}, as they run live\n")), "{isa}");
        assert!(
            text.lines().any(|line| line.starts_with(&format!("  {isa:<9}  ")) && line.contains(" rows: ")),
            "{isa}"
        );
    }
    for number in ["V1", "V2", "V5", "V6", "V10"] {
        assert!(
            text.contains(&format!("unsafe: {number} in ")) && text.contains(&format!("\n  {number:<3}  ")),
            "{number}"
        );
    }
    let (document, code) = json(&["--all", "--isa", "x86-64"]);
    assert_eq!((code, &document["as_expected"]), (0, &Value::Bool(true)));
    let entries = document["entries"].as_array().unwrap();
    assert!(entries.iter().all(|e| e["report"]["profile"] == "intel" || e["report"]["profile"] == "amd"));
    // The table's counterexamples can be walked again like any other.
    let mut some = document.clone();
    some["entries"] = entries.iter().take(20).cloned().collect();
    assert_eq!(fed(&["--replay", "-"], &some.to_string()).2, 0);
    assert!(entries.iter().all(|e| e["agrees"] == true && e["row"].is_string() && e["report"]["states"].is_u64()));
    for name in ["breakpoint", "displace", "word", "short_jump", "naive-copy", "five-nops"] {
        assert!(entries.iter().any(|e| e["report"]["name"] == name), "{name}");
        assert!(text.contains(&format!("\n{name}  ")), "{name}");
    }
}

#[test]
fn steps_and_names_are_printed() {
    let text = stdout(&["check", "displace", "--print"]);
    for wanted in ["batch old -> new\n  open  ", "\n  await none inside  ", "\nback  ", "\n  store head trap  "] {
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
fn what_is_printed_checks_the_same() {
    let all: [&[&str]; 7] = [
        &["breakpoint"],
        &["word", "--profile", "intel"],
        &["two-nops", "--isa", "aarch64"],
        &["park", "--nmis", "1"],
        &["breakpoint", "--failures", "1", "--killed", "--cpus", "2"],
        &["breakpoint", "--sites", "2", "--profile", "amd"],
        &["inside-by-counter"],
    ];
    for args in all {
        let printed = check(&[args, &["--print"]].concat()).0;
        let (out, err, code) = fed(&["-", "--json"], &printed);
        let read: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {err}\n{printed}"));
        let (live, live_code) = json(args);
        assert_eq!(code, live_code, "{args:?}");
        for (a, b) in read["reports"].as_array().unwrap().iter().zip(live["reports"].as_array().unwrap()) {
            for key in ["name", "profile", "verdict", "violation", "length", "states", "transitions", "with", "trace"] {
                assert_eq!(a[key], b[key], "{args:?}: {key}");
            }
        }
        let again = fed(&["-", "--print"], &printed).0;
        assert_eq!(again, printed, "{args:?}");
    }
}

#[test]
fn files_are_checked() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocols/examples/");
    let example = |name: &str| format!("{examples}{name}.tp");
    let (text, code) = check(&[&example("displacement")]);
    assert_eq!((code, text.matches("\n  as expected\n").count()), (0, 2), "{text}");
    assert!(text.contains("stores 11 21 31 41 at +1") && text.contains("SAFE"), "{text}");
    let (document, code) = json(&[&example("displacement")]);
    assert_eq!((code, &document["safe"], &document["as_expected"]), (0, &Value::Bool(false), &Value::Bool(true)));
    // Asked otherwise, nothing is expected of it, and the exit code is that of the verdicts.
    let (text, code) = check(&[&example("displacement"), "--without", "sync cores", "--profile", "amd"]);
    assert!(code == 1 && text.contains("V9") && !text.contains("expected"), "{text}");
    let (text, code) = check(&[&example("displacement"), "--cpus", "3", "--profile", "amd"]);
    assert!(code == 0 && text.contains("3: the patcher, and 2 that execute"), "{text}");
    let (text, code) = check(&[&example("displacement"), "--failures", "1", "--killed", "--profile", "amd"]);
    assert!(code == 0 && text.contains("may be killed"), "{text}");
    let wrong = std::fs::read_to_string(example("003-stop-machine")).unwrap().replace("unsafe pair", "safe");
    let (text, _, code) = fed(&["-"], &wrong);
    assert!(code == 1 && text.contains("NOT AS EXPECTED, which is safe"), "{text}");
}

#[test]
fn mistakes_in_files_are_told_where_they_stand() {
    let (_, err, code) = fed(&["-"], "protocol p\nisa x86-64\nsite A at 0x1000\n  old 90\n  new 90 90\n");
    assert_eq!(code, 2);
    assert!(err.starts_with("textpoke: standard input:5:7: `old` has 1 bytes"), "{err}");
    assert!(err.ends_with("\n 5 |   new 90 90\n   |       ^^^^^\n"), "{err}");
    assert!(refusal(&["check", "no/such/file.tp"], 2).contains("cannot read no/such/file.tp: it does not exist"));
    assert!(refusal(&["check", "/"], 2).contains("cannot read /"));
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocols/examples/000-int3.tp");
    assert!(refusal(&["check", example, "--isa", "aarch64"], 2).contains("is about x86-64, not about aarch64"));
    assert!(refusal(&["check", example, "--profile", "ziccif"], 2).contains("is about intel, amd, not about ziccif"));
    assert!(refusal(&["check", example, "--sites", "2"], 2).contains("leave out --sites"));
    assert!(
        refusal(&["check", example, "--without", "park"], 2).contains("its steps are:\n  open, publish, store trap")
    );
}

#[test]
fn what_is_not_understood_is_refused() {
    let unknown = refusal(&["check", "int3"], 2);
    assert!(unknown.contains("no check \"int3\"") && unknown.contains("int3-no-sync-2, "), "{unknown}");
    let step = refusal(&["check", "word", "--without", "sync cores 2"], 2);
    assert!(step.contains("word has no step") && step.contains("store whole, maintain, sync cores, "), "{step}");
    let other = refusal(&["check", "breakpoint", "--profile", "ziccif", "--isa", "aarch64"], 2);
    assert_eq!(
        other,
        "textpoke: ziccif is a profile of riscv64; those of aarch64 are arm64, arm64-idc and arm64-dic\n"
    );
    let elsewhere = refusal(&["check", "five-nops", "--isa", "aarch64"], 2);
    assert!(elsewhere.contains("five-nops is a check for x86-64, not for aarch64"), "{elsewhere}");
    assert!(
        refusal(&["check", "two-nops", "--profile", "amd"], 2).contains("a check for aarch64 and riscv64, not for")
    );
    assert!(refusal(&["check", "word", "--isa", "vax"], 2).contains("x86-64, aarch64 and riscv64 are modelled"));
    assert!(refusal(&["check", "word", "--profile", "arm"], 2).contains("arm64, arm64-idc"));
    assert!(refusal(&["check", "word", "--nmis", "4"], 2).contains("0..=3"));
    assert!(refusal(&["check"], 2).contains("<NAME|FILE|--all|--deep|--list|--replay <FILE>|--litmus <FILE|DIR>>"));
    assert!(refusal(&["check", "--replay", "x", "--cpus", "3"], 2).contains("cannot be used with"));
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
