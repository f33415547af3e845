//! The checker on the command line.
//!
//! `cargo run --release -p textpoke-model --example check -- NAME [--profile NAME] [--without STEP] [--cpus N]
//! [--sites N] [--failures N] [--killed] [--json]`, or `--all`, `--deep`, `--mutate`, `--list`. Exit code 0: safe, or all
//! as expected; 1: not; 2: not understood.

use std::process::ExitCode;

use textpoke_model::{Check, Options, Profile, Report, Verdict, check, check_all, checks, mutate, without};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match go(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn go(args: &[String]) -> Result<bool, String> {
    let flag = |name: &str| args.iter().any(|a| a == name);
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
    let number = |name: &str| match value(name) {
        Some(v) => v.parse::<u8>().map(Some).map_err(|_| format!("{name} takes a number, not \"{v}\"")),
        None => Ok(None),
    };
    let json = flag("--json");
    if flag("--list") {
        checks().for_each(|c| println!("{:<24} {}", c.name, c.title));
        return Ok(true);
    }
    if flag("--all") || flag("--deep") {
        let table = check_all(flag("--deep"), &mut |_, _| {});
        if json {
            println!("{}", to_json(&table)?)
        } else {
            println!("{table}")
        }
        return Ok(table.as_expected);
    }
    if flag("--mutate") {
        let fates = mutate(&mut |_, _| {});
        if json {
            println!("{}", to_json(&fates)?);
        } else {
            fates.iter().for_each(|f| println!("{f}"));
            let found = fates.iter().filter(|f| f.found.is_some()).count();
            let wrong = fates.iter().filter(|f| !f.as_it_should_be()).count();
            let all = fates.len();
            println!(
                "{all} mutants: {found} have a counterexample, {} an argument; {wrong} are not as they should be",
                all - found
            );
        }
        return Ok(fates.iter().all(|f| f.as_it_should_be()));
    }
    let name =
        args.first().filter(|a| !a.starts_with("--")).ok_or("name a check, or --all, --deep, --mutate, --list")?;
    let profiles: Vec<Profile> = match value("--profile") {
        None => Check::find(name).iter().flat_map(|c| c.isas).flat_map(|isa| isa.profiles()).copied().collect(),
        Some(wanted) => Profile::ALL.into_iter().filter(|p| p.name() == wanted).collect(),
    };
    if profiles.is_empty() {
        let names: Vec<&str> = Profile::ALL.iter().map(|p| p.name()).collect();
        return Err(format!("no such check, or no such profile; the profiles are {}", names.join(", ")));
    }
    let mut safe = true;
    for profile in profiles {
        let mut options =
            Options::new(profile).cpus(number("--cpus")?.unwrap_or(2)).sites(number("--sites")?.unwrap_or(1));
        options.failures = number("--failures")?;
        options.nmis = number("--nmis")?;
        options.any_order = flag("--any-order");
        options.killed = flag("--killed");
        let progress: &mut dyn FnMut(usize, usize) =
            &mut |states, left| eprint!("\r{states} states, {left} to look at ");
        let report: Report = match value("--without") {
            Some(step) => without(name, step, &options, progress),
            None => check(name, &options, progress),
        }
        .map_err(|e| e.to_string())?;
        if json {
            println!("{}", to_json(&report)?)
        } else {
            println!("{report}\n")
        }
        safe &= matches!(report.verdict, Verdict::Safe { .. });
    }
    Ok(safe)
}

fn to_json(value: &impl serde::Serialize) -> Result<String, String> {
    serde_json::to_string_pretty(value).map_err(|e| e.to_string())
}
