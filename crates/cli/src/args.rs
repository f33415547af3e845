//! The command line. Each verb's own arguments are beside the verb, in [`crate::cmd`].

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::cmd;
use crate::data::filter::Filter;
use crate::text::{parse_seconds, parse_time};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed or refused; one line on standard error says why and what to do
  2  the command line was not understood";

/// Function tracing for running programs.
///
/// textpoke attaches to a program that nobody prepared, patches the functions you name while all
/// threads keep running, records every call, and leaves the code byte for byte as it was.
#[derive(Debug, Parser)]
#[command(
    name = "textpoke",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  textpoke demo                                    see it work, in ten seconds
  textpoke record -o t -F 'sqlite3*' -p 1234 --for 3
  textpoke report t
  textpoke flame t -o flame.svg
  textpoke export t --perfetto trace.perfetto      open it at https://ui.perfetto.dev
  textpoke keys 1234 enable VERBOSE                flip a static key of a running program
  textpoke check --all                             why patching running code is safe, and when it is not
  textpoke litmus                                  the same on this machine's CPUs

Exit codes:
  0  done
  1  failed or refused; one line on standard error says why and what to do
  2  the command line was not understood"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Trace a bundled multi-threaded program and show what came out
    #[command(after_help = after(cmd::demo::EXAMPLES))]
    Demo(cmd::demo::Args),
    /// List the functions of a program and how each would be patched
    #[command(after_help = after(cmd::sites::EXAMPLES))]
    Sites(cmd::sites::Args),
    /// Trace a running program, or start one and trace it
    #[command(after_help = after(cmd::record::EXAMPLES))]
    Record(cmd::record::Args),
    /// Show calls and times per function
    #[command(after_help = after(cmd::report::EXAMPLES))]
    Report(cmd::report::Args),
    /// Draw an interactive flame graph (SVG)
    #[command(after_help = after(cmd::flame::EXAMPLES))]
    Flame(cmd::flame::Args),
    /// Convert a trace for other programs: Perfetto, Chrome, folded stacks
    #[command(after_help = after(cmd::export::EXAMPLES))]
    Export(cmd::export::Args),
    /// Show what a trace holds and how it was made
    #[command(after_help = after(cmd::info::EXAMPLES))]
    Info(cmd::info::Args),
    /// List the static keys of a running program, and flip them
    #[command(after_help = after(cmd::keys::EXAMPLES))]
    Keys(cmd::keys::Args),
    /// Restore the code of a program whose tracer was killed
    #[command(after_help = after(cmd::repair::EXAMPLES))]
    Repair(cmd::repair::Args),
    /// Explore every interleaving of a patch protocol, and show the one that goes wrong
    #[command(after_help = cmd::check::EXAMPLES)]
    Check(cmd::check::Args),
    /// See on this machine's CPUs what goes wrong and what does not, beside the checker's verdicts
    #[command(after_help = cmd::litmus::EXAMPLES)]
    Litmus(cmd::litmus::Args),
}

fn after(examples: &str) -> String {
    format!("{examples}\n\n{EXIT_CODES}")
}

/// The trace to read, and which of its calls.
#[derive(Debug, Args)]
pub struct Source {
    /// Trace directory, as written by `textpoke record`
    #[arg(value_name = "DIR", default_value = cmd::record::DEFAULT_OUTPUT)]
    pub dir: PathBuf,

    /// Drop calls nested deeper than this (1 = only the outermost)
    #[arg(short = 'D', long, value_name = "DEPTH", value_parser = clap::value_parser!(u32).range(1..))]
    pub depth: Option<u32>,

    /// Drop calls shorter than this, e.g. 5us (units: ns us ms s; ns if none)
    #[arg(short = 't', long = "time", value_name = "TIME", value_parser = parse_time)]
    pub time: Option<u64>,
}

/// A part of the trace.
#[derive(Debug, Default, Args)]
pub struct Span {
    /// Leave out what happened before this many seconds from the start
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub from: Option<u64>,

    /// Leave out what happened after this many seconds from the start
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub to: Option<u64>,
}

impl Source {
    /// As a filter, together with a part of the trace.
    ///
    /// # Errors
    /// `--from` is not before `--to`.
    pub fn filter(&self, span: &Span) -> crate::error::Result<Filter> {
        if let (Some(from), Some(to)) = (span.from, span.to)
            && from >= to
        {
            return Err(crate::error::Error::Usage("--from must be before --to".into()));
        }
        Ok(Filter { depth: self.depth, min_ns: self.time, from_ns: span.from, to_ns: span.to })
    }
}
