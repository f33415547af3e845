//! `textpoke sites`.

use std::io::Write as _;
use std::path::Path;

use crate::cmd::record::globs;
use crate::error::{Error, Result};
use crate::progress;
use crate::sites::survey::{Summary, Survey};
use crate::sites::{json, maps, table};
use crate::text::{self, Paint};

/// Shown under `--help`.
pub const EXAMPLES: &str = "\
Examples:
  textpoke sites /usr/bin/python3 --summary
  textpoke sites /usr/lib/x86_64-linux-gnu/libsqlite3.so.0 -F 'sqlite3_*'
  textpoke sites 1234                      every file that process 1234 runs
  textpoke sites ./server --json | jq .summary
  textpoke sites ./firmware-aarch64        files of every instruction set, on any machine

PROTOCOL: how the entry is changed under running threads: displace and breakpoint through traps, word by one
store, park while nobody runs.
EXITS: a number: all exits are patched; 2 of 3: the rest is inferred from the caller's next event;
none: calls are counted, not timed.";

/// Arguments of `sites`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// ELF file, or process id
    #[arg(value_name = "ELF|PID")]
    pub target: String,

    /// Only functions whose name matches, mangled or demangled (repeatable)
    #[arg(short = 'F', long = "filter", value_name = "GLOB")]
    pub filter: Vec<String>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// Print only the numbers at the end
    #[arg(long, conflicts_with = "json")]
    pub summary: bool,
}

/// Runs the verb.
///
/// # Errors
/// The file or the process cannot be read, or nothing matches.
pub fn run(args: &Args) -> Result<()> {
    let wanted = (!args.filter.is_empty()).then(|| globs(&args.filter, "-F")).transpose()?;
    let surveys = match args.target.parse::<u32>() {
        Ok(pid) => of_process(pid, wanted.as_ref())?,
        Err(_) => vec![of_file(&args.target, wanted.as_ref())?],
    };
    if surveys.iter().all(|s| s.functions.is_empty()) {
        return Err(Error::new(if wanted.is_some() {
            format!("no function in {} matches -F {}", args.target, args.filter.join(" -F "))
        } else {
            format!("no functions found in {}", args.target)
        }));
    }
    let mut out = std::io::stdout().lock();
    let mut put = |text: &str| out.write_all(text.as_bytes()).map_err(|e| Error::stdout(&e));
    if args.json {
        let text = serde_json::to_string_pretty(&json::document(&surveys))
            .map_err(|e| Error::new(format!("cannot make JSON: {e}")))?;
        return put(&(text + "\n"));
    }
    let paint = Paint::stdout();
    for survey in surveys.iter().filter(|s| !args.summary && !s.functions.is_empty()) {
        put(&table::functions(survey, text::width(), paint))?;
        put("\n")?;
    }
    put(&table::summary(&Summary::of(&surveys), paint))
}

fn of_file(path: &str, wanted: Option<&globset::GlobSet>) -> Result<Survey> {
    if Path::new(path).is_dir() {
        return Err(Error::new(format!("{path} is a directory; name a program or library")));
    }
    let bytes = std::fs::read(path).map_err(|e| Error::io(format!("cannot read {path}"), &e))?;
    Survey::of(path, &bytes, None, wanted)
}

/// All files of a process. One that cannot be read or analysed is a warning, unless all are.
fn of_process(pid: u32, wanted: Option<&globset::GlobSet>) -> Result<Vec<Survey>> {
    let files = maps::executable_files(pid)?;
    let bar = progress::always("analysing", files.len() as u64);
    let mut surveys = Vec::new();
    let mut first_error = None;
    for file in &files {
        let survey = maps::read(pid, file)
            .and_then(|bytes| Survey::of(&file.path, &bytes, Some((file.start, file.offset)), wanted));
        match survey {
            Ok(survey) => surveys.push(survey),
            Err(error) => {
                bar.suspend(|| text::warn(&error.to_string()));
                first_error.get_or_insert(error);
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    match first_error {
        Some(error) if surveys.is_empty() => Err(error),
        _ => Ok(surveys),
    }
}
