//! One check, for people.

use std::fmt::Write as _;

use textpoke_core::Direction;
use textpoke_model::machine::Machine;
use textpoke_model::property::{Sometimes, Violation};
use textpoke_model::scenario::{Place, Scenario};
use textpoke_model::trace::hex;
use textpoke_model::{IsaId, Profile, Report, Verdict};

use super::cells::{hang, wrap};
use super::{interleaving, program};
use crate::text::{self, Paint};

/// Where the facts begin.
const INDENT: usize = 12;
/// Where it is said what went wrong.
const VIOLATED: usize = 6;

/// The report on a scenario, which was explored within so many bytes of memory.
#[must_use]
pub fn render(scenario: &Scenario, memory: usize, report: &Report, width: usize, paint: Paint) -> String {
    let mut out = program::heading(&report.name, &report.title, width, paint);
    out += &facts(scenario, &report.with, width, paint);
    let _ = writeln!(out, "\n{}", headline(report, memory, width, paint));
    if let Some(trace) = &report.trace {
        out += &interleaving::render(trace, report.profile.isa(), width, paint);
        out += &violated(trace.violation, width, paint);
        out.push('\n');
    }
    if matches!(report.verdict, Verdict::Safe { .. } | Verdict::Vacuous { .. }) {
        for (i, assumption) in report.assumptions.iter().enumerate() {
            fact(&mut out, if i == 0 { "rests on" } else { "" }, assumption, width);
        }
        let seen: Vec<&str> = report.happened.iter().map(|&s| words(s)).collect();
        fact(&mut out, "seen", &seen.join(", "), width);
    }
    out + &figures(report, width, paint)
}

/// What stands below an interleaving: what has gone wrong.
#[must_use]
pub fn violated(violation: Violation, width: usize, paint: Paint) -> String {
    let number = violation.number().map(|n| format!("{n}, ")).unwrap_or_default();
    let lines = wrap(&(number + violation.sentence()), width.saturating_sub(VIOLATED));
    let line = |(i, line): (usize, &String)| {
        let arrow = if i == 0 { paint.red("=>") } else { "  ".into() };
        format!("{:>3}{arrow} {}\n", "", paint.red(line))
    };
    lines.iter().enumerate().map(line).collect()
}

/// What a scenario is about: rules, processors, sites.
#[must_use]
pub fn facts(scenario: &Scenario, with: &[&str], width: usize, paint: Paint) -> String {
    let mut out = String::from("\n");
    let profile = scenario.world.profile;
    fact(&mut out, "rules", &format!("{}: {}", profile.name(), rules(profile)), width);
    let cpus = scenario.cpus;
    let others = cpus.saturating_sub(1);
    let others = if others == 1 { "one that executes".into() } else { format!("{others} that execute") };
    fact(&mut out, "CPUs", &format!("{cpus}: the patcher, and {others} the text"), width);
    let lane = Machine::new(scenario).map_or(1, |machine| machine.text.width());
    let sites = scenario.sets.first().map_or(0, Vec::len);
    for i in 0..sites {
        let versions: Vec<&Place> = scenario.sets.iter().map(|places| &places[i]).collect();
        let label = if sites == 1 { "site".into() } else { format!("site {}", interleaving::name(i)) };
        let boundary = match boundary(versions[0], profile.isa(), lane) {
            Some((_, unit)) if i == 0 => paint.dim(&format!("    (| is a boundary of {unit} bytes)")),
            _ => String::new(),
        };
        let _ = writeln!(out, "{:<INDENT$}{}{boundary}", format!("  {label}"), forms(&versions, profile.isa(), lane));
    }
    if !with.is_empty() {
        fact(&mut out, "with", &with.join("; "), width);
    }
    out
}

fn fact(out: &mut String, label: &str, value: &str, width: usize) {
    out.push_str(&hang(&format!("  {label}"), INDENT, value, width));
}

