//! Numbers, times and colours for people, and the reverse for arguments.

use std::io::IsTerminal;

/// `1234567` → `1 234 567` (narrow no-break spaces would be nicer, but terminals differ).
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

/// Nanoseconds with three digits and a unit: `731 ns`, `12.4 µs`, `1.50 s`, `12.0 min`.
#[must_use]
pub fn duration(ns: u64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e3, "µs"), (1e6, "ms"), (1e9, "s"), (60e9, "min")];
    if ns < 1000 {
        return format!("{ns} ns");
    }
    let mut chosen = UNITS[0];
    for unit in UNITS {
        // 999.5 µs rounds to 1000 µs, so it is shown as 1.00 ms; minutes start at ten of them.
        let enough = if unit.1 == "min" { 10.0 } else { 0.9995 };
        if ns as f64 >= unit.0 * enough {
            chosen = unit;
        }
    }
    let value = ns as f64 / chosen.0;
    let digits = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {}", chosen.1)
}

/// Bytes with a binary unit: `512 B`, `1.4 MiB`.
#[must_use]
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value < 1000.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// `part` of `whole` in percent with one digit; `0.0` when there is nothing.
#[must_use]
pub fn percent(part: u64, whole: u64) -> String {
    let share = if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
    if share > 0.0 && share < 0.05 { "<0.1 %".into() } else { format!("{share:.1} %") }
}

/// `2026-11-20 12:34:56 UTC` from nanoseconds since 1970.
#[must_use]
pub fn date(unix_ns: u64) -> String {
    let seconds = unix_ns / 1_000_000_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days to a civil date: count years from March so that the leap day is the last of a year.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Reads a time such as `5us`, `1.5ms`, `2s`, `300` (nanoseconds) into nanoseconds.
///
/// # Errors
/// A message for the person who typed it.
pub fn parse_time(text: &str) -> Result<u64, String> {
    let at = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let scale = match unit.trim() {
        "" | "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" | "sec" => 1e9,
        "m" | "min" => 60e9,
        _ => return Err("use a number with ns, us, ms, s or min, as in 5us".into()),
    };
    match number.parse::<f64>() {
        Ok(n) if n.is_finite() && n * scale < 1e18 => Ok((n * scale).round() as u64),
        _ => Err("use a number with ns, us, ms, s or min, as in 5us".into()),
    }
}

/// Reads seconds such as `3`, `0.5` into nanoseconds; units as in [`parse_time`] are understood.
///
/// # Errors
/// A message for the person who typed it.
pub fn parse_seconds(text: &str) -> Result<u64, String> {
    if text.ends_with(|c: char| c.is_ascii_digit()) {
        parse_time(&format!("{text}s")).map_err(|_| "use seconds, as in 2.5".into())
    } else {
        parse_time(text)
    }
}

/// Reads a size such as `4M`, `512k`, `65536` into bytes.
///
/// # Errors
/// A message for the person who typed it.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || "use a number of bytes with an optional K, M or G, as in 4M".to_string();
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let shift = match unit.to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return Err(wrong()),
    };
    let n: u64 = number.parse().map_err(|_| wrong())?;
    n.checked_mul(1 << shift).ok_or_else(wrong)
}

/// Colours, or none: not on a pipe, not with `NO_COLOR`, not on a dumb terminal.
#[derive(Clone, Copy, Debug)]
pub struct Paint(bool);

impl Paint {
    /// For standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self(allowed(std::io::stdout().is_terminal()))
    }

    /// For standard error.
    #[must_use]
    pub fn stderr() -> Self {
        Self(allowed(std::io::stderr().is_terminal()))
    }

    /// Never any colour.
    #[must_use]
    pub fn none() -> Self {
        Self(false)
    }

    /// Always, whatever the output is.
    #[must_use]
    pub fn always() -> Self {
        Self(true)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// Headings.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// Side remarks.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// Bad news.
    #[must_use]
    pub fn red(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    /// Mild warnings.
    #[must_use]
    pub fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    /// Good news.
    #[must_use]
    pub fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// Names.
    #[must_use]
    pub fn cyan(self, text: &str) -> String {
        self.wrap("36", text)
    }
}

fn allowed(terminal: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
    terminal && !set("NO_COLOR") && !dumb
}

/// Columns of the terminal that standard output is; `COLUMNS` or 100 when it is none.
#[must_use]
pub fn width() -> usize {
    let from_env = || std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    terminal_size::terminal_size_of(std::io::stdout())
        .map(|(terminal_size::Width(columns), _)| usize::from(columns))
        .or_else(from_env)
        .unwrap_or(100)
        .clamp(40, 400)
}

/// Says on standard error that something is not as it should be, and goes on.
pub fn warn(text: &str) {
    eprintln!("textpoke: {} {text}", Paint::stderr().yellow("warning:"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_three_digits() {
        for (ns, wanted) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1000, "1.00 µs"),
            (9_994, "9.99 µs"),
            (9_995, "10.0 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (1_500_000_000, "1.50 s"),
            (61_000_000_000, "61.0 s"),
            (720_000_000_000, "12.0 min"),
        ] {
            assert_eq!(duration(ns), wanted);
        }
    }

    #[test]
    fn counts_and_shares() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1 234 567");
        assert_eq!(percent(1, 10_000), "<0.1 %");
        assert_eq!(percent(0, 0), "0.0 %");
        assert_eq!(bytes(1_500_000), "1.4 MiB");
    }

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_782_400_000_000_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(date(1_795_223_696_000_000_000), "2026-11-21 01:14:56 UTC");
    }

    #[test]
    fn times_and_sizes_are_read() {
        assert_eq!(parse_time("5us"), Ok(5000));
        assert_eq!(parse_time("1.5ms"), Ok(1_500_000));
        assert_eq!(parse_time("300"), Ok(300));
        assert!(parse_time("fast").is_err() && parse_time("").is_err() && parse_time("5 h").is_err());
        assert_eq!(parse_seconds("2.5"), Ok(2_500_000_000));
        assert_eq!(parse_seconds("100ms"), Ok(100_000_000));
        assert_eq!(parse_size("4M"), Ok(4 << 20));
        assert_eq!(parse_size("512KiB"), Ok(512 << 10));
        assert!(parse_size("M").is_err() && parse_size("99999999999G").is_err());
    }
}
