//! `textpoke export`.
/// Shown under `--help`.
pub const EXAMPLES: &str = "";
/// Arguments of `export`.
#[derive(Debug, clap::Args)]
pub struct Args {}
/// Runs the verb.
///
/// # Errors
/// None yet.
pub fn run(_args: &Args) -> crate::error::Result<()> { Ok(()) }
