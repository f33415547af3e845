//! `textpoke check`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};
use textpoke_model::explore::Limits;
use textpoke_model::scenario::Scenario;
use textpoke_model::{Check, File, IsaId, Options, Profile, Report, Unknown, Verdict, checks};

use crate::check::cells::fill;
use crate::check::{choice, file, list, litmus, program, replay, report, table};
use crate::error::{Doing, Error, Result};
use crate::progress;
use crate::text::{self, Paint, parse_size};

/// Shown under `--help`.
pub const EXAMPLES: &str = "\
Examples:
  textpoke check --all                                every row of the table, on all instruction sets
  textpoke check breakpoint --cpus 4 --sites 2
  textpoke check breakpoint --without 'sync cores 2'  what that step is for
  textpoke check two-nops --isa aarch64               why two live NOPs are no place for two instructions
  textpoke check nmi-as-written                       where the first published NMI scheme goes wrong
  textpoke check park --nmis 1                        what parking does not stop
  textpoke check displace --failures 1 --killed       any step fails, anybody is killed
  textpoke check nmi_assist --print > mine.tp         its sites, rules and steps, to be changed
  textpoke check mine.tp                              a protocol of one's own: docs/protocol-files.md
  textpoke check five-nops --json > five-nops.json
  textpoke check --replay five-nops.json              that counterexample again, step by step
  textpoke check --litmus MP.litmus                   others' tests, by Arm's and RISC-V's own models

What is explored are the objects that patch live. Nothing is sampled: every interleaving of stores,
fetches, traps, signals, NMIs and failures is tried, under what the manuals of AMD, Intel, Arm and
RISC-V promise about instruction fetch.

Exit codes:
  0  safe; with --all, --deep and files that expect a verdict: every verdict is the expected one;
     with --replay: it goes wrong again; with --litmus: decided, and as the verdicts.tsv beside it
     has it, if there is one
  1  unsafe: the shortest interleaving is printed; with --all, --deep, --litmus and such files: a
     verdict is not as expected; with --replay: it goes otherwise now
  2  the command line or the file was not understood, or asks for what is not modelled
  3  no verdict: the states do not fit into --memory, or what could go wrong never happens in any
     of them; or the output could not be written";

const UNSAFE: u8 = 1;
const NO_VERDICT: u8 = 3;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true),
    group = clap::ArgGroup::new("one").multiple(true)
)]
pub struct Args {
    /// What to check: a name that --list shows, or a protocol file; - is standard input
    #[arg(value_name = "NAME|FILE", group = "what")]
    pub name: Option<String>,

    /// Check every protocol and every known wrong variant, and compare with the verdicts that are expected
    #[arg(long, group = "what", conflicts_with = "one")]
    pub all: bool,

    /// The same with more CPUs, sites and failures; takes minutes
    #[arg(long, group = "what", conflicts_with = "one")]
    pub deep: bool,

    /// Show what can be checked
    #[arg(long, group = "what", conflicts_with = "one")]
    pub list: bool,

    /// Walk the counterexamples in a file again that `check --json` printed; - is standard input
    #[arg(long, value_name = "FILE", group = "what", conflicts_with_all = ["one", "isa"])]
    pub replay: Option<PathBuf>,

    /// Decide a litmus test in herd's format, or all of a folder, and compare with the verdicts.tsv beside it
    #[arg(long, value_name = "FILE|DIR", group = "what", conflicts_with_all = ["one", "isa"])]
    pub litmus: Option<PathBuf>,

    /// Instruction set: x86-64, aarch64 or riscv64. If not given, x86-64 where the check is for it, else all that it is for
    #[arg(long, value_name = "ISA", value_parser = choice::isa)]
    pub isa: Option<IsaId>,

    /// Processors, the patcher's included [default: 2, or what FILE says]
    #[arg(long, value_name = "N", group = "one", value_parser = clap::value_parser!(u8).range(2..=5))]
    pub cpus: Option<u8>,

