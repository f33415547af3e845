//! `textpoke repair`.

use crate::error::{Error, Result};

/// Shown under `--help`.
pub const EXAMPLES: &str = "\
Examples:
  textpoke repair 1234        after the tracer of process 1234 was killed";

/// Arguments of `repair`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Process id of the program to restore
    #[arg(value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pub pid: u32,
}

/// Runs the verb.
///
/// # Errors
/// The process cannot be repaired, or needs no repair.
pub fn run(_args: &Args) -> Result<()> {
    Err(Error::new("repair is not wired yet"))
}
