//! Writes a copy of a file in which every site is a jump to the copy of its instructions, as a test
//! that can be run: the rewritten program must do what the original does.
//!
//! `cargo run --release --example rewrite -- FILE OUTPUT [COUNTERS]`; COUNTERS gets the address of the
//! entry and exit counters and, in their order, what they count.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::path::Path;

use textpoke_analyze::Image;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, file, output, rest @ ..] = args.as_slice() else { return Err("usage: rewrite FILE OUTPUT".into()) };
    let bytes = std::fs::read(file)?;
    let image = Image::parse(&bytes)?;
    let functions = image.functions();
    let rewritten = support::rewrite(&bytes, &image, &functions, |_| true);
    support::install(Path::new(output), &rewritten.bytes);
    println!("{} entries and {} exits rewritten", rewritten.entries, rewritten.exits);
    if let Some(list) = rest.first() {
        let mut text = format!("{:#x}\n", rewritten.counters);
        for f in &functions {
            writeln!(text, "{} {:?} {}", f.name, f.exit, f.blocked_exits.len())?;
        }
        std::fs::write(list, text)?;
    }
    Ok(())
}
