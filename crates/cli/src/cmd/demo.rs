//! `textpoke demo`: the whole of textpoke on a real program, in a few seconds.
//!
//! The workload is a process of its own that knows nothing of the tracer. It is attached to like any program, with all
//! its functions; afterwards its text is proved identical and its results are computed again and compared.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::cmd;
use crate::cmd::record::Wanted;
use crate::data::writer::TraceWriter;
use crate::error::{Doing, Error, Result};
use crate::live::command::select;
use crate::live::recording::{Limits, Recorded, Recording};
use crate::live::stop;
use crate::text::{self, count, parse_seconds};

/// Shown under `--help`.
pub const EXAMPLES: &str = "\
Examples:
  textpoke demo
  textpoke demo --seconds 10 --out /tmp/demo";

/// The hidden first argument that makes this program the workload.
pub const WORKLOAD: &str = "__workload";

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

/// Events in `trace.perfetto`: the beginning of the trace, in a size that browsers like.
const PERFETTO_EVENTS: u64 = 1_000_000;

/// Where the workload's threads only wait: their time would hide everything else in the pictures.
const WAITING: [&str; 6] =
    ["*::pace::Pace::wait", "*::Control::says_stop", "std::thread::*sleep*", "*JoinInner*", "*::join", "*sleeper*"];

/// Functions in the printed report.
const LINES: usize = 16;

/// Runs the verb.
///
/// # Errors
/// Attaching, tracing or writing failed, the text was not identical afterwards, or a result of the workload was wrong.
pub fn run(args: &Args) -> Result<()> {
    std::fs::create_dir_all(&args.out).doing(|| format!("cannot create {}", args.out.display()))?;
    let trace = args.out.join("trace");
    let writer = TraceWriter::create(&trace, args.force)?;
    let mut workload = Workload::start()?;
    let outcome = traced(args, &workload, writer);
    let report = workload.finish();
    let recorded = outcome?;
    let report = report?;

    let errors = report.errors.first();
    if let Some(error) = errors {
        return Err(Error::new(format!("the workload failed while it was traced: {error}; please report this")));
    }
    say("checking", &format!("{} transactions are computed again", count(report.transactions())));
    textpoke_workload::verify(&report)
        .map_err(|why| Error::new(format!("a result of the workload is wrong: {why}; please report this")))?;
    if !recorded.meta.verified {
        return Err(Error::new("the text was not what it had been before; please report this"));
    }
    cmd::report::print(&trace, LINES)?;
    draw(args, &trace)?;
    proof(&recorded, &report);
    Ok(())
}

fn traced(args: &Args, workload: &Workload, writer: TraceWriter) -> Result<Recorded> {
    let pid = workload.child.id() as i32;
    let wanted = Wanted::from_patterns(&[], &WAITING.map(String::from), &[], false)?;
    let selection = select(pid, &wanted)?;
    say(
        "attaching",
        &format!(
            "to process {pid}, {} threads, running SQLite: {} functions (all but those that wait), {} sites",
            std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count),
            count(selection.functions.len() as u64),
            count(selection.sites.len() as u64)
        ),
    );
    let recording =
        Recording { pid, launched: None, selection, ring_bytes: 8 << 20, writer, depth: None, min_ns: None };
    let limits = Limits { duration: Some(Duration::from_nanos(args.seconds)), stop: stop::flag()? };
    let recorded = recording.run(&limits, |_, _| {})?;
    let [install, removal] = recorded.patching;
    say("patched", &format!("in {} while all threads ran, out again in {}", ms(install), ms(removal)));
    Ok(recorded)
}

fn draw(args: &Args, trace: &Path) -> Result<()> {
    let flame = args.out.join("flame.svg");
    cmd::flame::draw(trace, &flame, false)?;
    let perfetto = args.out.join("trace.perfetto");
    cmd::export::perfetto(trace, &perfetto, PERFETTO_EVENTS)?;
    say("drew", &format!("{} (open it in a browser)", flame.display()));
    say("wrote", &format!("{} (open it at https://ui.perfetto.dev)", perfetto.display()));
    Ok(())
}

fn proof(recorded: &Recorded, report: &textpoke_workload::Report) {
    let meta = &recorded.meta;
    say(
        "proved",
        &format!("the text is byte for byte what it was; {} transactions are right", count(report.transactions())),
    );
    say(
        "meanwhile",
        &format!(
            "{} threads came and went, {} forks, {} programs spawned, {} signals handled, {} EINTR",
            count(report.threads),
            report.forks,
            report.spawns,
            count(report.signals),
            report.eintr
        ),
    );
    say(
        "recorded",
        &format!(
            "{} events of {} functions, {} lost; {} traps taken while patching",
            count(recorded.records),
            count(meta.functions.len() as u64),
            count(meta.lost),
            count(recorded.traps)
        ),
    );
}

fn say(what: &str, text: &str) {
    eprintln!("{} {text}", text::Paint::stderr().green(&format!("{what:>10}")));
}

fn ms(time: Duration) -> String {
    text::duration(time.as_nanos() as u64)
}

/// The process that is traced. Dropping it ends it.
struct Workload {
    child: Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Workload {
    fn start() -> Result<Self> {
        let program = std::env::current_exe().doing(|| "cannot find the path of textpoke itself")?;
        let mut child = Command::new(program)
            .args([WORKLOAD, "--control"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .doing(|| "cannot start the workload")?;
        let orders = child.stdin.take();
        let stdout = child.stdout.take().ok_or_else(|| Error::new("the workload has no output"))?;
        let mut workload = Self { child, orders, answers: BufReader::new(stdout).lines() };
        match workload.answer()?.as_str() {
            "ready" => Ok(workload),
            other => Err(Error::new(format!("the workload did not start: {other}"))),
        }
    }

    fn answer(&mut self) -> Result<String> {
        match self.answers.next() {
            Some(line) => line.doing(|| "cannot read from the workload"),
            None => Err(match self.child.wait() {
                Ok(status) => Error::new(format!("the workload ended early ({status}); please report this")),
                Err(e) => Error::io("cannot wait for the workload", &e),
            }),
        }
    }

    fn finish(&mut self) -> Result<textpoke_workload::Report> {
        if let Some(mut orders) = self.orders.take() {
            // Closing the pipe is an order to stop too.
            let _ = orders.write_all(b"stop\n");
        }
        let line = self.answer()?;
        self.child.wait().doing(|| "cannot wait for the workload")?;
        textpoke_workload::Report::from_json(&line).map_err(Error::new)
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
