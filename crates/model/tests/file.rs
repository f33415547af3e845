//! Protocol files: what is printed reads as the same, and mistakes are told where they stand.

use textpoke_model::file::{File, parse, print};
use textpoke_model::report::run;
use textpoke_model::scenario::Profile;
use textpoke_model::{Check, Options, Report, Verdict, checks, parallel, rows};

/// What must not differ.
fn gist(report: &Report) -> (Verdict, usize, u64, usize) {
    (report.verdict.clone(), report.states, report.transitions, report.depth)
}

/// A file, printed and read again.
fn again(file: &File) -> File {
    let text = print(file);
    let read = parse(text.as_bytes()).unwrap_or_else(|e| panic!("{}\n{text}", e.render("printed", text.as_bytes())));
    assert_eq!(print(&read), text, "printing is not idempotent");
    read
}

#[test]
fn every_check_reads_as_it_was_printed_and_explores_the_same() {
    let all: Vec<(&Check, _)> =
        checks().flat_map(|c| c.isas.iter().flat_map(|isa| isa.profiles()).map(move |&p| (c, p))).collect();
    parallel::map(&all, &mut |_, _| {}, |&(check, profile)| {
        let options = Options::new(profile);
        let file = File::of(check, &options);
        let read = again(&file);
        assert_eq!(read.scenario(profile), options.scenario(check).opened(), "{} {}", check.name, profile.name());
        let quiet = &mut |_, _| {};
        let live = run(check.name, check.title, check.sometimes, &options.scenario(check), &options, quiet);
        assert_eq!(gist(&read.run(profile, &options, quiet)), gist(&live), "{} {}", check.name, profile.name());
    });
}

#[test]
fn every_row_of_the_table_reads_as_it_was_printed() {
    for row in rows(true) {
        let (check, options) = (Check::find(row.check).unwrap(), row.options());
        let read = again(&File::of(check, &options));
        let profile = options.shape.profile;
        assert_eq!(read.scenario(profile), options.scenario(check).opened(), "{} {}", check.name, row.digest);
    }
}

#[test]
fn who_repairs_after_a_killed_patcher_explores_the_same() {
    for (name, onward) in [("breakpoint", false), ("breakpoint", true), ("displace", false), ("park", true)] {
        let mut options = Options::new(Profile::Amd);
        (options.killed, options.onward, options.failures) = (true, onward, Some(1));
        let check = Check::find(name).unwrap();
        let quiet = &mut |_, _| {};
        let live = run(name, "", check.sometimes, &options.scenario(check), &options, quiet);
        let read = again(&File::of(check, &options)).run(Profile::Amd, &options, quiet);
        assert_eq!(gist(&read), gist(&live), "{name}");
    }
}

#[test]
fn the_examples_say_what_the_checker_says() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocols/examples");
    let mut seeds = std::collections::BTreeSet::new();
    for path in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
        let (name, bytes) = (path.file_name().unwrap().to_str().unwrap(), std::fs::read(&path).unwrap());
        let file = parse(&bytes).unwrap_or_else(|e| panic!("{}", e.render(name, &bytes)));
        for &profile in &file.profiles {
            let report = file.run(profile, &Options::new(profile), &mut |_, _| {});
            let expect = file.expects(profile).unwrap_or_else(|| panic!("{name} expects nothing of {profile:?}"));
            assert!(expect.agrees(&report.verdict), "{name} expects {expect}\n{report}");
        }
        assert_eq!(parse(print(&file).as_bytes()).unwrap(), file, "{name}");
        seeds.extend(name.split_once('-').map(|(seed, _)| seed.to_string()));
    }
    assert_eq!(seeds.len(), 5, "{seeds:?}");
}

#[test]
fn the_texts_on_the_page_are_understood() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let page = std::fs::read_to_string(docs.join("protocol-files.md")).unwrap();
    let example = std::fs::read_to_string(docs.join("protocols/examples/displacement.tp")).unwrap();
    assert!(page.contains(&example), "the worked example and docs/protocols/examples/displacement.tp differ");
    let fragments: Vec<&str> = page.split("```text\n").skip(1).filter_map(|t| t.split("```").next()).collect();
    let (site, batch) = (|t: &&&str| t.starts_with("site "), |t: &&&str| t.starts_with("batch "));
    let site = fragments.iter().find(site).unwrap();
    let batch = fragments.iter().find(batch).unwrap();
    let text = format!("protocol p\nisa x86-64\n{site}{batch}");
    parse(text.as_bytes()).unwrap_or_else(|e| panic!("{}", e.render("the page", text.as_bytes())));
}

