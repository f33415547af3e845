//! Command-line arguments of the workload.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Worker threads unless told otherwise.
pub const DEFAULT_WORKERS: usize = 4;
/// Most worker threads that are accepted.
pub const MAX_WORKERS: usize = 64;
/// Transactions per second of each worker unless told otherwise. A transaction makes about 16,000 calls in about
/// 110 µs, so that this rate costs a trace of every function near three million events a second.
pub const DEFAULT_RATE: u32 = 20;

pub(crate) const HELP: &str = "\
A multi-threaded SQLite workload that checks its own results.

  --workers N    worker threads, 1 to 64 (4)
  --rate N       transactions per second of each worker; 0: as fast as possible (20)
  --seconds N    stop after N seconds, a decimal number (run until told to stop)
  --control      stop on a line 'stop' or the end of standard input; ignore SIGINT
  --verify FILE  check a report that an earlier run printed; '-' reads standard input
  --help         this text";

/// How one run behaves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunOptions {
    pub workers: usize,
    /// Transactions per second of each worker, 0: unlimited.
    pub rate: u32,
    pub limit: Option<Duration>,
    /// Standard input is the control channel.
    pub control: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Help,
    Run(RunOptions),
    /// Not for people: what the workload starts of itself to have spawned something.
    Child {
        seed: u64,
    },
    Verify {
        file: PathBuf,
    },
}

pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Action, String> {
    let mut options = RunOptions { workers: DEFAULT_WORKERS, rate: DEFAULT_RATE, limit: None, control: false };
    let mut args = args.into_iter();
    while let Some(flag) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{} needs a value", flag.display()));
        match flag.to_str() {
            Some("--help" | "-h") => return Ok(Action::Help),
            Some("--workers") => {
                options.workers = number(&flag, &value()?)?;
                if !(1..=MAX_WORKERS).contains(&options.workers) {
                    return Err(format!("--workers must be 1 to {MAX_WORKERS}"));
                }
            }
            Some("--rate") => options.rate = number(&flag, &value()?)?,
            Some("--seconds") => {
                let seconds: f64 = number(&flag, &value()?)?;
                let limit =
                    Duration::try_from_secs_f64(seconds).map_err(|error| format!("--seconds {seconds}: {error}"))?;
                options.limit = Some(limit);
            }
            Some("--control") => options.control = true,
            Some("--child") => {
                let seed = number(&flag, &value()?)?;
                return Ok(Action::Child { seed });
            }
            Some("--verify") => {
                let file = value()?.into();
                return Ok(Action::Verify { file });
            }
            _ => return Err(format!("unknown argument {}", flag.display())),
        }
    }
    Ok(Action::Run(options))
}

fn number<T: std::str::FromStr>(flag: &OsString, value: &OsString) -> Result<T, String> {
    value
        .to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("{} cannot be {}: a number is needed", flag.display(), value.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(line: &str) -> Result<Action, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn arguments_are_read() {
        let Ok(Action::Run(options)) = parse_words("--workers 6 --rate 0 --seconds 2.5 --control") else {
            panic!("a run was asked for");
        };
        assert_eq!(options.workers, 6);
        assert_eq!(options.rate, 0);
        assert_eq!(options.limit, Some(Duration::from_millis(2500)));
        assert!(options.control);
        assert_eq!(parse_words("--child 7"), Ok(Action::Child { seed: 7 }));
    }

    #[test]
    fn unusable_arguments_are_named() {
        for (line, part) in [
            ("--workers 0", "--workers"),
            ("--workers 65", "64"),
            ("--rate -1", "-1"),
            ("--seconds -1", "--seconds"),
            ("--seconds", "needs a value"),
            ("--frob", "--frob"),
        ] {
            let message = parse_words(line).expect_err(line);
            assert!(message.contains(part), "{line}: {message}");
        }
    }

    #[test]
    fn help_states_the_defaults() {
        assert!(HELP.contains(&format!("({DEFAULT_RATE})")));
        assert!(HELP.contains(&format!("({DEFAULT_WORKERS})")));
        assert!(HELP.contains(&format!("1 to {MAX_WORKERS}")));
    }
}
