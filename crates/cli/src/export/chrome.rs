//! Chrome's JSON trace format: for small traces and for viewers that read nothing else.

use std::fmt::Write as _;

use crate::data::event::{Event, How, Sink};
use crate::data::filter::Filter;
use crate::data::trace::Trace;
use crate::error::Result;
use crate::names;
use crate::output::Output;
use crate::report::table;

/// Writes the trace; `note` is kept under `otherData`. `progress` is told how many records were
/// read.
///
/// # Errors
/// Reading the trace or writing the output.
pub fn write(
    trace: &Trace,
    filter: Filter,
    note: Option<&str>,
    out: &mut Output,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let meta = &trace.meta;
    let other = serde_json::json!({
        "producer": concat!("textpoke ", env!("CARGO_PKG_VERSION")),
        "command": meta.command,
        "lost": meta.lost,
        "note": note,
    });
    let mut line = format!("{{\"displayTimeUnit\":\"ns\",\"otherData\":{other},\"traceEvents\":[\n");
    metadata(&mut line, "process_name", meta.pid, meta.pid, table::program(trace));
    out.put(line.as_bytes())?;
    let mut json_names: Vec<Option<String>> = vec![None; meta.functions.len()];
    for (index, thread) in meta.threads.iter().enumerate() {
        line.clear();
        line.push_str(",\n");
        metadata(&mut line, "thread_name", meta.pid, thread.tid, &thread.name);
        out.put(line.as_bytes())?;
        let mut writer = Writer { trace, out, names: &mut json_names, tid: thread.tid, line: String::new() };
        trace.walk(index, filter, &mut writer, progress)?;
    }
    out.put(b"\n]}\n")
}

fn metadata(line: &mut String, kind: &str, pid: u32, tid: u32, name: &str) {
    let value = serde_json::json!({
        "ph": "M", "name": kind, "pid": pid, "tid": tid, "args": { "name": name },
    });
    // Writing to a String cannot fail.
    let _ = write!(line, "{value}");
}

struct Writer<'a> {
    trace: &'a Trace,
    out: &'a mut Output,
    /// Names and files as JSON members, made when first needed.
    names: &'a mut Vec<Option<String>>,
    tid: u32,
    line: String,
}

impl Sink for Writer<'_> {
    fn event(&mut self, event: Event) -> Result<()> {
        let pid = self.trace.meta.pid;
        let tid = self.tid;
        // Microseconds with three decimals, from integers: a float would lose nanoseconds.
        let time = |ns: u64| (ns / 1000, ns % 1000);
        self.line.clear();
        let _ = match event {
            Event::Enter { function, ns } => {
                let function = function as usize;
                let meta = &self.trace.meta.functions[function];
                let members = self.names[function].get_or_insert_with(|| {
                    let quoted = |text: &str| serde_json::Value::from(text).to_string();
                    format!(
                        "\"name\":{},\"cat\":{}",
                        quoted(&names::demangle(&meta.name)),
                        quoted(names::base_name(&meta.file))
                    )
                });
                let (us, ns) = time(ns);
                write!(self.line, ",\n{{\"ph\":\"B\",{members},\"pid\":{pid},\"tid\":{tid},\"ts\":{us}.{ns:03}}}")
            }
            Event::Exit { ns, how, .. } => {
                let (us, ns) = time(ns);
                let remark = match how {
                    How::Exact => "",
                    How::Inferred => ",\"args\":{\"exit\":\"inferred\"}",
                    How::Unfinished => ",\"args\":{\"exit\":\"unfinished\"}",
                    How::Counted => ",\"args\":{\"exit\":\"not traced\"}",
                };
                write!(self.line, ",\n{{\"ph\":\"E\",\"pid\":{pid},\"tid\":{tid},\"ts\":{us}.{ns:03}{remark}}}")
            }
            Event::Lost { count, ns } => {
                let (us, ns) = time(ns);
                write!(
                    self.line,
                    ",\n{{\"ph\":\"i\",\"s\":\"t\",\"name\":\"lost {count} records\",\"pid\":{pid},\
                     \"tid\":{tid},\"ts\":{us}.{ns:03}}}"
                )
            }
        };
        self.out.put(self.line.as_bytes())
    }
}
