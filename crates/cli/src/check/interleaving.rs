//! A counterexample: a line per transition, a column per processor, and the bytes wherever they change.

use std::fmt::Write as _;

use textpoke_model::property::Violation;
use textpoke_model::trace::{Line, Trace, hex};
use textpoke_model::{IsaId, Walk};

use super::cells::{chars, pad, squeeze, wrap};
use crate::text::Paint;

/// In front of the columns: the number of the transition.
const NUMBER: usize = 6;
/// Between two columns.
const GAP: usize = 2;
/// The narrowest that a column becomes.
const LEAST: usize = 12;

/// Transitions to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// The bytes of each site at the start.
    pub start: &'a [String],
    /// The transitions.
    pub lines: &'a [Line],
    /// Whether the last of them is what goes wrong.
    pub wrong: bool,
}

impl<'a> From<&'a Trace> for Way<'a> {
    fn from(trace: &'a Trace) -> Self {
        // A deadlock is where nothing leads on.
        Self { start: &trace.start, lines: &trace.lines, wrong: trace.violation != Violation::Deadlock }
    }
}

impl<'a> From<&'a Walk> for Way<'a> {
    fn from(walk: &'a Walk) -> Self {
        use textpoke_model::Ending::Violated;
        let wrong = matches!(walk.ending, Violated(violation) if violation != Violation::Deadlock);
        Self { start: &walk.start, lines: &walk.lines, wrong }
    }
}

/// How bytes are coloured.
#[derive(Clone, Copy)]
struct Style<'a> {
    /// The trap instruction.
    trap: &'a str,
    /// Whether there are several sites, so that each has a name.
    named: bool,
    paint: Paint,
}

/// The interleaving, in at most `width` columns where words allow it.
#[must_use]
pub fn render<'a>(way: impl Into<Way<'a>>, isa: IsaId, width: usize, paint: Paint) -> String {
    let trace: Way<'_> = way.into();
    if trace.lines.is_empty() {
        return format!("{}at the very start\n", " ".repeat(NUMBER));
    }
    let cpus = trace.lines.iter().map(|line| line.cpu).max().unwrap_or(0);
    let names: Vec<String> =
        (0..=cpus).map(|cpu| if cpu == 0 { "patcher".into() } else { format!("CPU {cpu}") }).collect();
    let mut widths: Vec<usize> = names.iter().map(|name| chars(name)).collect();
    for line in trace.lines {
        let column = &mut widths[usize::from(line.cpu)];
        *column = (*column).max(chars(&line.what));
    }
    let trap = hex(isa.trap(), isa.trap().len());
    let named = trace.start.len() > 1;
    let bytewise = Style { trap: &trap, named, paint };
    let bytes = trace.start.iter().map(|text| chars(text)).max().unwrap_or(0) + if named { 3 } else { 0 };
    let taken = NUMBER + GAP * widths.len() + bytes;
    squeeze(&mut widths, LEAST, width.saturating_sub(taken));

    let mut out = String::new();
    let whole: Vec<(usize, &str)> = trace.start.iter().map(String::as_str).enumerate().collect();
    let start: Vec<String> = whole.iter().map(|&(site, text)| label(site, named) + &plain(text, paint)).collect();
    let heads: Vec<Vec<String>> = names.into_iter().map(|name| vec![name]).collect();
    row(&mut out, "", &heads, &widths, &start, &|text| paint.bold(text));
    let mut before = trace.start;
    let last = trace.lines.len() - 1;
    for (i, line) in trace.lines.iter().enumerate() {
        let mut cells = vec![Vec::new(); widths.len()];
        cells[usize::from(line.cpu)] = wrap(&line.what, widths[usize::from(line.cpu)]);
        let wrong = i == last && trace.wrong;
        let style = |text: &str| if wrong { paint.red(text) } else { text.to_string() };
        row(&mut out, &format!("{:>4}", i + 1), &cells, &widths, &changes(line, before, bytewise), &style);
        before = &line.text;
    }
    out
}