    /// Sites in one batch [default: 1]
    #[arg(long, value_name = "N", group = "one", value_parser = clap::value_parser!(u8).range(1..=3))]
    pub sites: Option<u8>,

    /// Whose promises about instruction fetch; each of the instruction set if not given
    #[arg(long, value_name = "WHOSE", group = "one", value_parser = choice::profiles())]
    pub profile: Option<Profile>,

    /// So many NMIs come on each CPU, the patcher's included (0 to 3); where the check has none, they execute the text
    #[arg(long, value_name = "N", group = "one", value_parser = clap::value_parser!(u8).range(0..=3))]
    pub nmis: Option<u8>,

    /// Leave out one step, named as --print has it; the second of several as 'sync cores 2'
    #[arg(long, value_name = "STEP", group = "one")]
    pub without: Option<String>,

    /// So many steps may fail, each after any part of its work (0 to 2)
    #[arg(long, value_name = "N", group = "one", value_parser = clap::value_parser!(u8).range(0..=2))]
    pub failures: Option<u8>,

    /// The patcher may be killed at any moment; then the text is repaired
    #[arg(long, group = "one")]
    pub killed: bool,

    /// Stop without a verdict when the states take more memory than this
    #[arg(long, value_name = "SIZE", default_value = "4G", group = "one", value_parser = parse_size)]
    pub memory: u64,

    /// Print it as a protocol file instead of checking it: sites, rules, and the steps with what each is for
    #[arg(long, group = "one", conflicts_with = "without")]
    pub print: bool,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the verb and returns the exit code.
///
/// # Errors
/// Of usage only; 1 is the exit code of what is unsafe, so that a failure to print has another.
pub fn run(args: &Args) -> Result<u8> {
    let (text, code) = outcome(args)?;
    match std::io::stdout().write_all(text.as_bytes()).map_err(|e| Error::stdout(&e)) {
        Err(Error::Failed(why)) => {
            eprintln!("textpoke: {why}");
            Ok(NO_VERDICT)
        }
        Err(Error::BrokenPipe) | Ok(()) => Ok(code),
        Err(other) => Err(other),
    }
}

/// What to print, and the exit code.
fn outcome(args: &Args) -> Result<(String, u8)> {
    let paint = Paint::stdout();
    let width = text::width();
    if args.list {
        let text = if args.json { pretty(&list::json(args.isa)) } else { list::list(args.isa, width, paint) };
        return Ok((text, 0));
    }
    if let Some(path) = &args.replay {
        return walk(path, args.json, width, paint);
    }
    if let Some(path) = &args.litmus {
        return litmus::run(path, args.json, width, paint);
    }
    let Some(name) = &args.name else { return Ok(all(args, width, paint)) };
    let Some(check) = Check::find(name) else {
        return if file::is_meant(name) { self::file(name, args, width, paint) } else { Err(unknown(name)) };
    };
    let options = options(check, args)?;
    if args.print {
        let text = if args.json {
            // The steps are the same whatever the rules.
            pretty(&program::json(check, &options[0].scenario(check)))
        } else {
            file::print(check, &options)
        };
        return Ok((text, 0));
    }
    let mut done = Vec::new();
    for options in options {
        let report = one(check, &options)?;
        done.push((options, report));
    }
    let text = if args.json {
        let reports: Vec<&Report> = done.iter().map(|(_, report)| report).collect();
        pretty(&json!({"safe": code(reports.iter().map(|r| &r.verdict)) == 0, "reports": reports}))
    } else {
        let render = |(options, r): &(Options, Report)| {
            report::render(&options.scenario(check), options.limits.memory, r, width, paint)
        };
        done.iter().map(render).collect::<Vec<_>>().join("\n")
    };
    hint(name, done.iter().map(|(_, report)| report));
    Ok((text, code(done.iter().map(|(_, report)| &report.verdict))))
}

/// A protocol that somebody wrote down: what to print, and the exit code.
fn file(path: &str, args: &Args, width: usize, paint: Paint) -> Result<(String, u8)> {
    let asked = |file: File| file.asked(args.cpus, args.nmis, args.failures, args.killed);
    if args.sites.is_some() {
        return Err(Error::Usage(format!("{path} says which sites there are; leave out --sites")));
    }
    let file = file::read(path, args.isa, args.profile)?;
    let file = asked(file).map_err(|why| Error::Usage(format!("{path}: {why}")))?;
    if args.print {
        let steps = || program::batches(&file.scenario(file.profiles[0]));
        let text = if args.json {
            pretty(&json!({"name": file.name, "title": file.title, "live": false, "batches": steps()}))
        } else {
            textpoke_model::file::print(&file)
        };
        return Ok((text, 0));
    }
    let file = match &args.without {
        None => file,
        Some(step) => file.without(step).map_err(|_| no_step(&file.name, step, &file.scenario(file.profiles[0])))?,
    };
    let mut done = Vec::new();
    for &profile in &file.profiles {
        let options = Options { limits: limits(args), ..Options::new(profile) };
        done.push(watched(profile, |progress| file.run(profile, &options, progress)));
    }
    hint(path, done.iter());
    let unexpected: Vec<bool> =
        done.iter().map(|r| file.expects(r.profile).is_some_and(|e| !e.agrees(&r.verdict))).collect();
    // Where something is expected, that it came out is what counts.
    let rest = done.iter().filter(|r| file.expects(r.profile).is_none()).map(|r| &r.verdict);
    let code = if unexpected.contains(&true) { UNSAFE } else { code(rest) };
    let text = if args.json {
        let as_expected = if file.claims.is_empty() { Value::Null } else { json!(!unexpected.contains(&true)) };
        pretty(
            &json!({"safe": self::code(done.iter().map(|r| &r.verdict)) == 0, "as_expected": as_expected, "reports": done}),
        )
    } else {
        let render = |r: &Report| {
            report::render(&file.scenario(r.profile), limits(args).memory, r, width, paint)
                + &file::expected(&file, r, paint)
        };
        done.iter().map(render).collect::<Vec<_>>().join("\n")
    };
    Ok((text, code))
}

/// What to do about explorations that were too big.
fn hint<'a>(name: &str, reports: impl Iterator<Item = &'a Report>) {
    let big = reports.filter(|report| report.verdict == Verdict::OutOfMemory);
    let profiles: Vec<&str> = big.map(|report| report.profile.name()).collect();
    if !profiles.is_empty() {
        let hint = "ask for fewer --cpus, --sites, --nmis or --failures, or allow more with --memory";
        eprintln!("textpoke: no verdict on {name} by the rules of {}; {hint}", profiles.join(", "));
    }
}

