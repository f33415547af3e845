//! What `record` does, launched and attached alike.

use std::process::Command;
use std::time::Duration;

use indicatif::ProgressBar;
use textpoke_attach::launch::{Launched, launch};
use textpoke_attach::preflight;

use super::modules;
use super::probes::Selection;
use super::recording::{Limits, Recorded, Recording};
use super::stop;
use crate::cmd::record::{Args, Wanted};
use crate::data::writer::TraceWriter;
use crate::error::{Error, Result};
use crate::text::{self, count};

/// Runs `record`. The answer is the exit code of a launched program that was not interrupted, else 0.
///
/// # Errors
/// Attaching, tracing or writing failed; the target lives on or ended by itself.
pub fn record(args: &Args) -> Result<u8> {
    let wanted = Wanted::new(args)?;
    let writer = TraceWriter::create(&args.output, args.force)?;
    let outcome = match args.pid {
        Some(pid) => attached(args, &wanted, writer, pid as i32).map(|recorded| (recorded, 0)),
        None => launched(args, &wanted, writer),
    };
    if outcome.is_err() {
        // An empty directory that was made for nothing is not worth keeping; anything else is.
        let _ = std::fs::remove_dir(&args.output);
    }
    let (recorded, code) = outcome?;
    tell(&recorded, args);
    Ok(code)
}

fn attached(args: &Args, wanted: &Wanted, writer: TraceWriter, pid: i32) -> Result<Recorded> {
    preflight::check(pid).map_err(|e| Error::new(e.to_string()))?;
    go(args, wanted, writer, pid, None)
}

fn launched(args: &Args, wanted: &Wanted, writer: TraceWriter) -> Result<(Recorded, u8)> {
    let [program, arguments @ ..] = args.command.as_slice() else {
        return Err(Error::Usage("name a program after --, or a process with -p".into()));
    };
    let mut command = Command::new(program);
    command.args(arguments);
    let mut child = launch(command).map_err(|e| Error::new(e.to_string()))?;
    match go(args, wanted, writer, child.pid(), Some(&mut child)) {
        Ok(recorded) => {
            let status = child.wait().map_err(|e| Error::io("cannot wait for the program", &e))?;
            Ok((recorded, Launched::code(status) as u8))
        }
        Err(error) => {
            child.kill();
            Err(error)
        }
    }
}

fn go(
    args: &Args,
    wanted: &Wanted,
    writer: TraceWriter,
    pid: i32,
    launched: Option<&mut Launched>,
) -> Result<Recorded> {
    let selection = select(pid, wanted)?;
    let limits = Limits { duration: args.duration.map(Duration::from_nanos), stop: stop::flag()? };
    let spinner = spinner();
    let recording =
        Recording { pid, launched, selection, ring_bytes: args.buffer, writer, depth: args.depth, min_ns: args.time };
    let recorded = recording.run(&limits, |records, lost| spinner.set_message(progress(records, lost)));
    spinner.finish_and_clear();
    recorded
}

/// Analyses the files of a process and takes what is wanted of them.
///
/// # Errors
/// Nothing matches, or nothing that matches can be patched.
pub fn select(pid: i32, wanted: &Wanted) -> Result<Selection> {
    let (modules, unusable) = modules::of_process(pid, |path| wanted.file(path))?;
    let selection = Selection::new(&modules, unusable, wanted);
    if !selection.functions.is_empty() {
        return Ok(selection);
    }
    Err(Error::new(match selection.refused.as_slice() {
        [] => "no function matches; `textpoke sites PID` lists those there are".into(),
        [one] => format!("the only match, {} in {}, cannot be traced: {}", one.name, one.file, one.reason),
        [one, ..] => format!(
            "none of the {} matching functions can be traced; {}: {} (all: `textpoke sites PID`)",
            selection.refused.len(),
            one.name,
            one.reason
        ),
    }))
}

fn spinner() -> ProgressBar {
    use std::io::IsTerminal;
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// One line of progress.
pub fn progress(records: u64, lost: u64) -> String {
    let lost = if lost == 0 { String::new() } else { format!(", {} LOST", count(lost)) };
    format!("{} events{lost} (Ctrl-C ends)", count(records))
}

fn tell(recorded: &Recorded, args: &Args) {
    let meta = &recorded.meta;
    let dir = args.output.display();
    eprintln!(
        "{} functions, {} events in {}: {}",
        count(meta.functions.len() as u64),
        count(recorded.records),
        dir,
        meta.end.words()
    );
    if meta.lost > 0 {
        text::warn(&format!("{} events were lost; a larger --buffer or a narrower -F loses fewer", count(meta.lost)));
    }
    if let Some((start, end)) = recorded.stays {
        text::warn(&format!(
            "a thread is still in our code at {start:#x}-{end:#x}, which stays mapped; `textpoke repair PID` removes it later"
        ));
    }
    eprintln!("next: textpoke report {dir}");
}
