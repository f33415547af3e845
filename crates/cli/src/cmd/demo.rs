//! `textpoke demo`.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::text::parse_seconds;

/// Shown under `--help`.
pub const EXAMPLES: &str = "\
Examples:
  textpoke demo
  textpoke demo --seconds 10 --out /tmp/demo";

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long to trace
    #[arg(long, value_name = "N", default_value = "3", value_parser = parse_seconds)]
    pub seconds: u64,

    /// Folder for the trace, flame.svg and trace.perfetto
    #[arg(long, value_name = "DIR", default_value = "textpoke-demo")]
    pub out: PathBuf,

    /// Replace what an earlier demo left in that folder
    #[arg(long)]
    pub force: bool,
}

/// Runs the verb.
///
/// # Errors
/// Attaching, tracing or writing failed.
pub fn run(_args: &Args) -> Result<()> {
    Err(Error::new("demo is not wired yet"))
}
