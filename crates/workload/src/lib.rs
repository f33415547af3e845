//! A multi-threaded program that does real work, so that a tracer has something honest to trace.
//!
//! It knows nothing of textpoke and carries no instrumentation. Several threads run transactions on
//! SQLite while the process does what makes patching live code hard: signals arrive, short-lived
//! threads come and go, children are forked and programs spawned, and one thread sleeps in
//! `epoll_wait` and counts how often somebody woke it for nothing.
//!
//! Every result it computes is a pure function of *how many* transactions ran, never of when or in
//! which order. [`verify()`] recomputes them in another process, so a run that was patched while it
//! worked can be proved right afterwards.
//!
//! # The program
//!
//! ```text
//! [--workers N] [--rate N] [--seconds N] [--control]    run; prints `ready`, then at the end one Report as a JSON line
//! --verify FILE                                         check a report (`-` reads it from standard input)
//! ```
//! It ends after `--seconds`, on SIGTERM or SIGINT, and with `--control` on a line `stop` or the end
//! of standard input; SIGINT is ignored then, because Ctrl-C belongs to the process that controls it.
//! Exit codes: 0 all well, 1 an error or a wrong result, 2 unusable arguments.

mod bank;
mod checksum;
mod control;
mod disturb;
mod options;
mod pace;
mod probe;
mod report;
mod run;
mod shop;
mod sys;
mod verify;
mod worker;

use std::ffi::OsString;
use std::process::ExitCode;

pub use options::{DEFAULT_RATE, DEFAULT_WORKERS, MAX_WORKERS};
pub use report::{Report, WorkerReport};
pub use verify::{verify, verify_with_progress};

use options::Action;

/// Runs the workload program with `args` (without the program's name).
///
/// `reenter` is what has to stand before the workload's own arguments when this executable is
/// started again: empty for the program of this crate, the hidden sub-command for a program that
/// bundles it. The workload starts itself as a child from time to time, as real programs do.
pub fn main_from_args(reenter: &[&str], args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let outcome = match options::parse(args) {
        Ok(Action::Help) => {
            println!("{}", options::HELP);
            Ok(())
        }
        Ok(Action::Run(options)) => run::run_and_print(reenter, &options),
        Ok(Action::Child { seed }) => probe::print(seed),
        Ok(Action::Verify { file }) => verify::verify_file(&file),
        Err(message) => {
            eprintln!("workload: {message}; --help lists the arguments");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("workload: {message}");
            ExitCode::FAILURE
        }
    }
}
