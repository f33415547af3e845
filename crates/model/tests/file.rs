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
        seeds.insert(name[..3].to_string());
    }
    assert_eq!(seeds.len(), 5, "{seeds:?}");
}
