//! `textpoke flame`.

use std::path::{Path, PathBuf};

use crate::args::{Source, Span};
use crate::data::filter::Filter;
use crate::data::trace::Trace;
use crate::error::Result;
use crate::flame::svg::{self, Labels};
use crate::flame::tree::{NO_FUNCTION, Tree};
use crate::output::Output;
use crate::progress;
use crate::report::table;
use crate::text;

/// Shown under `--help`.
pub const EXAMPLES: &str = "\
Examples:
  textpoke flame t -o flame.svg            then open it in a browser
  textpoke flame t --per-thread -o f.svg
  textpoke flame t --from 1 --to 1.5 -o f.svg

In the graph: click to zoom, / or Ctrl-F to search, arrows to move, i to turn it upside down.";

/// Arguments of `flame`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to read
    #[command(flatten)]
    pub source: Source,

    /// File to write; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "flame.svg")]
    pub output: PathBuf,

    /// Replace an existing file
    #[arg(short, long)]
    pub force: bool,

    /// Keep threads apart instead of merging equal stacks
    #[arg(long)]
    pub per_thread: bool,

    /// Part of the trace
    #[command(flatten)]
    pub span: Span,
}

/// Runs the verb.
///
/// # Errors
/// The trace cannot be read, or the output not written.
pub fn run(args: &Args) -> Result<()> {
    let trace = Trace::open(&args.source.dir)?;
    trace.warnings.iter().for_each(|w| text::warn(w));
    let filter = args.source.filter(&args.span)?;
    let out = Output::create(&args.output, args.force)?;
    let size = write(&trace, filter, args.per_thread, out)?;
    if args.output != Path::new("-") {
        eprintln!("wrote {} ({})", args.output.display(), text::bytes(size));
    }
    Ok(())
}

/// Draws a trace that was just made; an existing file is replaced.
///
/// # Errors
/// As [`run`].
pub fn draw(dir: &Path, place: &Path, per_thread: bool) -> Result<()> {
    let trace = Trace::open(dir)?;
    write(&trace, Filter::default(), per_thread, Output::create(place, true)?).map(drop)
}

fn write(trace: &Trace, filter: Filter, per_thread: bool, mut out: Output) -> Result<u64> {
    let filter = trace.filter(filter);
    let threads = &trace.meta.threads;
    let bar = progress::bar("drawing", trace.total_records());
    let mut tree = Tree::default();
    let mut groups = Vec::new();
    if per_thread {
        for thread in threads {
            tree.add_group();
            let name = if thread.name.is_empty() { "thread" } else { &thread.name };
            groups.push(format!("{name} (tid {})", thread.tid));
        }
    }
    for index in 0..threads.len() {
        let base = if per_thread { index as u32 + 1 } else { 0 };
        trace.walk(index, filter, &mut tree.adder(base), &mut |n| bar.inc(n))?;
    }
    tree.finish();
    bar.finish_and_clear();

    let svg = svg::render(trace, &tree, &labels(trace, &tree, filter, groups));
    out.put(svg.as_bytes())?;
    let size = out.written();
    out.commit()?;
    Ok(size)
}

fn labels(trace: &Trace, tree: &Tree, filter: Filter, groups: Vec<String>) -> Labels {
    let meta = &trace.meta;
    let threads = match meta.threads.len() {
        1 => "1 thread".to_string(),
        n => format!("{n} threads"),
    };
    // Groups and the root hold sums; counting them too would count twice.
    let functions = tree.nodes.iter().filter(|n| n.function != NO_FUNCTION);
    let calls: u64 = functions.map(|n| n.calls).sum();
    let mut parts = vec![
        shown_command(&meta.command),
        format!("{} traced", text::duration(trace.duration_ns())),
        threads.clone(),
        format!("{} calls", text::count(calls)),
    ];
    let window = |at: Option<u64>, word: &str| at.map(|ns| format!("{word} {}", text::duration(ns)));
    parts.extend(window(filter.from_ns, "from"));
    parts.extend(window(filter.to_ns, "to"));
    parts.extend(window(filter.min_ns, "calls of at least"));
    if meta.lost > 0 {
        parts.push(format!("{} RECORDS LOST", text::count(meta.lost)));
    }
    parts.retain(|part| !part.is_empty());
    Labels {
        title: format!("{} — where time goes", table::program(trace)),
        subtitle: parts.join("  ·  "),
        root: format!("{} in traced calls, {threads}", text::duration(tree.nodes[0].total_ns)),
        groups,
    }
}

fn shown_command(command: &[String]) -> String {
    let line = command.join(" ");
    match line.char_indices().nth(70) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}
