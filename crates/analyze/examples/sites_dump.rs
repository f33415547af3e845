//! Prints what is decided for each function of a file, and how much of it can be patched.
//!
//! `cargo run --release --example sites_dump -- FILE [--all]`

use std::collections::BTreeMap;
use std::time::Instant;

use textpoke_analyze::{ExitKind, Image, Kind};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let file = args.next().ok_or("usage: sites_dump FILE [--all]")?;
    let all = args.next().is_some();
    let bytes = std::fs::read(&file)?;
    let image = Image::parse(&bytes)?;
    let started = Instant::now();
    let functions = image.functions();
    let took = started.elapsed();
    if all {
        for f in &functions {
            println!("{:#x} {} size {} {:?} {:?}", f.vaddr, f.name, f.size, f.source, f.kind);
            match &f.entry {
                Ok(site) => println!("  entry {site:?}"),
                Err(reason) => println!("  entry refused: {reason}"),
            }
            for exit in &f.exits {
                println!("  exit {:?} {:?}", exit.event, exit.site);
            }
            for (at, reason) in &f.blocked_exits {
                println!("  exit at {at:#x} refused: {reason}");
            }
            println!("  exits {:?}", f.exit);
        }
    }
    let real: Vec<_> = functions.iter().filter(|f| f.kind == Kind::Function).collect();
    let entries = real.iter().filter(|f| f.entry.is_ok()).count();
    let exits = real.iter().filter(|f| f.entry.is_ok() && f.exit == ExitKind::Patched).count();
    let only = real.iter().filter(|f| f.exit == ExitKind::EntryOnly).count();
    let in_entry = real.iter().filter(|f| f.exit_in_entry().is_some()).count();
    let percent = |n: usize, of: usize| 100.0 * n as f64 / of.max(1) as f64;
    println!(
        "{file}: {} functions, {} cold parts; entries {entries} ({:.1} %); of these all exits {exits} ({:.1} %), exit in entry {in_entry}; entry only {only}; {took:.2?}",
        real.len(),
        functions.len() - real.len(),
        percent(entries, real.len()),
        percent(exits, entries),
    );
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut exit_reasons: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for f in &real {
        if let Err(reason) = f.entry {
            *reasons.entry(reason.to_string()).or_default() += 1;
        } else {
            let mut seen = Vec::new();
            for (_, reason) in &f.blocked_exits {
                let row = exit_reasons.entry(reason.to_string()).or_default();
                row.0 += 1;
                row.1 += usize::from(!seen.contains(reason));
                seen.push(*reason);
            }
        }
    }
    for (reason, count) in reasons {
        println!("  entry {count:6} {reason}");
    }
    for (reason, (count, functions)) in exit_reasons {
        println!("  exit  {count:6} in {functions} functions: {reason}");
    }
    Ok(())
}
