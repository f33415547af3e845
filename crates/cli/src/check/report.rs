//! One check, for people.

use std::fmt::Write as _;

use textpoke_core::Site;
use textpoke_model::property::Sometimes;
use textpoke_model::scenario::Place;
use textpoke_model::{Check, Options, Profile, Report, Verdict};

use super::cells::{hang, wrap};
use super::{interleaving, program};
use crate::text::{self, Paint};

/// Where the facts begin.
const INDENT: usize = 12;

/// The report.
#[must_use]
pub fn render(check: &Check, options: &Options, report: &Report, width: usize, paint: Paint) -> String {
    let mut out = match report.name.contains("--without") {
        true => paint.bold(&report.title) + "\n",
        false => program::heading(&report.name, &report.title, width, paint),
    };
    out.push('\n');
    let fact = |out: &mut String, label: &str, value: &str| {
        out.push_str(&hang(&format!("  {label}"), INDENT, value, width));
    };
    fact(&mut out, "rules", rules(report.profile));
    let others = report.cpus.saturating_sub(1);
    let others = if others == 1 { "one that executes".into() } else { format!("{others} that execute") };
    fact(&mut out, "CPUs", &format!("{}: the patcher, and {others} the text", report.cpus));
    let places = options.scenario(check).places;
    for (i, place) in places.iter().enumerate() {
        let label = match places.len() {
            1 => "site".into(),
            _ => format!("site {}", interleaving::name(i)),
        };
        let boundary = match cut(&place.site) {
            Some(_) if i == 0 => paint.dim("    (| is an 8-byte boundary)"),
            _ => String::new(),
        };
        let _ = writeln!(out, "{:<INDENT$}{}{boundary}", format!("  {label}"), forms(place));
    }
    if !report.with.is_empty() {
        fact(&mut out, "with", &report.with.join("; "));
    }
    let _ = writeln!(out, "\n  {}\n", headline(report, options.limits.memory, paint));
    if let Some(trace) = &report.trace {
        out.push_str(&interleaving::render(trace, width, paint));
        let number = trace.violation.number().map(|n| format!("{n}, ")).unwrap_or_default();
        let _ = writeln!(out, "   {} {}\n", paint.red("=>"), paint.red(&(number + trace.violation.sentence())));
    }
    if matches!(report.verdict, Verdict::Safe { .. } | Verdict::Vacuous { .. }) {
        for (i, assumption) in report.assumptions.iter().enumerate() {
            fact(&mut out, if i == 0 { "rests on" } else { "" }, assumption);
        }
        let seen: Vec<&str> = report.happened.iter().map(|&s| words(s)).collect();
        fact(&mut out, "seen", &seen.join(", "));
    }
    out + &figures(report, width, paint)
}

fn headline(report: &Report, memory: usize, paint: Paint) -> String {
    match &report.verdict {
        Verdict::Safe { live } => {
            let ends = if *live {
                "from every state the patcher can finish"
            } else {
                "too many states to ask whether the patcher can always finish"
            };
            format!("{} in every interleaving; {ends}", paint.green("SAFE"))
        }
        Verdict::Unsafe { length, .. } => {
            format!("{} in {length} transitions; there is no shorter way:", paint.red("UNSAFE"))
        }
        Verdict::Vacuous { missing } => {
            let missing: Vec<&str> = missing.iter().map(|&s| words(s)).collect();
            format!("{} nothing goes wrong, but never: {}", paint.yellow("NO VERDICT"), missing.join(", "))
        }
        Verdict::OutOfMemory => format!(
            "{} within {}: the states do not fit; nothing went wrong in those explored",
            paint.yellow("NO VERDICT"),
            text::bytes(memory as u64)
        ),
        Verdict::TooBig => format!("{} the checker holds 3 sites and 16 bytes at most", paint.yellow("NO VERDICT")),
    }
}

fn figures(report: &Report, width: usize, paint: Paint) -> String {
    let mut text = format!(
        "{} states, {} transitions, {} deep, {:.2} s",
        text::count(report.states as u64),
        text::count(report.transitions),
        report.depth,
        report.seconds
    );
    if report.seconds > 0.05 {
        let _ = write!(text, ", {:.1} million states/s", report.states as f64 / report.seconds / 1e6);
    }
    let lines = wrap(&text, width.saturating_sub(2));
    lines.iter().map(|line| format!("  {}\n", paint.dim(line))).collect()
}

/// What a processor may fetch.
fn rules(profile: Profile) -> &'static str {
    match profile {
        Profile::Intel => "Intel's manual: a CPU may fetch any byte that stood there since it last synchronised",
        Profile::Amd => "AMD's manual: aligned 8 bytes are fetched at once, in order, some instructions ahead",
    }
}

/// `55, 48 89 | e5, 53 -> e9 11 22 | 33 44`: instructions, and where an 8-byte boundary lies.
fn forms(place: &Place) -> String {
    let site = &place.site;
    let form = |bytes: &[u8], begins: u8| {
        let mut out = String::new();
        for (i, byte) in bytes[..site.len()].iter().enumerate() {
            if i > 0 {
                out.push_str(if begins >> i & 1 == 1 { ", " } else { " " });
            }
            if i > 0 && cut(site) == Some(i) {
                out.push_str("| ");
            }
            let _ = write!(out, "{byte:02x}");
        }
        out
    };
    format!("{}  ->  {}", form(&site.old, place.old_begins), form(&site.new, place.new_begins))
}

/// The offset at which an 8-byte boundary lies inside a site.
fn cut(site: &Site) -> Option<usize> {
    let first = (8 - site.addr % 8) as usize;
    (first < site.len()).then_some(first)
}

fn words(what: Sometimes) -> &'static str {
    match what {
        Sometimes::OldRan => "old code ran",
        Sometimes::NewRan => "new code ran",
        Sometimes::HopRan => "somebody passed by over the short jump",
        Sometimes::HeadTrap => "a head's trap was taken",
        Sometimes::InnerTrap => "an inner boundary's trap was taken",
        Sometimes::ActedNew => "a trap acted as the new form",
        Sometimes::ActedOld => "a trap acted as the old form",
        Sometimes::Late => "a late thread went on in the copy",
        Sometimes::Again => "a trap that had gone was executed again",
        Sometimes::Caught => "a signal caught a thread inside",
        Sometimes::Performed => "a batch was performed",
        Sometimes::Undone => "a batch was undone",
        Sometimes::Broken => "a batch could not even be undone",
        Sometimes::Repaired => "a killed patcher's text was repaired",
        Sometimes::OwnTrap => "the program took a trap of its own",
    }
}