/// One transition; as many lines as its longest cell.
fn row(
    out: &mut String,
    number: &str,
    cells: &[Vec<String>],
    widths: &[usize],
    bytes: &[String],
    style: &dyn Fn(&str) -> String,
) {
    let lines = cells.iter().map(Vec::len).chain([bytes.len(), 1]).max().unwrap_or(1);
    for i in 0..lines {
        let mut line = pad(if i == 0 { number } else { "" }, NUMBER);
        for (cell, &width) in cells.iter().zip(widths) {
            let text = cell.get(i).map_or("", String::as_str);
            // The padding is outside of the colour, so that a line's end can be trimmed.
            let styled = if text.is_empty() { String::new() } else { style(text) };
            let _ = write!(line, "{styled}{}", " ".repeat(width.saturating_sub(chars(text)) + GAP));
        }
        line += bytes.get(i).map_or("", String::as_str);
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// The sites that a transition changed.
fn changes(line: &Line, before: &[String], Style { trap, named, paint }: Style<'_>) -> Vec<String> {
    let pairs = line.text.iter().zip(before).enumerate();
    pairs
        .filter(|(_, (now, then))| now != then)
        .map(|(site, (now, then))| {
            let bytes = now.split(' ').zip(then.split(' ').map(Some).chain(std::iter::repeat(None)));
            let bytes: Vec<String> = bytes
                .map(|(now, then)| match now {
                    _ if Some(now) == then => paint.dim(now),
                    _ if now == trap => paint.yellow(now),
                    _ => paint.cyan(now),
                })
                .collect();
            label(site, named) + &bytes.join(" ")
        })
        .collect()
}

fn plain(text: &str, paint: Paint) -> String {
    paint.dim(text)
}

fn label(site: usize, named: bool) -> String {
    if named { format!("{}: ", name(site)) } else { String::new() }
}

/// The letter of a site, as the transitions have it.
#[must_use]
pub fn name(site: usize) -> char {
    char::from(b'A' + site as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use textpoke_model::{Options, Profile, check, without};

    const X86: IsaId = IsaId::X86;

    fn of(name: &str, options: &Options) -> Trace {
        check(name, options, &mut |_, _| {}).unwrap().trace.unwrap()
    }

    #[test]
    fn a_line_for_each_transition() {
        let trace = of("naive-copy", &Options::new(Profile::Intel));
        let text = render(&trace, X86, 100, Paint::none());
        let expected = "      patcher          CPU 1                          0f 1f 44 00 00\n   1  stores e8 at +0                                 e8 1f 44 00 00\n   2                   executes e8 1f 44 00 00 at +0\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn long_ones_fit_and_lose_nothing() {
        let wide = Options::new(Profile::Intel).cpus(4).sites(3);
        let one = without("breakpoint", "sync cores 2", &wide, &mut |_, _| {}).unwrap().trace.unwrap();
        let other = of("inside-by-counter", &Options::new(Profile::Amd).cpus(3));
        for trace in [one, other] {
            let words = |text: &str| {
                let mut words: Vec<String> = text.split_whitespace().map(String::from).collect();
                words.sort();
                words
            };
            let endless = words(&render(&trace, X86, 400, Paint::none()));
            for width in [80, 100, 160] {
                let text = render(&trace, X86, width, Paint::none());
                assert!(text.lines().all(|line| chars(line) <= width), "{width}\n{text}");
                assert_eq!(words(&text), endless);
            }
            assert_eq!(render(&trace, X86, 400, Paint::none()).lines().count(), trace.len() + trace.start.len());
        }
    }

    #[test]
    fn words_are_one_piece_and_traps_are_seen() {
        for (profile, brk) in [(Profile::Arm, "d42e8e00"), (Profile::Ziccif, "00100073")] {
            let trace = of("pair-no-wait", &Options::new(profile));
            let coloured = render(&trace, profile.isa(), 100, Paint::always());
            assert!(coloured.contains(&format!("\x1b[33m{brk}\x1b[0m")), "{coloured}");
        }
        let trace = of("two-nops", &Options::new(Profile::Ziccif));
        assert_eq!(trace.start, ["00000013 00000013"]);
    }

    #[test]
    fn the_patchers_cpu_says_what_its_nmis_do() {
        let trace = of("nmi-ignored-own", &Options::new(Profile::Intel));
        let text = render(&trace, X86, 100, Paint::none());
        let (first, rest) = (text.find(" NMI\n").unwrap(), text.find("NMI: executes "));
        assert!(rest.is_some_and(|rest| rest > first) && !text.contains("  executes "), "{text}");
    }

    #[test]
    fn colours_change_nothing_else() {
        let trace = of("five-nops", &Options::new(Profile::Amd));
        let coloured = render(&trace, X86, 100, Paint::always());
        assert!(coloured.contains("\x1b[33mcc\x1b[0m"), "{coloured}");
        let mut stripped = String::new();
        let mut parts = coloured.split("\x1b[");
        stripped += parts.next().unwrap();
        parts.for_each(|part| stripped += part.split_once('m').unwrap().1);
        assert_eq!(stripped, render(&trace, X86, 100, Paint::none()));
    }
}
