//! Ctrl-C and its like end a recording in order: the target is released and the trace is whole.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::error::{Error, Result};

/// A flag that becomes true at the first SIGINT, SIGTERM or SIGHUP.
///
/// # Errors
/// The signal handlers cannot be installed.
pub fn flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(|e| Error::io("cannot handle signals", &e))?;
    }
    Ok(stop)
}
