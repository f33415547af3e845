//! Once a second, a forked child and a spawned program; each computes something that is checked.

use super::{Shared, expect_equal};
use crate::pace::Pace;
use crate::{probe, sys};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(1);

/// Runs until the stop flag. `reenter` as for [`crate::main_from_args`].
pub(crate) fn run(shared: &Shared, reenter: &[&str]) -> Result<(), String> {
    shared.threads_ready.fetch_add(1, Ordering::Relaxed);
    let mut pace = Pace::every(INTERVAL);
    let mut seed = 0;
    while pace.wait(&shared.stop) {
        let answer = sys::fork_and_ask(seed).map_err(|error| format!("a forked child: {error}"))?;
        expect_equal("a forked child", answer, sys::fork_answer(seed))?;
        shared.forks.fetch_add(1, Ordering::Relaxed);

        let right = probe::compute(seed).map_err(|error| error.to_string())?;
        expect_equal("a spawned program", spawn_and_ask(reenter, seed)?, right)?;
        shared.spawns.fetch_add(1, Ordering::Relaxed);
        seed += 1;
    }
    Ok(())
}

fn spawn_and_ask(reenter: &[&str], seed: u64) -> Result<u64, String> {
    // Not `current_exe`: that path may have another file by now, for instance after a rebuild.
    let output = Command::new("/proc/self/exe")
        .args(reenter)
        .args(["--child", &seed.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot spawn a program: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    u64::from_str_radix(text.trim(), 16)
        .map_err(|_| format!("a spawned program said {text:?} and ended with {}", output.status))
}