fn walk(path: &Path, json: bool, width: usize, paint: Paint) -> Result<(String, u8)> {
    let (text, source) = if path == Path::new("-") {
        (std::io::read_to_string(std::io::stdin()), "standard input".into())
    } else {
        (std::fs::read_to_string(path), path.display().to_string())
    };
    let text = text.doing(|| format!("cannot read {source}")).map_err(|e| Error::Usage(e.to_string()))?;
    let done: Vec<replay::Replayed> = replay::read(&text, &source)?.into_iter().map(replay::Recorded::walk).collect();
    let reproduced = done.iter().all(replay::Replayed::reproduced);
    let text = if json {
        let replays: Vec<Value> = done.iter().map(replay::Replayed::json).collect();
        pretty(&json!({"reproduced": reproduced, "replays": replays}))
    } else {
        done.iter().map(|one| one.render(width, paint)).collect::<Vec<_>>().join("\n")
    };
    Ok((text, if reproduced { 0 } else { UNSAFE }))
}

fn all(args: &Args, width: usize, paint: Paint) -> (String, u8) {
    let start = Instant::now();
    let mut rows = textpoke_model::rows(args.deep);
    rows.retain(|row| args.isa.is_none_or(|isa| row.shape.isa() == isa));
    let bar = progress::always("checking", rows.len() as u64);
    let checked = textpoke_model::check_rows(&rows, &mut |done, _| bar.set_position(done as u64));
    bar.finish_and_clear();
    let text = if args.json {
        pretty(&json!(checked))
    } else {
        table::render(&checked, start.elapsed().as_secs_f64(), width, paint)
    };
    (text, if checked.as_expected { 0 } else { UNSAFE })
}

