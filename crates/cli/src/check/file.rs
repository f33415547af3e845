//! `check FILE`: a protocol that somebody wrote down.

use std::io::Read as _;
use std::path::Path;

use textpoke_model::file::{parse, print as text};
use textpoke_model::{Check, File, IsaId, Options, Profile, Report};

use crate::error::{Doing as _, Error, Result};
use crate::text::Paint;

/// More than any protocol needs, in bytes.
const LONGEST: u64 = 1 << 20;

/// Whether what is no check's name is a file's.
#[must_use]
pub fn is_meant(name: &str) -> bool {
    name == "-" || name.contains('/') || name.ends_with(".tp") || Path::new(name).exists()
}

/// Reads a file for one instruction set or one profile, if that is asked for.
///
/// # Errors
/// Of usage: it cannot be read or understood, or is about something else.
pub fn read(path: &str, isa: Option<IsaId>, profile: Option<Profile>) -> Result<File> {
    let bytes = bytes(path).map_err(|e| Error::Usage(e.to_string()))?;
    let source = if path == "-" { "standard input" } else { path };
    let mut file = parse(&bytes).map_err(|e| Error::Usage(e.render(source, &bytes)))?;
    if let Some(isa) = isa.filter(|&isa| isa != file.isa()) {
        return Err(Error::Usage(format!("{source} is about {}, not about {}", file.isa().name(), isa.name())));
    }
    if let Some(profile) = profile {
        if !file.profiles.contains(&profile) {
            let names: Vec<&str> = file.profiles.iter().map(|p| p.name()).collect();
            return Err(Error::Usage(format!("{source} is about {}, not about {}", names.join(", "), profile.name())));
        }
        file = file.under(profile);
    }
    Ok(file)
}

fn bytes(path: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let from: Result<Box<dyn std::io::Read>> = match path {
        "-" => Ok(Box::new(std::io::stdin())),
        path => std::fs::File::open(path).map(|f| Box::new(f) as _).doing(|| format!("cannot read {path}")),
    };
    from?.take(LONGEST + 1).read_to_end(&mut bytes).doing(|| format!("cannot read {path}"))?;
    if bytes.len() as u64 > LONGEST {
        return Err(Error::new(format!("{path} is longer than {LONGEST} bytes; it is no protocol file")));
    }
    Ok(bytes)
}

/// A built-in check as a file. One that is asked for on several instruction sets is printed for the first.
#[must_use]
pub fn print(check: &Check, options: &[Options]) -> String {
    let first = &options[0];
    let mut file = File::of(check, first);
    if options.len() == 1 {
        file = file.under(first.shape.profile);
    }
    let rest: Vec<&str> = check.isas.iter().filter(|isa| **isa != file.isa()).map(|isa| isa.name()).collect();
    if options.iter().any(|o| o.shape.isa() != file.isa()) {
        eprintln!("textpoke: this is {} on {}; there is --isa {}", check.name, file.isa().name(), rest.join(" or "));
    }
    text(&file)
}

/// A line about what the file expects.
#[must_use]
pub fn expected(file: &File, report: &Report, paint: Paint) -> String {
    match file.expects(report.profile) {
        None => String::new(),
        Some(expect) if expect.agrees(&report.verdict) => format!("  {}\n", paint.green("as expected")),
        Some(expect) => format!("  {}\n", paint.red(&format!("NOT AS EXPECTED, which is {expect}"))),
    }
}
