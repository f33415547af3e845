//! What the literature says, reproduced.

use textpoke_core::isa::X86_64;
use textpoke_core::{Direction, Kind, Plan, Site};
use textpoke_model::property::Violation;
use textpoke_model::report::run;
use textpoke_model::scenario::{Batch, Place, Scenario, World};
use textpoke_model::{Check, Options, Profile, Report, Verdict, check, checks, rows};

fn quiet(name: &str, options: &Options) -> Report {
    check(name, options, &mut |_, _| {}).unwrap()
}

#[test]
fn every_row_names_a_check_and_every_check_has_a_row() {
    let rows = rows(true);
    for row in &rows {
        assert!(Check::find(row.check).is_some(), "{}", row.check);
    }
    for check in checks() {
        assert!(rows.iter().any(|r| r.check == check.name), "{} is in no row", check.name);
    }
}

/// One store over an aligned quadword whose old and new bytes are divided into instructions as the masks say.
fn one_store(old_begins: u8, new_begins: u8) -> Report {
    let site = Site::single(0x1000, &[1, 2, 3, 4], &[0x11, 0x12, 0x13, 0x14]).unwrap();
    assert!(Plan::<X86_64>::new(&[site]).is_ok());
    let place = Place { old_begins, new_begins, ..Place::new(site) };
    let batches = vec![Batch::built_in(Kind::Word, Direction::Install)];
    let scenario = Scenario { sets: vec![vec![place]], batches, cpus: 2, world: World::new(Profile::Amd) };
    run("one store", "", &[], &scenario, &Options::new(Profile::Amd), &mut |_, _| {})
}

/// The three cases of asynchronous modification in AMD APM vol. 2, 7.6.1.
#[test]
fn amds_own_three_cases() {
    // A-B becomes A'-B': A may be followed by B'.
    let both = one_store(0b0101, 0b0101);
    assert!(matches!(both.verdict, Verdict::Unsafe { violation: Violation::Pair, .. }), "{both}");
    let text = both.trace.unwrap().to_string();
    assert!(text.contains("executes 01 02 at +0 (old)") && text.contains("executes 13 14 at +2 (new)"), "{text}");
    // A becomes A'-B': only A, or A'-B'.
    assert!(matches!(one_store(0b0001, 0b0101).verdict, Verdict::Safe { .. }));
    // A-B becomes A': A may be followed by the middle of A'.
    let middle = one_store(0b0101, 0b0001);
    assert!(matches!(middle.verdict, Verdict::Unsafe { violation: Violation::MidInstruction, .. }), "{middle}");
}

#[test]
fn verdicts_do_not_depend_on_processors_or_on_the_depth_of_the_queue() {
    for check in checks() {
        for &profile in check.isas.iter().flat_map(|isa| isa.profiles()) {
            let kind = |options: &Options| match quiet(check.name, options).verdict {
                Verdict::Unsafe { violation, .. } => Some(violation),
                Verdict::Safe { .. } => None,
                other => panic!("{}: {other}", check.name),
            };
            let two = kind(&Options::new(profile));
            // The point of the first is that there is one NMI; with a third CPU there are two. NMIs inside NMIs on three
            // CPUs are millions of states, and rows of `--deep`.
            if check.name != "nmi-as-written-one" && !check.name.contains("nested") {
                assert_eq!(two, kind(&Options::new(profile).cpus(3)), "{} {}", check.name, profile.name());
            }
            let shallow = Options { queue: 1, ..Options::new(profile) };
            assert_eq!(two, kind(&shallow), "{} with a queue of one", check.name);
        }
    }
}

#[test]
fn a_state_space_that_does_not_fit_says_so() {
    let mut options = Options::new(Profile::Amd).cpus(4).sites(2);
    options.limits.memory = 1 << 20;
    let report = quiet("breakpoint", &options);
    assert_eq!(report.verdict, Verdict::OutOfMemory);
    assert!(report.to_string().contains("do not fit"), "{report}");
}

#[test]
fn unknown_names_are_answered_with_the_known_ones() {
    let error = check("nonsense", &Options::new(Profile::Amd), &mut |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("nonsense") && error.contains("breakpoint"), "{error}");
    let error = textpoke_model::without("word", "retire", &Options::new(Profile::Amd), &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("retire"), "{error}");
}

#[test]
fn without_a_step_there_is_a_counterexample() {
    for (name, step) in
        [("breakpoint", "sync cores 2"), ("breakpoint", "sync-cores"), ("displace", "await none inside")]
    {
        let report = textpoke_model::without(name, step, &Options::new(Profile::Intel), &mut |_, _| {}).unwrap();
        assert!(matches!(report.verdict, Verdict::Unsafe { .. }), "{report}");
    }
}

#[test]
fn reports_are_json() {
    let report = quiet("five-nops", &Options::new(Profile::Amd));
    let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(json["verdict"], "unsafe");
    assert_eq!(json["violation"], "mid-instruction");
    assert_eq!(json["length"], 10);
    assert_eq!(json["trace"]["lines"].as_array().unwrap().len(), 10);
}

#[test]
fn a_check_for_other_instruction_sets_is_refused_by_name() {
    let error = check("plant", &Options::new(Profile::Intel), &mut |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("plant") && error.contains("x86-64"), "{error}");
}

/// Whatever AArch64's better caches let happen, the plainest lets happen, too; Ziccif and Ziccid likewise. The mutants are
/// tried by the weaker books alone because of it.
#[test]
fn a_stronger_book_adds_no_violation() {
    for (weak, strong) in
        [(Profile::Arm, Profile::ArmIdc), (Profile::ArmIdc, Profile::ArmDic), (Profile::Ziccif, Profile::Ziccid)]
    {
        for check in checks().filter(|c| c.isas.contains(&weak.isa())) {
            let safe = |profile| matches!(quiet(check.name, &Options::new(profile)).verdict, Verdict::Safe { .. });
            assert!(safe(strong) || !safe(weak), "{} by {}", check.name, strong.name());
        }
    }
}