fn headline(report: &Report, memory: usize, width: usize, paint: Paint) -> String {
    const NONE: &str = "NO VERDICT";
    let open = |text: &str| said(NONE, &paint.yellow(NONE), text, width);
    match &report.verdict {
        Verdict::Safe { live } => {
            let ends = if *live {
                "from every state the patcher can finish"
            } else {
                "too many states to ask whether the patcher can always finish"
            };
            said("SAFE", &paint.green("SAFE"), &format!("in every interleaving; {ends}"), width)
        }
        Verdict::Unsafe { length, .. } => {
            let text = format!("in {length} transitions; there is no shorter way:");
            said("UNSAFE", &paint.red("UNSAFE"), &text, width)
        }
        Verdict::Vacuous { missing } => {
            let missing: Vec<&str> = missing.iter().map(|&s| words(s)).collect();
            open(&format!("nothing goes wrong, but never: {}", missing.join(", ")))
        }
        Verdict::OutOfMemory => {
            let memory = text::bytes(memory as u64);
            open(&format!("within {memory}: the states do not fit; nothing went wrong in those explored"))
        }
        Verdict::TooBig => open("the sites do not fit: 3 at most, of 16 bytes together, or of 6 words on aarch64"),
    }
}

/// A verdict and more about it; `painted` is its word with a colour.
#[must_use]
pub fn said(word: &str, painted: &str, text: &str, width: usize) -> String {
    let lines = wrap(&format!("{word} {text}"), width.saturating_sub(2));
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    lines.replacen(word, painted, 1)
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
        Profile::Intel => "Intel's manual; a CPU may fetch any byte that stood there since it last synchronised",
        Profile::Amd => "AMD's manual; aligned 8 bytes are fetched at once, in order, some instructions ahead",
        Profile::Arm => {
            "Arm's manual, CTR_EL0.IDC = DIC = 0; a CPU may execute any instruction that stood there until caches were \
             cleaned and invalidated and it synchronised; few instructions may change live at all"
        }
        Profile::ArmIdc => {
            "Arm's manual, CTR_EL0.IDC = 1, DIC = 0; a CPU may execute any instruction that stood there until caches \
             were invalidated and it synchronised; few instructions may change live at all"
        }
        Profile::ArmDic => {
            "Arm's manual, CTR_EL0.IDC = DIC = 1; a CPU may execute any instruction that stood there until it \
             synchronised; few instructions may change live at all"
        }
        Profile::Ziccif => "RISC-V's Ziccif; aligned 4 bytes are fetched at once, old or new, until FENCE.I",
        Profile::Ziccid => "RISC-V's Ziccid; aligned 4 bytes are fetched at once, in order, some instructions ahead",
    }
}

/// `55, 48 89 | e5, 53  ->  e9 11 22 | 33 44`: instructions, and where a boundary lies that fetch does not see across.
fn forms(versions: &[&Place], isa: IsaId, lane: usize) -> String {
    let form = |place: &Place, dir: Direction| {
        let mut out = String::new();
        let (bytes, begins) = (place.site.before(dir), place.begins(dir));
        for (i, unit) in bytes.chunks(lane).enumerate().map(|(i, unit)| (i * lane, unit)) {
            if i > 0 {
                out.push_str(if begins >> i & 1 == 1 { ", " } else { " " });
            }
            if i > 0 && boundary(place, isa, lane).is_some_and(|(at, _)| at == i) {
                out.push_str("| ");
            }
            out += &hex(unit, lane);
        }
        out
    };
    let first = form(versions[0], Direction::Install);
    let others = versions.iter().map(|place| form(place, Direction::Remove));
    std::iter::once(first).chain(others).collect::<Vec<_>>().join("  ->  ")
}

/// The offset inside a site at which a boundary lies that matters, and of how many bytes it is one.
fn boundary(place: &Place, isa: IsaId, lane: usize) -> Option<(usize, u64)> {
    let unit = match isa {
        IsaId::X86 => 8,
        // Instructions of one word lie across none.
        IsaId::Arm | IsaId::Riscv if lane == 4 => return None,
        IsaId::Arm | IsaId::Riscv => 4,
    };
    let first = (unit - place.site.addr % unit) as usize;
    (first < place.site.len()).then_some((first, unit))
}

fn words(what: Sometimes) -> &'static str {
    match what {
        Sometimes::OldRan => "old code ran",
        Sometimes::NewRan => "new code ran",
        Sometimes::ThenRan => "code of the second change ran",
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
        Sometimes::NmiCame => "an NMI came",
        Sometimes::NmiHelped => "an NMI wrote the bytes first",
        Sometimes::NmiRan => "an NMI executed a site",
        Sometimes::NmiMeanwhile => "an NMI ran on another CPU during a change",
        Sometimes::NmiOnPatcher => "an NMI came on the patcher's CPU during a change",
        Sometimes::NmiNested => "an NMI interrupted another",
    }
}