fn one(check: &Check, options: &Options) -> Result<Report> {
    let report = watched(options.shape.profile, |progress| textpoke_model::check(check.name, options, progress));
    report.map_err(|error| match error {
        Unknown::Check(name) => unknown(&name),
        Unknown::Step(step) => no_step(check.name, &step, &options.scenario(check)),
        other @ Unknown::Profile(..) => Error::Usage(other.to_string()),
    })
}

/// Explores and shows how far it has got.
fn watched<T>(profile: Profile, explore: impl FnOnce(&mut dyn FnMut(usize, usize)) -> T) -> T {
    // Most are over before there is anything to say.
    let mut spinner = None;
    let start = Instant::now();
    let rules = profile.name();
    let progress = &mut |states: usize, left: usize| {
        let rate = states as f64 / start.elapsed().as_secs_f64().max(1e-9) / 1e6;
        let (states, left) = (text::count(states as u64), text::count(left as u64));
        let spinner = spinner.get_or_insert_with(progress::open_ended);
        spinner.set_message(format!("{rules}: {states} states, {left} to look at, {rate:.1} million/s"));
    };
    let done = explore(progress);
    if let Some(spinner) = spinner {
        spinner.finish_and_clear();
    }
    done
}

fn no_step(name: &str, step: &str, scenario: &Scenario) -> Error {
    Error::Usage(format!("{name} has no step \"{step}\"; its steps are:\n{}", named(&program::names(scenario))))
}

fn limits(args: &Args) -> Limits {
    Limits { memory: usize::try_from(args.memory).unwrap_or(usize::MAX), ..Limits::default() }
}

/// One exploration for each profile that is asked for.
fn options(check: &Check, args: &Args) -> Result<Vec<Options>> {
    let with = |profile| Options {
        without: args.without.clone(),
        failures: args.failures,
        killed: args.killed,
        nmis: args.nmis,
        limits: limits(args),
        ..Options::new(profile).cpus(args.cpus.unwrap_or(2)).sites(args.sites.unwrap_or(1))
    };
    Ok(choice::chosen(check, args.isa, args.profile)?.into_iter().map(with).collect())
}

/// A counterexample by the rules of one outweighs that there is no verdict by those of another.
fn code<'a>(verdicts: impl Iterator<Item = &'a Verdict>) -> u8 {
    let mut code = 0;
    for verdict in verdicts {
        match verdict {
            Verdict::Safe { .. } => {}
            Verdict::Unsafe { .. } => return UNSAFE,
            Verdict::Vacuous { .. } | Verdict::OutOfMemory | Verdict::TooBig => code = NO_VERDICT,
        }
    }
    code
}

fn unknown(name: &str) -> Error {
    let names: Vec<String> = checks().map(|check| check.name.into()).collect();
    Error::Usage(format!("there is no check \"{name}\"; there are:\n{}", named(&names)))
}

/// A list for an error message.
fn named(names: &[String]) -> String {
    let text = names.join(",\n");
    let lines = fill(text.lines(), text::width().saturating_sub(2));
    lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use textpoke_model::property::Violation;

    #[test]
    fn a_counterexample_outweighs_everything() {
        let safe = Verdict::Safe { live: true };
        let bad = Verdict::Unsafe { violation: Violation::Torn, length: 2 };
        let open = Verdict::OutOfMemory;
        assert_eq!(code([&safe, &safe].into_iter()), 0);
        assert_eq!(code([&safe, &bad].into_iter()), UNSAFE);
        assert_eq!(code([&safe, &open].into_iter()), NO_VERDICT);
        assert_eq!(code([&open, &bad].into_iter()), UNSAFE);
    }
}
