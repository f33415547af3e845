//! The `textpoke` program: the verbs, and the trace directory that they share.
//!
//! `main.rs` only calls [`run`]. Start reading at [`data`], then [`cmd`].

pub mod args;
pub mod check;
pub mod cmd;
pub mod data;
pub mod error;
pub mod export;
pub mod flame;
pub mod keys;
pub mod litmus;
pub mod live;
pub mod names;
pub mod output;
pub mod progress;
pub mod report;
pub mod sites;
pub mod text;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Verb};
use error::Error;

/// Parses the command line, performs the verb, and prints its error if it has one.
#[must_use]
pub fn run() -> ExitCode {
    // The demo starts this program again as the one to be traced.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == cmd::demo::WORKLOAD) {
        return textpoke_workload::main_from_args(&[cmd::demo::WORKLOAD], arguments);
    }
    // And litmus, as something that it can afford to lose.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == cmd::litmus::CHILD) {
        let orders = arguments.next().unwrap_or_default();
        return ExitCode::from(textpoke_litmus::child::main(&orders.to_string_lossy()));
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help_or_error) => {
            let code = u8::try_from(help_or_error.exit_code()).unwrap_or(2);
            // Printing help to a closed pipe is nobody's failure.
            let _ = help_or_error.print();
            return ExitCode::from(code);
        }
    };
    let done = |result: error::Result<()>| result.map(|()| 0);
    let outcome = match &cli.verb {
        Verb::Demo(args) => done(cmd::demo::run(args)),
        Verb::Sites(args) => done(cmd::sites::run(args)),
        Verb::Record(args) => cmd::record::run(args),
        Verb::Report(args) => done(cmd::report::run(args)),
        Verb::Flame(args) => done(cmd::flame::run(args)),
        Verb::Export(args) => done(cmd::export::run(args)),
        Verb::Info(args) => done(cmd::info::run(args)),
        Verb::Keys(args) => done(cmd::keys::run(args)),
        Verb::Repair(args) => done(cmd::repair::run(args)),
        Verb::Check(args) => cmd::check::run(args),
        Verb::Litmus(args) => cmd::litmus::run(args),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(Error::BrokenPipe) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("textpoke: {error}");
            ExitCode::from(if matches!(error, Error::Usage(_)) { 2 } else { 1 })
        }
    }
}
