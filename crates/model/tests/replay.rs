//! Every counterexample can be walked again, from what was written down with it.

use textpoke_model::property::Violation;
use textpoke_model::{Ending, Limits, Options, Profile, Report, Verdict, check, checks, replay, walk};

fn all() -> impl Iterator<Item = (&'static str, Profile)> {
    checks()
        .flat_map(|check| check.isas.iter().flat_map(|isa| isa.profiles()).map(move |profile| (check.name, *profile)))
}

/// The name, options and choices of a report, as one reads them in its JSON.
fn written(report: &Report) -> (String, Options, Vec<usize>) {
    let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(report).unwrap()).unwrap();
    let options: Options = serde_json::from_value(json["options"].clone()).unwrap();
    let lines = json["trace"]["lines"].as_array().unwrap().clone();
    let choices = lines.iter().map(|line| line["choice"].as_u64().unwrap() as usize).collect();
    (json["name"].as_str().unwrap().into(), options, choices)
}

#[test]
fn a_counterexample_ends_in_its_violation_when_it_is_walked_again() {
    let mut walked = Vec::new();
    for (name, profile) in all() {
        let others = [
            Options::new(profile),
            Options::new(profile).cpus(3),
            Options { failures: Some(1), killed: true, any_order: true, ..Options::new(profile) },
            Options { nmis: Some(1), own_traps: true, queue: 1, ..Options::new(profile) },
        ];
        for options in others {
            // What is safe is not what this is about.
            let options = Options { limits: Limits { memory: 8 << 20, liveness: true }, ..options };
            let report = check(name, &options, &mut |_, _| {}).unwrap();
            let Verdict::Unsafe { violation, length } = report.verdict else { continue };
            let (name, read, choices) = written(&report);
            assert_eq!(read, Options { limits: read.limits, ..options });
            let walk = walk(&name, &read, &choices).unwrap();
            let trace = report.trace.unwrap();
            assert_eq!((walk.ending, walk.lines.len()), (Ending::Violated(violation), length), "{name} {read:?}");
            assert_eq!((walk.start, walk.lines), (trace.start, trace.lines), "{name} {read:?}");
            walked.push(violation);
        }
    }
    for violation in [Violation::Torn, Violation::Pair, Violation::Deadlock, Violation::NotLive, Violation::NestedNmi] {
        assert!(walked.contains(&violation), "{violation:?}");
    }
}

#[test]
fn a_step_left_out_is_left_out_again() {
    let options = Options { without: Some("sync-cores-2".into()), ..Options::new(Profile::Intel).sites(2) };
    let report = check("breakpoint", &options, &mut |_, _| {}).unwrap();
    let (name, mut read, choices) = written(&report);
    assert_eq!(replay(&name, &read, &choices), Ok(Some(Violation::Torn)));
    read.without = None;
    assert_eq!(replay(&name, &read, &choices), Ok(None));
}

#[test]
fn choices_that_nobody_has_are_told() {
    let options = Options::new(Profile::Intel);
    let report = check("naive-copy", &options, &mut |_, _| {}).unwrap();
    let choices = report.trace.unwrap().choices();
    let mut wrong = choices.clone();
    wrong[1] = usize::MAX;
    let walk = walk("naive-copy", &options, &wrong).unwrap();
    assert!(matches!(walk.ending, Ending::NoChoice(n) if n > choices[1]) && walk.lines.len() == 1, "{walk:?}");
    assert_eq!(replay("naive-copy", &options, &choices[..1]), Ok(None));
}

#[test]
fn numbers_out_of_range_are_named() {
    assert_eq!(Options::new(Profile::Amd).out_of_range(), None);
    assert_eq!(Options::new(Profile::Amd).cpus(6).out_of_range().as_deref(), Some("\"cpus\" is 6, not 2 to 5"));
    let nmis = Options { nmis: Some(4), ..Options::new(Profile::Amd) };
    assert_eq!(nmis.out_of_range().as_deref(), Some("\"nmis\" is 4, not 0 to 3"));
}