#[test]
fn what_the_page_says_about_its_example_is_so() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocols/examples/displacement.tp");
    let text = std::fs::read_to_string(page).unwrap();
    let verdict = |file: &File, p| file.run(p, &Options::new(p), &mut |_, _| {}).verdict.to_string();
    let read = |text: String| parse(text.as_bytes()).unwrap();
    let eight = read(format!("{text}assume 8 bytes at once\n"));
    assert_eq!(verdict(&eight, Profile::Intel), "safe");
    let cut = read(text.replace("81001003", "81001005"));
    assert!(verdict(&cut, Profile::Amd).starts_with("unsafe: V1"));
    let without = read(text).without("sync cores").unwrap();
    assert!(verdict(&without, Profile::Amd).starts_with("unsafe: V9"));
    assert!(without.without("sync cores").is_err());
}

/// Nothing goes wrong where nothing happens.
#[test]
fn what_never_happens_is_not_safe() {
    let verdict = |rest: &str| {
        let site = "isa x86-64\nprofile amd\nsite A at 0x1000\nold 0f 1f 44 00 00\nnew e8 11 22 33 44\n";
        let text = format!("protocol x\n{site}{rest}");
        let file = parse(text.as_bytes()).unwrap_or_else(|e| panic!("{}", e.render("x", text.as_bytes())));
        file.run(Profile::Amd, &Options::new(Profile::Amd), &mut |_, _| {}).verdict
    };
    let missing = |rest: &str| match verdict(rest) {
        Verdict::Vacuous { missing } => missing,
        other => panic!("{rest}: {other}"),
    };
    use textpoke_model::property::Sometimes::*;
    // Its first look finds what must not be there yet, and it gives up.
    let gives_up = "batch old -> new\nopen\nverify after\nstore whole by 8\nsync cores\nclose\n";
    assert_eq!(missing(gives_up), [Performed, NewRan]);
    // Everybody is parked when the trap stands, so that nobody meets it and none is asked for.
    let in_parking = "batch old -> new\nopen\npublish\npark\nstore trap\nstore whole\nunpark\nclose\nretire\n";
    assert!(matches!(verdict(in_parking), Verdict::Safe { .. }));
    assert_eq!(missing(&format!("{in_parking}sometimes head-trap\n")), [HeadTrap]);
    // NMIs are to help, and nothing is ever announced.
    let silent = "nmi entry visit\neverybody parked\nbatch old -> new\nopen\nstore whole by 8\nsync cores\nclose\n";
    assert!(matches!(verdict(silent), Verdict::Safe { .. }));
    assert_eq!(missing(&format!("{silent}sometimes nmi-helped\n")), [NmiHelped]);
}

/// Protocols that lack something, each found by what it lacks.
#[test]
fn home_made_mistakes_are_found() {
    let call = "site A at 0x1005\nold 0f 1f 44 00 00\nnew e8 11 22 33 44\nbatch old -> new\n";
    let a64 = "isa aarch64\nprofile arm64\nsite A at 0x1000\nold 0xd503201f\nnew 0x14000048\nbatch old -> new\n";
    let rv = "isa riscv64\nprofile ziccif\nsite A at 0x1000\nold 0x00000013, 0x00000013\nnew 0x00001297, 0x008282e7\n\
              batch old -> new\n";
    let amd = format!("isa x86-64\nprofile amd\n{call}");
    let nmis = format!("isa x86-64\nprofile amd\nnmi entry visit\n{call}");
    let sites: [(&str, &str, &str); 8] = [
        (a64, "open, store whole by 4, sync cores, close", "stale"),
        (a64, "open, store whole by 4, maintain, close", "stale"),
        (
            rv,
            "open, publish, store head trap by 4, sync cores, store tail by 4, sync cores, store head by 4, sync cores, \
              close, retire",
            "pair",
        ),
        (
            rv,
            "open, publish, store head trap by 4, await none inside, sync cores, store tail by 4, sync cores, \
              store head by 4, sync cores, close, retire",
            "pair",
        ),
        (
            &amd,
            "open, store trap, publish, sync cores, store tail, sync cores, store head, sync cores, close, retire",
            "lost-trap",
        ),
        (
            &amd,
            "open, publish, store trap, sync cores, store tail, sync cores, store head, sync cores, retire",
            "left-writable",
        ),
        (
            &nmis,
            "open, park, record, announce when idle, store whole, sync cores, close, withdraw, await nmis, unpark",
            "fault",
        ),
        (
            &nmis,
            "open, park, record, announce when idle, store whole, sync cores, withdraw, unpark, close",
            "record-in-use",
        ),
    ];
    for (before, steps, violation) in sites {
        let text = format!("protocol x\n{before}{}\nexpect unsafe {violation}\n", steps.replace(", ", "\n"));
        let file = parse(text.as_bytes()).unwrap_or_else(|e| panic!("{}", e.render("x", text.as_bytes())));
        let profile = file.profiles[0];
        let report = file.run(profile, &Options::new(profile), &mut |_, _| {});
        let expected = file.expects(profile).expect("it says so");
        assert!(expected.agrees(&report.verdict), "{violation}: {report}");
    }
}
