//! Folded stacks: `a;b;c NANOSECONDS` per stack, as flame graph tools and speedscope read them.

use crate::data::filter::Filter;
use crate::data::trace::Trace;
use crate::error::Result;
use crate::flame::tree::{NO_FUNCTION, Tree};
use crate::names;
use crate::output::Output;

/// Writes all threads together; the number is the time in the innermost function itself.
/// `progress` is told how many records were read.
///
/// # Errors
/// Reading the trace or writing the output.
pub fn write(trace: &Trace, filter: Filter, out: &mut Output, progress: &mut dyn FnMut(u64)) -> Result<()> {
    let mut tree = Tree::default();
    for index in 0..trace.meta.threads.len() {
        trace.walk(index, filter, &mut tree.adder(0), progress)?;
    }
    // A semicolon separates frames; the last space separates the number.
    let name = |f: &crate::data::meta::Function| names::demangle(&f.name).replace(';', ",");
    let frames: Vec<String> = trace.meta.functions.iter().map(name).collect();
    let mut stack = Vec::new();
    for (at, node) in tree.nodes.iter().enumerate().skip(1) {
        if node.self_ns == 0 {
            continue;
        }
        stack.clear();
        let mut up = at;
        while tree.nodes[up].function != NO_FUNCTION {
            stack.push(frames[tree.nodes[up].function as usize].as_str());
            up = tree.nodes[up].parent as usize;
        }
        stack.reverse();
        out.put(format!("{} {}\n", stack.join(";"), node.self_ns).as_bytes())?;
    }
    Ok(())
}
