//! `textpoke repair`.

use textpoke_attach::repair::Repaired;

use crate::error::{Error, Result};
use crate::text;

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
pub fn run(args: &Args) -> Result<()> {
    let pid = args.pid;
    let repaired =
        textpoke_attach::repair::repair(pid as i32, crate::live::AGENT).map_err(|e| Error::new(e.to_string()))?;
    if repaired == Repaired::default() {
        eprintln!("process {pid} carries nothing of textpoke; nothing to repair");
        return Ok(());
    }
    eprintln!("process {pid}: {} sites restored, {} mappings removed", repaired.sites, repaired.mappings);
    if let Some((start, end)) = repaired.stays {
        text::warn(&format!(
            "a thread is still in our code at {start:#x}-{end:#x}, which stays mapped; `textpoke repair PID` removes it later"
        ));
    }
    Ok(())
}
