//! The first lines: instruction set, name, and what they say about the machine.

use std::ops::Range;

use super::source::{Refusal, Source};
use super::test::{Arch, Options};

/// What stands before the program.
#[derive(Debug)]
pub struct Header {
    /// The instruction set.
    pub arch: Arch,
    /// The test's name.
    pub name: String,
    /// The machine.
    pub options: Options,
    /// The initial state, without its braces.
    pub initial: Range<usize>,
    /// Where the program begins.
    pub program: usize,
}

/// Lines that describe where a test came from or how it is run on silicon, and change nothing here.
const SILENT: [&str; 13] = [
    "generator",
    "com",
    "orig",
    "hash",
    "stable",
    "cycle",
    "relax",
    "safe",
    "prefetch",
    "topdump",
    "mapping",
    "info",
    "tthm",
];

/// Reads it.
///
/// # Errors
/// Another instruction set, an unknown line, no initial state.
pub fn read(source: &Source) -> Result<Header, Refusal> {
    let text = source.text();
    let start = text.find(|c: char| !c.is_whitespace()).unwrap_or(text.len());
    let first = text[start..].split(['\n', '{']).next().unwrap_or("").trim_end();
    let (arch, name) = first.split_once(char::is_whitespace).unwrap_or((first, ""));
    let arch = match arch {
        "AArch64" => Arch::AArch64,
        "RISCV" => Arch::Riscv,
        "" => return Err(source.refuse(start, "the file is empty; a test begins with AArch64 or RISCV and its name")),
        other => {
            let what = format!("\"{other}\" is no instruction set that is decided here; AArch64 and RISCV are");
            return Err(source.refuse(start, what));
        }
    };
    let open = text.find('{').ok_or_else(|| source.refuse(text.len(), "there is no initial state { … }"))?;
    let mut options = Options::default();
    let mut at = start + first.len();
    for line in text[at..open].split_inclusive('\n') {
        option(source, at + (line.len() - line.trim_start().len()), line.trim(), arch, &mut options)?;
        at += line.len();
    }
    // Arm lets DIC be set alone; the catalogue's tests of "DIC1-IDC1" say no more than DIC, and mean both.
    options.idc |= options.dic;
    let close = text[open..].find('}').ok_or_else(|| source.refuse(open, "the initial state is not closed"))? + open;
    if let Some(inner) = text[open + 1..close].find('{') {
        return Err(source.refuse(open + 1 + inner, "an array is outside of the surface"));
    }
    Ok(Header { arch, name: name.trim().into(), options, initial: open + 1..close, program: close + 1 })
}

fn option(source: &Source, at: usize, line: &str, arch: Arch, options: &mut Options) -> Result<(), Refusal> {
    if line.is_empty() || line.starts_with('"') {
        return Ok(());
    }
    let Some((key, value)) = line.split_once('=') else {
        return Err(source.refuse(at, format!("\"{line}\" is no line of a header")));
    };
    let key = key.trim().to_ascii_lowercase();
    let words = value.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty());
    match key.as_str() {
        "cachetype" if arch == Arch::AArch64 => {
            for word in words {
                match word.to_ascii_uppercase().as_str() {
                    "DIC" => options.dic = true,
                    "IDC" => options.idc = true,
                    _ => return Err(source.refuse(at, format!("the cache type {word} is not known"))),
                }
            }
        }
        "variant" => {
            for word in words {
                match word.to_ascii_lowercase().as_str() {
                    "self" | "ifetch" => {}
                    "fatal" => options.fatal = true,
                    "exs" => options.exs = true,
                    "eis" => options.eis = true,
                    "eos" => options.eos = true,
                    "dic" => options.dic = true,
                    "idc" => options.idc = true,
                    _ => return Err(source.refuse(at, format!("the variant {word} is outside of the surface"))),
                }
            }
        }
        known if SILENT.contains(&known) => {}
        _ => return Err(source.refuse(at, format!("the header line {key}=… is outside of the surface"))),
    }
    Ok(())
}
