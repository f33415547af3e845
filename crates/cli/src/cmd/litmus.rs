//! `textpoke litmus`.

use std::io::Write as _;

use serde_json::json;
use textpoke_litmus::spec::Total;
use textpoke_litmus::{Error as Refusal, Options, Place, Profile, Table};

use crate::error::{Error, Result};
use crate::litmus::table;
use crate::progress;
use crate::text::{self, Paint, parse_seconds};

/// The first argument with which litmus starts this program again, as a child that it can afford to lose.
pub const CHILD: &str = "__litmus";

/// Shown under `--help`.
pub const EXAMPLES: &str = "\
Examples:
  textpoke litmus                                everything, in twenty seconds
  textpoke litmus breakpoint displace --seconds 60
  textpoke litmus straddling-store --all-offsets where in a cache line a store is torn
  textpoke litmus --list                         what can be run
  textpoke litmus --json | jq '.cells[] | select(.counts.segv > 0)'

What runs are the steps that `textpoke check` explores, on the same bytes, in child processes: one
thread calls the site without a pause while another changes it. Nothing outside of them is touched.
That a wrong variant does not fail proves nothing; that a right one does would be a contradiction.

Exit codes:
  0  nothing happened that the checker calls impossible, and every protocol of ours ran
  1  a contradiction: silicon did what the checker calls impossible; or the control, which must fail
     on any CPU, did not
  2  the command line was not understood
  3  no evidence: it cannot run here, or a protocol of ours did not";

const CONTRADICTION: u8 = 1;
const NO_EVIDENCE: u8 = 3;

/// Arguments of `litmus`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to run; everything if not given
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// How long it may take altogether
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = parse_span)]
    pub seconds: u64,

    /// Every offset in a cache line, instead of one for each kind of boundary
    #[arg(long)]
    pub all_offsets: bool,

    /// By whose book to judge; that of the CPU's maker if not given
    #[arg(long, value_enum, value_name = "WHOSE")]
    pub profile: Option<Book>,

    /// Show what can be run
    #[arg(long, conflicts_with_all = ["names", "all_offsets", "profile"])]
    pub list: bool,

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

fn parse_span(text: &str) -> Result<u64, String> {
    const DAY: u64 = 86_400_000_000_000;
    match parse_seconds(text)? {
        0 => Err("it takes some time to see anything, as in 20".into()),
        DAY.. => Err("less than a day, as in 3600".into()),
        nanos => Ok(nanos),
    }
}

/// Runs the verb and returns the exit code.
///
/// # Errors
/// Of usage only: 1 is the exit code of a contradiction.
pub fn run(args: &Args) -> Result<u8> {
    let (text, code) = match outcome(args) {
        Ok(done) => done,
        Err(error @ (Refusal::Unknown(_) | Refusal::Nothing)) => return Err(Error::Usage(error.to_string())),
        Err(error) => {
            eprintln!("textpoke: {error}");
            return Ok(if matches!(error, Refusal::Blind(_)) { CONTRADICTION } else { NO_EVIDENCE });
        }
    };
    match std::io::stdout().write_all(text.as_bytes()).map_err(|e| Error::stdout(&e)) {
        Err(Error::BrokenPipe) | Ok(()) => Ok(code),
        Err(other) => {
            eprintln!("textpoke: {other}");
            Ok(if code == 0 { NO_EVIDENCE } else { code })
        }
    }
}

fn outcome(args: &Args) -> Result<(String, u8), Refusal> {
    let (paint, width) = (Paint::stdout(), text::width());
    if args.list {
        let text = if args.json { format!("{:#}\n", table::list_json()) } else { table::list(width, paint) };
        return Ok((text, 0));
    }
    let program = std::env::current_exe()
        .map_err(|e| Refusal::Refused(format!("this program does not know where it is, to start itself again: {e}")))?;
    let options = Options {
        names: args.names.clone(),
        places: if args.all_offsets { Place::all() } else { Place::INTERESTING.to_vec() },
        budget: Total::Time(args.seconds),
        profile: args.profile.map(|book| match book {
            Book::Amd => Profile::Amd,
            Book::Intel => Profile::Intel,
        }),
        child: vec![program.into(), CHILD.into()],
    };
    let bar = progress::always("running", 0);
    let result = textpoke_litmus::run(&options, &mut |done, all, name| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        bar.set_message(name.to_string());
    });
    bar.finish_and_clear();
    let table = result?;
    let text = if args.json { format!("{:#}\n", json!(table)) } else { table::render(&table, width, paint) };
    Ok((text, code(&table)))
}

/// The exit code of a run: a contradiction outweighs that something did not run.
#[must_use]
pub fn code(table: &Table) -> u8 {
    match table {
        Table { contradicted: true, .. } => CONTRADICTION,
        Table { complete: false, .. } => NO_EVIDENCE,
        _ => 0,
    }
}
