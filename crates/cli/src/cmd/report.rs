//! `textpoke report`.

use std::io::Write;

use crate::args::{Source, Span};
use crate::data::trace::Trace;
use crate::error::{Error, Result};
use crate::report::json::Report;
use crate::report::stats::Stats;
use crate::report::table::{self, SortKey};
use crate::text::{self, Paint};

/// Shown under `--help`.
pub const EXAMPLES: &str = "\
Examples:
  textpoke report t
  textpoke report t --sort self -n 10
  textpoke report t -t 1ms                  only calls of a millisecond and more
  textpoke report t --json | jq '.functions[0]'

Percentiles come from a logarithmic histogram and are within 1.6 %.";

/// Lines shown when nothing else is said.
const DEFAULT_LINES: usize = 40;

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to read
    #[command(flatten)]
    pub source: Source,

    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// Largest first, by this
    #[arg(short, long, value_enum, default_value_t = SortKey::Total)]
    pub sort: SortKey,

    /// Show this many functions; 0 shows all (default: 40, with --json all)
    #[arg(short = 'n', long = "lines", value_name = "N")]
    pub lines: Option<usize>,
}

/// Runs the verb.
///
/// # Errors
/// The trace cannot be read, or standard output not written.
pub fn run(args: &Args) -> Result<()> {
    let trace = Trace::open(&args.source.dir)?;
    trace.warnings.iter().for_each(|w| text::warn(w));
    let stats = Stats::collect(&trace, args.source.filter(&Span::default())?)?;
    let lines = args.lines.unwrap_or(if args.json { 0 } else { DEFAULT_LINES });
    let rows = table::rows(&trace, &stats, args.sort, lines);
    let text = if args.json {
        let mut text = serde_json::to_string_pretty(&Report::new(&trace, &stats, &rows))
            .map_err(|e| Error::new(format!("cannot make JSON: {e}")))?;
        text.push('\n');
        text
    } else {
        table::render(&trace, &stats, &rows, text::width(), Paint::stdout())
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(|e| Error::stdout(&e))
}

/// Prints the report of a trace that was just made, with at most `lines` functions.
///
/// # Errors
/// As [`run`].
pub fn print(dir: &std::path::Path, lines: usize) -> Result<()> {
    let source = Source { dir: dir.to_path_buf(), depth: None, time: None };
    run(&Args { source, json: false, sort: SortKey::Total, lines: Some(lines) })
}
