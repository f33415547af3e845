//! `textpoke record`: arguments, and what they mean together.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::text::{parse_seconds, parse_size, parse_time};

/// Where a trace goes, and where it is read from, when nothing is said.
pub const DEFAULT_OUTPUT: &str = "trace.textpoke";

/// Shown under `--help`.
pub const EXAMPLES: &str = "\
Examples:
  textpoke record -p 1234 --for 3                   everything in process 1234, for 3 seconds
  textpoke record -F 'sqlite3*' -F 'btree*' -p 1234 until Ctrl-C or the program ends
  textpoke record -N '*alloc*' -- ./server --port 80
  textpoke record --module 'libpython*' -F 'PyObject_*' -- python3 script.py

GLOB: * ? [a-z] {a,b}, matched against the whole name, mangled or demangled.";

/// Arguments of `record`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory to write the trace to
    #[arg(short, long, value_name = "DIR", default_value = DEFAULT_OUTPUT)]
    pub output: PathBuf,

    /// Replace an earlier trace at the output
    #[arg(long)]
    pub force: bool,

    /// Trace functions whose name matches (repeatable; all when not given)
    #[arg(short = 'F', long = "filter", value_name = "GLOB")]
    pub filter: Vec<String>,

    /// Do not trace functions whose name matches (repeatable; wins over -F)
    #[arg(short = 'N', long = "notrace", value_name = "GLOB")]
    pub notrace: Vec<String>,

    /// Files whose functions are traced, by file name, e.g. 'libsqlite3*' (repeatable; the
    /// program and its libraries but for the C runtime when not given)
    #[arg(long, value_name = "GLOB")]
    pub module: Vec<String>,

    /// Trace the C runtime too (libc, the dynamic loader and their companions)
    #[arg(long)]
    pub runtime: bool,

    /// Show calls down to this depth only (kept in the trace as the default for report and flame)
    #[arg(short = 'D', long, value_name = "DEPTH", value_parser = clap::value_parser!(u32).range(1..))]
    pub depth: Option<u32>,

    /// Show only calls of at least this duration, e.g. 5us (kept in the trace as the default)
    #[arg(short = 't', long = "time", value_name = "TIME", value_parser = parse_time)]
    pub time: Option<u64>,

    /// Ring buffer of each thread, a power of two, e.g. 4M (64K to 1G); bigger loses less
    #[arg(long, value_name = "SIZE", default_value = "4M", value_parser = parse_buffer)]
    pub buffer: u64,

    /// Process to attach to
    #[arg(short, long, value_name = "PID", conflicts_with = "command", required_unless_present = "command",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pub pid: Option<u32>,

    /// Detach after this many seconds
    #[arg(long = "for", value_name = "SECONDS", value_parser = parse_seconds)]
    pub duration: Option<u64>,

    /// Program to start and trace, with its arguments
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<String>,
}

fn parse_buffer(text: &str) -> std::result::Result<u64, String> {
    let size = parse_size(text)?;
    if size.is_power_of_two() && (64 << 10..=1 << 30).contains(&size) {
        Ok(size)
    } else {
        Err("use a power of two from 64K to 1G, as in 4M".into())
    }
}

/// Decides which files and functions are wanted, from `-F`, `-N`, `--module` and `--runtime`.
#[derive(Debug)]
pub struct Wanted {
    filter: Option<globset::GlobSet>,
    notrace: globset::GlobSet,
    module: Option<globset::GlobSet>,
    runtime: bool,
}

impl Wanted {
    /// From the patterns of the command line.
    ///
    /// # Errors
    /// A pattern is not a glob; the message names it.
    pub fn new(args: &Args) -> Result<Self> {
        Self::from_patterns(&args.filter, &args.notrace, &args.module, args.runtime)
    }

    /// From patterns: wanted and unwanted functions, wanted files, and whether the C runtime is
    /// wanted too.
    ///
    /// # Errors
    /// A pattern is not a glob; the message names it.
    pub fn from_patterns(filter: &[String], notrace: &[String], module: &[String], runtime: bool) -> Result<Self> {
        let some = |patterns: &[String], flag| (!patterns.is_empty()).then(|| globs(patterns, flag)).transpose();
        Ok(Self {
            filter: some(filter, "-F")?,
            notrace: globs(notrace, "-N")?,
            module: some(module, "--module")?,
            runtime,
        })
    }

    /// Whether functions of the file at `path` may be traced. A file named by `--module` is
    /// wanted even if it belongs to the C runtime.
    #[must_use]
    pub fn file(&self, path: &Path) -> bool {
        let Some(name) = path.file_name() else { return false };
        match &self.module {
            Some(module) => module.is_match(name) || module.is_match(path),
            None => self.runtime || !textpoke_analyze::is_runtime(&name.to_string_lossy()),
        }
    }

    /// Whether the function with this mangled name is wanted. Patterns are matched against the
    /// mangled and the demangled name.
    #[must_use]
    pub fn function(&self, mangled: &str) -> bool {
        if self.filter.is_none() && self.notrace.is_empty() {
            return true;
        }
        let readable = crate::names::demangle(mangled);
        let matches = |set: &globset::GlobSet| set.is_match(mangled) || set.is_match(&readable);
        self.filter.as_ref().is_none_or(matches) && !matches(&self.notrace)
    }
}

/// Compiles globs in which `*` matches any character, `/` and `::` included.
///
/// # Errors
/// A pattern is not a glob; the message names `flag` and the pattern.
pub fn globs(patterns: &[String], flag: &str) -> Result<globset::GlobSet> {
    let mut set = globset::GlobSetBuilder::new();
    for pattern in patterns {
        let glob = globset::GlobBuilder::new(pattern)
            .literal_separator(false)
            .build()
            .map_err(|e| Error::Usage(format!("{flag} {pattern:?} is not a glob: {}", e.kind())))?;
        set.add(glob);
    }
    set.build().map_err(|e| Error::Usage(format!("{flag}: {e}")))
}

/// Runs the verb.
///
/// # Errors
/// Attaching, tracing or writing failed.
pub fn run(args: &Args) -> Result<u8> {
    crate::live::command::record(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(filter: &[&str], notrace: &[&str], module: &[&str], runtime: bool) -> Wanted {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_string()).collect::<Vec<_>>();
        Wanted::from_patterns(&own(filter), &own(notrace), &own(module), runtime).unwrap()
    }

    #[test]
    fn everything_but_the_c_runtime_by_default() {
        let all = wanted(&[], &[], &[], false);
        assert!(all.function("anything") && all.file(Path::new("/usr/bin/python3")));
        assert!(all.file(Path::new("/usr/lib/libsqlite3.so.0")));
        for runtime in ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"] {
            assert!(!all.file(Path::new(runtime)), "{runtime}");
            assert!(wanted(&[], &[], &[], true).file(Path::new(runtime)), "{runtime}");
            assert!(wanted(&[], &[], &["li*", "ld*"], false).file(Path::new(runtime)), "{runtime}");
        }
    }

    #[test]
    fn notrace_wins_and_demangled_names_match() {
        let some = wanted(&["core::fmt::*", "sqlite3*"], &["*step"], &[], false);
        assert!(some.function("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE"));
        assert!(some.function("sqlite3_open") && !some.function("sqlite3_step"));
        assert!(!some.function("main"));
    }

    #[test]
    fn a_bad_pattern_is_a_usage_error_that_names_it() {
        let error = globs(&["[a".into()], "-F").unwrap_err();
        assert!(matches!(&error, Error::Usage(text) if text.contains("[a")), "{error}");
    }
}
