//! `flame` and `export`: what they write, and what they refuse to overwrite.

mod support;

use std::fs;

use serde_json::Value;
use support::{Step, TestTrace, refusal, sample, stdout, textpoke};
use textpoke_cli::data::meta::ExitKind;

#[test]
fn a_flame_graph_is_complete_without_its_script_and_safe_with_odd_names() {
    let temp = tempfile::tempdir().unwrap();
    let odd = "f<]]></script><x>&\"";
    let dir = TestTrace::new(&[("main", "/x", ExitKind::Patched), (odd, "/x", ExitKind::Patched)])
        .thread(1, "a]]>b", &[Step::Enter(0, 0), Step::Enter(1, 10), Step::Exit(900), Step::Exit(1000)])
        .write(&temp.path().join("t"));
    let svg = stdout(&["flame", "--per-thread", dir.to_str().unwrap(), "-o", "-"]);
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
    assert_eq!(svg.matches("]]>").count(), 1, "only the end of the script's own section");
    assert_eq!(svg.matches("</script>").count(), 1);
    assert!(svg.contains(">f&lt;"), "the label that is drawn without the script");
    assert!(svg.contains("a]]\\u003eb (tid 1)"), "the thread's label");
    assert!(svg.contains("prefers-color-scheme:dark"));
    assert!(!svg.contains("http://") || svg.matches("http://").count() == svg.matches("http://www.w3.org/").count());
}

#[test]
fn a_flame_graph_stays_below_two_megabytes() {
    let temp = tempfile::tempdir().unwrap();
    let names: Vec<String> =
        (0..300).map(|i| format!("a_rather_long_function_name_that_takes_some_room_in_the_file_{i:0>200}")).collect();
    let table: Vec<_> = names.iter().map(|n| (n.as_str(), "/x", ExitKind::Patched)).collect();
    // 300 × 200 different stacks of two.
    let mut steps = Vec::new();
    let mut now = 0;
    for outer in 0..300 {
        steps.push(Step::Enter(outer, now));
        for inner in 0..200 {
            steps.push(Step::Enter(inner, now));
            now += 1 + (outer * 7 + inner * 13) as u64 % 90;
            steps.push(Step::Exit(now));
        }
        steps.push(Step::Exit(now));
    }
    let dir = TestTrace::new(&table).thread(1, "t", &steps).write(&temp.path().join("t"));
    let svg = stdout(&["flame", dir.to_str().unwrap(), "-o", "-"]);
    assert!(svg.len() <= 2_000_000, "{}", svg.len());
    assert!(svg.contains("narrow stacks left out"));
}

#[test]
fn existing_files_and_bad_places_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let dir = sample().write(&temp.path().join("t"));
    let dir = dir.to_str().unwrap();
    let place = temp.path().join("out");
    let out = place.to_str().unwrap();
    fs::write(&place, "mine").unwrap();
    for args in [&["flame", dir, "-o", out][..], &["export", dir, "--perfetto", out], &["export", dir, "--chrome", out]]
    {
        assert!(refusal(args, 1).contains("exists; choose another name"));
        assert_eq!(fs::read_to_string(&place).unwrap(), "mine");
    }
    stdout(&["flame", dir, "-o", out, "--force"]);
    assert!(fs::read_to_string(&place).unwrap().starts_with("<svg"));

    let nowhere = temp.path().join("no/such/f.svg");
    assert!(refusal(&["flame", dir, "-o", nowhere.to_str().unwrap()], 1).contains("directory does not exist"));
    assert!(refusal(&["flame", dir, "-o", dir], 1).contains("is a directory"));
    // A full disk, and nothing half written left behind.
    assert!(refusal(&["export", dir, "--chrome", "/dev/full", "--force"], 1).contains("no space left"));
    let left: Vec<_> = fs::read_dir(temp.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn chrome_json_is_whole_and_nests() {
    let temp = tempfile::tempdir().unwrap();
    let dir = sample().write(&temp.path().join("t"));
    let document: Value = serde_json::from_str(&stdout(&["export", dir.to_str().unwrap(), "--chrome", "-"])).unwrap();
    let mut depth = std::collections::HashMap::new();
    let (mut begins, mut last) = (0, std::collections::HashMap::new());
    for event in document["traceEvents"].as_array().unwrap() {
        let tid = event["tid"].as_u64().unwrap();
        let level = depth.entry(tid).or_insert(0);
        match event["ph"].as_str().unwrap() {
            "B" => {
                begins += 1;
                *level += 1;
            }
            "E" => {
                *level -= 1;
                assert!(*level >= 0);
            }
            "M" => continue,
            "i" => assert_eq!(event["name"], "lost 7 records"),
            other => panic!("{other}"),
        }
        let now = event["ts"].as_f64().unwrap();
        assert!(now >= last.insert(tid, now).unwrap_or(0.0));
    }
    assert_eq!(begins, 8);
    assert!(depth.values().all(|d| *d == 0), "{depth:?}");
}

#[test]
fn folded_stacks_sum_up_to_the_time_in_calls() {
    let temp = tempfile::tempdir().unwrap();
    let dir = sample().write(&temp.path().join("t"));
    let folded = stdout(&["export", dir.to_str().unwrap(), "--folded", "-"]);
    let mut sum = 0;
    for line in folded.lines() {
        let (_, ns) = line.rsplit_once(' ').unwrap();
        sum += ns.parse::<u64>().unwrap();
    }
    assert_eq!(sum, 1000 + 60 + 10);
    assert!(folded.contains("main;app::work;app::work 100\n"), "{folded}");
}

#[test]
fn a_part_of_the_trace() {
    let temp = tempfile::tempdir().unwrap();
    let dir = sample().write(&temp.path().join("t"));
    let dir = dir.to_str().unwrap();
    let folded = stdout(&["export", dir, "--folded", "-", "--from", "200ns", "--to", "280ns"]);
    // main and both levels of work from 200 on, the inner one until 250, and the worker until 260.
    let sum: u64 = folded.lines().map(|l| l.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
    assert_eq!(sum, 80 + 60, "{folded}");
    assert!(refusal(&["export", dir, "--folded", "-", "--from", "2", "--to", "1"], 2).contains("before"));
    refusal(&["export", dir], 2);
}

#[test]
fn a_cut_export_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let dir = sample().write(&temp.path().join("t"));
    let dir = dir.to_str().unwrap();
    let output = textpoke(&["export", dir, "--chrome", "-", "--max-events", "7"]);
    assert!(output.status.success());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("of 17 events"), "{errors}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["otherData"]["note"].as_str().unwrap().contains("cut after"));
    let begins = |d: &Value| d["traceEvents"].as_array().unwrap().iter().filter(|e| e["ph"] == "B").count();
    // Up to 300 ns there are 7 events of both threads... one more and it would be too many.
    assert!((3..=4).contains(&begins(&document)), "{document}");
    let whole = textpoke(&["export", dir, "--chrome", "-", "--max-events", "17"]);
    assert!(whole.stderr.is_empty(), "{}", String::from_utf8_lossy(&whole.stderr));
}
