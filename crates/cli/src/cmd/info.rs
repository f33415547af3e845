//! `textpoke info`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use crate::cmd::record::DEFAULT_OUTPUT;
use crate::data::meta::{ExitKind, SiteKind};
use crate::data::record::RECORD_BYTES;
use crate::data::trace::Trace;
use crate::error::{Error, Result};
use crate::names;
use crate::report::table;
use crate::text::{self, Paint};

/// Shown under `--help`.
pub const EXAMPLES: &str = "\
Examples:
  textpoke info t
  textpoke info t --json
  textpoke info t --refused         every function that was not traced, and why";

/// Arguments of `info`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Trace directory
    #[arg(value_name = "DIR", default_value = DEFAULT_OUTPUT)]
    pub dir: PathBuf,

    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// List each function that was not traced
    #[arg(long, conflicts_with = "json")]
    pub refused: bool,
}

/// Runs the verb.
///
/// # Errors
/// The trace cannot be read, or standard output not written.
pub fn run(args: &Args) -> Result<()> {
    let trace = Trace::open(&args.dir)?;
    trace.warnings.iter().for_each(|w| text::warn(w));
    let text = if args.json { json(&trace)? } else { describe(&trace, args.refused, Paint::stdout()) };
    std::io::stdout().write_all(text.as_bytes()).map_err(|e| Error::stdout(&e))
}

fn exits(trace: &Trace, kind: ExitKind) -> usize {
    trace.meta.functions.iter().filter(|f| f.exit == kind).count()
}

fn reasons(trace: &Trace) -> Vec<(&str, usize)> {
    let mut by_reason = BTreeMap::new();
    for refused in &trace.meta.refused {
        *by_reason.entry(refused.reason.as_str()).or_insert(0) += 1;
    }
    let mut list: Vec<_> = by_reason.into_iter().collect();
    list.sort_by_key(|&(reason, n)| (std::cmp::Reverse(n), reason));
    list
}

fn json(trace: &Trace) -> Result<String> {
    let meta = &trace.meta;
    let files: std::collections::BTreeSet<_> = meta.functions.iter().map(|f| &f.file).collect();
    let reasons: BTreeMap<_, _> = reasons(trace).into_iter().collect();
    let value = serde_json::json!({
        "version": meta.version,
        "command": meta.command,
        "pid": meta.pid,
        "exe": meta.exe,
        "started_unix_ns": meta.started_unix_ns,
        "duration_ns": trace.duration_ns(),
        "tsc_hz": meta.tsc_hz,
        "functions": meta.functions.len(),
        "exits": {
            "patched": exits(trace, ExitKind::Patched),
            "inferred": exits(trace, ExitKind::Inferred),
            "entry-only": exits(trace, ExitKind::EntryOnly),
        },
        "files": files,
        "sites": meta.sites.len(),
        "threads": meta.threads,
        "records": trace.total_records(),
        "lost": meta.lost,
        "refused": reasons,
        "end": meta.end,
        "verified": meta.verified,
        "warnings": trace.warnings,
    });
    serde_json::to_string_pretty(&value)
        .map(|text| text + "\n")
        .map_err(|e| Error::new(format!("cannot make JSON: {e}")))
}

fn describe(trace: &Trace, each_refused: bool, paint: Paint) -> String {
    let meta = &trace.meta;
    let mut out = String::new();
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(out, "{}  {value}", paint.dim(&format!("{label:>10}")));
    };
    line("program", &paint.bold(table::program(trace)));
    if !meta.command.is_empty() {
        line("command", &meta.command.join(" "));
    }
    line("executable", &meta.exe);
    line("process", &meta.pid.to_string());
    if meta.started_unix_ns > 0 {
        line("started", &text::date(meta.started_unix_ns));
    }
    line("duration", &text::duration(trace.duration_ns()));
    line("ended", meta.end.words());
    line(
        "text",
        &if meta.verified {
            paint.green("byte for byte as it was (read back after detaching)")
        } else {
            "not verified after the trace".to_string()
        },
    );
    line("clock", &format!("counter at {:.3} MHz", meta.tsc_hz / 1e6));
    let filters = [
        meta.depth.map(|d| format!("-D {d}")),
        meta.min_ns.map(|t| format!("-t {}", text::duration(t).replace(' ', ""))),
    ];
    let filters: Vec<_> = filters.into_iter().flatten().collect();
    if !filters.is_empty() {
        line("filters", &format!("{} (applied when the trace is read)", filters.join(" ")));
    }
    let entries = meta.sites.iter().filter(|s| s.kind == SiteKind::Entry).count();
    line(
        "functions",
        &format!(
            "{}: exits of {} patched, of {} inferred, {} counted only",
            text::count(meta.functions.len() as u64),
            text::count(exits(trace, ExitKind::Patched) as u64),
            text::count(exits(trace, ExitKind::Inferred) as u64),
            text::count(exits(trace, ExitKind::EntryOnly) as u64),
        ),
    );
    line(
        "sites",
        &format!(
            "{}: {} entries, {} exits",
            text::count(meta.sites.len() as u64),
            text::count(entries as u64),
            text::count((meta.sites.len() - entries) as u64),
        ),
    );
    let mut files: BTreeMap<&str, u64> = BTreeMap::new();
    for function in &meta.functions {
        *files.entry(&function.file).or_default() += 1;
    }
    for (i, (file, n)) in files.iter().enumerate() {
        line(if i == 0 { "files" } else { "" }, &format!("{file} ({} functions)", text::count(*n)));
    }
    line("threads", &meta.threads.len().to_string());
    line(
        "records",
        &format!(
            "{} ({})",
            text::count(trace.total_records()),
            text::bytes(trace.total_records() * RECORD_BYTES as u64)
        ),
    );
    let lost = text::count(meta.lost);
    line("lost", &if meta.lost > 0 { paint.red(&lost) } else { lost });
    line("refused", &text::count(meta.refused.len() as u64));
    if each_refused {
        for refused in &meta.refused {
            let _ = writeln!(
                out,
                "  {}  {}  {}",
                paint.cyan(&names::demangle(&refused.name)),
                paint.dim(names::base_name(&refused.file)),
                refused.reason
            );
        }
    } else {
        for (reason, n) in reasons(trace) {
            let _ = writeln!(out, "{:>20}  {reason}", text::count(n as u64));
        }
    }
    out
}
