//! `textpoke check`.

use std::io::Write as _;
use std::time::Instant;

use serde_json::{Value, json};
use textpoke_model::explore::Limits;
use textpoke_model::{CHECKS, Check, Options, Profile, Report, Unknown, Verdict};

use crate::check::cells::fill;
use crate::check::{program, report, table};
use crate::error::{Error, Result};
use crate::progress;
use crate::text::{self, Paint, parse_size};

/// Shown under `--help`.
pub const EXAMPLES: &str = "\
Examples:
  textpoke check --all                                every row of the table, in a few seconds
  textpoke check breakpoint --cpus 4 --sites 2
  textpoke check breakpoint --without 'sync cores 2'  what that step is for
  textpoke check displace --print                     its steps, and the way back
  textpoke check int3-no-sync-3 --profile amd         a variant that is known to be wrong
  textpoke check displace --failures 1 --killed       any step fails, anybody is killed

What is explored are the objects that patch live. Nothing is sampled: every interleaving of stores,
fetches, traps, signals and failures is tried, under what AMD's or Intel's manual promises about
instruction fetch.

Exit codes:
  0  safe; with --all and --deep: every verdict is the expected one
  1  unsafe: the shortest interleaving is printed; with --all and --deep: a verdict is not as expected
  2  the command line was not understood, or asks for what is not modelled
  3  no verdict: the states do not fit into --memory, or the output could not be written";

const UNSAFE: u8 = 1;
const NO_VERDICT: u8 = 3;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true),
    group = clap::ArgGroup::new("one").multiple(true)
)]
pub struct Args {
    /// What to check; --list shows the names
    #[arg(value_name = "NAME", group = "what")]
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

    /// Instruction set
    #[arg(long, value_name = "ISA", default_value = "x86-64")]
    pub isa: String,

    /// Processors, the patcher's included
    #[arg(long, value_name = "N", default_value_t = 2, group = "one", value_parser = clap::value_parser!(u8).range(2..=5))]
    pub cpus: u8,

    /// Sites in one batch
    #[arg(long, value_name = "N", default_value_t = 1, group = "one", value_parser = clap::value_parser!(u8).range(1..=3))]
    pub sites: u8,

    /// Whose promises about instruction fetch; both if not given
    #[arg(long, value_enum, value_name = "WHOSE", group = "one")]
    pub profile: Option<Book>,

    /// Leave out one step, named as --print has it
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

    /// Print the steps instead of checking them
    #[arg(long, group = "one", conflicts_with = "without")]
    pub print: bool,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Whose manual.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Book {
    /// AMD's: aligned 8 bytes at once, in order
    Amd,
    /// Intel's: nothing at all
    Intel,
}

/// Runs the verb and returns the exit code.
///
/// # Errors
/// Of usage only; 1 is the exit code of what is unsafe, so that a failure to print has another.
pub fn run(args: &Args) -> Result<u8> {
    isa(&args.isa)?;
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
        let text = if args.json { pretty(&program::list_json()) } else { program::list(width, paint) };
        return Ok((text, 0));
    }
    let Some(name) = &args.name else { return Ok(all(args, width, paint)) };
    let Some(check) = Check::find(name) else { return Err(unknown(name)) };
    if args.print {
        let text = if args.json { pretty(&program::json(check)) } else { program::print(check, width, paint) };
        return Ok((text, 0));
    }
    let mut done = Vec::new();
    for options in options(args) {
        let report = one(check, args, &options)?;
        done.push((options, report));
    }
    let code = code(done.iter().map(|(_, report)| &report.verdict));
    if code == NO_VERDICT {
        let hint = "ask for fewer --cpus, --sites or --failures, or allow more with --memory";
        eprintln!("textpoke: no verdict on {name}; {hint}");
    }
    let text = if args.json {
        let reports: Vec<&Report> = done.iter().map(|(_, report)| report).collect();
        pretty(&json!({"safe": code == 0, "reports": reports}))
    } else {
        let texts: Vec<String> =
            done.iter().map(|(options, r)| report::render(check, options, r, width, paint)).collect();
        texts.join("\n")
    };
    Ok((text, code))
}

fn all(args: &Args, width: usize, paint: Paint) -> (String, u8) {
    let start = Instant::now();
    let rows = textpoke_model::rows(args.deep).len() as u64;
    let bar = progress::always("checking", rows);
    let checked = textpoke_model::check_all(args.deep, &mut |done, _| bar.set_position(done as u64));
    bar.finish_and_clear();
    let text = if args.json {
        pretty(&json!(checked))
    } else {
        table::render(&checked, start.elapsed().as_secs_f64(), width, paint)
    };
    (text, if checked.as_expected { 0 } else { UNSAFE })
}

fn one(check: &Check, args: &Args, options: &Options) -> Result<Report> {
    let spinner = progress::open_ended();
    let start = Instant::now();
    let progress = &mut |states: usize, left: usize| {
        let rate = states as f64 / start.elapsed().as_secs_f64().max(1e-9) / 1e6;
        let (states, left) = (text::count(states as u64), text::count(left as u64));
        spinner.set_message(format!("{states} states, {left} to look at, {rate:.1} million/s"));
    };
    let report = match &args.without {
        Some(step) => textpoke_model::without(check.name, step, options, progress),
        None => textpoke_model::check(check.name, options, progress),
    };
    spinner.finish_and_clear();
    report.map_err(|error| match error {
        Unknown::Check(name) => unknown(&name),
        Unknown::Step(step) => Error::Usage(format!(
            "{} has no step \"{step}\"; its steps are:\n{}",
            check.name,
            named(&program::names(check))
        )),
    })
}

/// One exploration for each book that is asked for.
fn options(args: &Args) -> Vec<Options> {
    let profiles = match args.profile {
        None => vec![Profile::Intel, Profile::Amd],
        Some(Book::Intel) => vec![Profile::Intel],
        Some(Book::Amd) => vec![Profile::Amd],
    };
    let memory = usize::try_from(args.memory).unwrap_or(usize::MAX);
    let with = |profile| Options {
        failures: args.failures,
        killed: args.killed,
        limits: Limits { memory, ..Limits::default() },
        ..Options::new(profile).cpus(args.cpus).sites(args.sites)
    };
    profiles.into_iter().map(with).collect()
}

/// A counterexample under one book outweighs that there is no verdict under the other.
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

fn isa(name: &str) -> Result<()> {
    match name.to_ascii_lowercase().replace('_', "-").as_str() {
        "x86-64" | "amd64" => Ok(()),
        "aarch64" | "arm64" | "riscv64" => Err(Error::Usage(format!("{name} is not modelled yet; only x86-64 is"))),
        _ => Err(Error::Usage(format!("no instruction set \"{name}\" is known; x86-64 is modelled"))),
    }
}

fn unknown(name: &str) -> Error {
    let names: Vec<String> = CHECKS.iter().map(|check| check.name.into()).collect();
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
