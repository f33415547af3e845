//! `textpoke export`.

use std::path::{Path, PathBuf};

use crate::args::{Source, Span};
use crate::data::filter::Filter;
use crate::data::trace::Trace;
use crate::error::Result;
use crate::export::{chrome, cut, folded, perfetto};
use crate::output::Output;
use crate::progress;
use crate::text;

/// Shown under `--help`.
pub const EXAMPLES: &str = "\
Examples:
  textpoke export t --perfetto trace.perfetto       open it at https://ui.perfetto.dev
  textpoke export t --chrome trace.json -t 10us     calls of 10 microseconds and more
  textpoke export t --perfetto p --from 1.5 --to 2  half a second of it
  textpoke export t --folded - | speedscope -       standard output is -";

/// Perfetto's web page cannot open more.
const BROWSER_LIMIT: u64 = 2_000_000_000;

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("format").required(true).multiple(true))]
pub struct Args {
    /// What to read
    #[command(flatten)]
    pub source: Source,

    /// Write a Perfetto trace
    #[arg(long, value_name = "PATH", group = "format")]
    pub perfetto: Option<PathBuf>,

    /// Write Chrome's JSON
    #[arg(long, value_name = "PATH", group = "format")]
    pub chrome: Option<PathBuf>,

    /// Write folded stacks
    #[arg(long, value_name = "PATH", group = "format")]
    pub folded: Option<PathBuf>,

    /// Part of the trace
    #[command(flatten)]
    pub span: Span,

    /// Stop at the moment when there are this many entries and exits (not for --folded)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_events: Option<u64>,

    /// Replace existing files
    #[arg(short, long)]
    pub force: bool,
}

/// Runs the verb.
///
/// # Errors
/// The trace cannot be read, or an output not written.
pub fn run(args: &Args) -> Result<()> {
    let trace = Trace::open(&args.source.dir)?;
    trace.warnings.iter().for_each(|w| text::warn(w));
    let filter = trace.filter(args.source.filter(&args.span)?);
    let places = [&args.perfetto, &args.chrome, &args.folded];
    // All outputs are opened before any work: the last must not be refused after minutes.
    let open = |p: &Option<PathBuf>| p.as_ref().map(|p| Output::create(p, args.force)).transpose();
    let mut perfetto_out = open(places[0])?;
    let mut chrome_out = open(places[1])?;
    let mut folded_out = open(places[2])?;

    let mut cut_filter = filter;
    let mut note = None;
    if let Some(max) = args.max_events {
        let bar = progress::bar("measuring", trace.total_records() * 2);
        let found = cut::find(&trace, filter, max, &mut |n| bar.inc(n))?;
        bar.finish_and_clear();
        if let Some(cut) = found {
            cut_filter.to_ns = Some(cut.to_ns);
            let text = format!(
                "cut after {}: {} of {} events (--max-events); choose another part with --from and --to",
                text::duration(cut.to_ns),
                text::count(cut.kept),
                text::count(cut.total)
            );
            text::warn(&text);
            note = Some(text);
        }
    }
    let note = note.as_deref();
    let reading = |what, out: &mut Option<Output>, write: &mut Writing<'_>| {
        let Some(out) = out else { return Ok(()) };
        let bar = progress::bar(what, trace.total_records());
        let done = write(out, &mut |n| bar.inc(n));
        bar.finish_and_clear();
        done
    };
    reading("perfetto", &mut perfetto_out, &mut |out, p| perfetto::write(&trace, cut_filter, note, out, p))?;
    reading("chrome", &mut chrome_out, &mut |out, p| chrome::write(&trace, cut_filter, note, out, p))?;
    reading("folded", &mut folded_out, &mut |out, p| folded::write(&trace, filter, out, p))?;

    for (place, output) in places.into_iter().zip([perfetto_out, chrome_out, folded_out]) {
        let (Some(place), Some(output)) = (place, output) else { continue };
        let size = output.written();
        output.commit()?;
        if place != Path::new("-") {
            eprintln!("wrote {} ({})", place.display(), text::bytes(size));
            if size > BROWSER_LIMIT {
                text::warn(
                    "browsers cannot open this much: use --from and --to, -t or --max-events, \
                     or Perfetto's trace_processor",
                );
            }
        }
    }
    Ok(())
}

type Writing<'a> = dyn FnMut(&mut Output, &mut dyn FnMut(u64)) -> Result<()> + 'a;

/// Writes a Perfetto trace of the first `max_events` of a trace that was just made; an existing file is replaced.
///
/// # Errors
/// As [`run`].
pub fn perfetto(dir: &Path, place: &Path, max_events: u64) -> Result<()> {
    let trace = Trace::open(dir)?;
    let mut filter = trace.filter(Filter::default());
    let mut note = None;
    if let Some(cut) = cut::find(&trace, filter, max_events, &mut |_| {})? {
        filter.to_ns = Some(cut.to_ns);
        let (kept, total) = (text::count(cut.kept), text::count(cut.total));
        note = Some(format!("the first {}: {kept} of {total} events", text::duration(cut.to_ns)));
    }
    let mut out = Output::create(place, true)?;
    perfetto::write(&trace, filter, note.as_deref(), &mut out, &mut |_| {})?;
    out.commit()
}
