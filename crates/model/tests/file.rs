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
