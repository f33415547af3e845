//! Keys for people.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use textpoke_attach::keys::{Flipped, Key, Tables};
use textpoke_keys::abi::Kind;

use crate::names;
use crate::text::{self, Paint};

/// The least columns that a name gets.
const LEAST_NAME: usize = 16;

/// The keys, a line each, under the file that they are in.
#[must_use]
pub fn listing(tables: &Tables, keys: &[&Key], targets: &BTreeMap<u64, String>, width: usize, paint: Paint) -> String {
    let cells: Vec<[String; 4]> = keys.iter().map(|key| cells(key, targets)).collect();
    let widest = |i: usize, least: usize| cells.iter().map(|c| c[i].chars().count()).max().unwrap_or(0).max(least);
    let (state, sites, place) = (widest(1, 5).min(40), widest(2, 5), widest(3, 5));
    let room = width.saturating_sub(state + sites + place + 6);
    let name = widest(0, 3).min(room.max(LEAST_NAME));
    let mut out = String::new();
    // Writing to a String cannot fail.
    let header = format!("{:<name$}  {:<state$}  {:>sites$}  WHERE", "KEY", "STATE", "SITES");
    let _ = writeln!(out, "{}", paint.bold(&header));
    let mut object = None;
    for (key, [full, what, count, place]) in keys.iter().zip(&cells) {
        if object != Some(key.object) && tables.objects.len() > 1 {
            let _ = writeln!(out, "{}", paint.dim(&tables.objects[key.object].path));
        }
        object = Some(key.object);
        let what = format!("{:<state$}", names::shorten(what, state));
        let _ = writeln!(
            out,
            "{}  {}  {count:>sites$}  {}",
            paint.cyan(&format!("{:<name$}", names::shorten(full, name))),
            if key.kind == Kind::Branch && key.value == 1 { paint.green(&what) } else { what },
            paint.dim(place)
        );
    }
    out
}

fn cells(key: &Key, targets: &BTreeMap<u64, String>) -> [String; 4] {
    let place = format!("{}:{}", key.file, key.line);
    [key.full_name(), state(key, targets), text::count(key.sites.len() as u64), place]
}

/// `off`, `on`, `on (3 users)`, a number, `-> function`.
fn state(key: &Key, targets: &BTreeMap<u64, String>) -> String {
    match key.kind {
        Kind::Branch => on_off(key.value, key.count),
        Kind::Imm => text_of_number(key.value, key.width),
        Kind::Call if key.value == 0 => "-> nothing".into(),
        Kind::Call => format!("-> {}", targets.get(&key.value).map_or("?", String::as_str)),
    }
}

fn on_off(value: u64, count: u32) -> String {
    match (value, count) {
        (0, _) => "off".into(),
        (_, 0 | 1) => "on".into(),
        (_, users) => format!("on ({users} users)"),
    }
}

/// A number as it is without a sign, and as it is with one where that is another.
fn text_of_number(value: u64, width: u8) -> String {
    let shift = 64 - u32::from(width.clamp(1, 8)) * 8;
    let signed = ((value << shift) as i64) >> shift;
    if signed < 0 { format!("{value} ({signed})") } else { value.to_string() }
}

/// What was changed, a line each.
#[must_use]
pub fn flipped(done: &[Flipped], keys: &[&Key], paint: Paint) -> String {
    let name = done.iter().map(|f| f.name.chars().count()).max().unwrap_or(0);
    let widths: HashMap<String, u8> =
        keys.iter().filter(|key| key.kind == Kind::Imm).map(|key| (key.full_name(), key.width)).collect();
    let mut out = String::new();
    for flipped in done {
        let words = |value: u64, count: u32| match widths.get(&flipped.name) {
            Some(&width) => text_of_number(value, width),
            _ => on_off(value, count),
        };
        let (before, after) = (words(flipped.value.0, flipped.count.0), words(flipped.value.1, flipped.count.1));
        let full = paint.cyan(&format!("{:<name$}", flipped.name));
        let _ = if before == after {
            writeln!(out, "{full}  {after} {}", paint.dim("(as before)"))
        } else {
            let sites = format!("({} {})", flipped.sites, if flipped.sites == 1 { "site" } else { "sites" });
            writeln!(out, "{full}  {before} -> {}  {}", paint.bold(&after), paint.dim(&sites))
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_their_sign_where_it_matters() {
        assert_eq!(text_of_number(100, 4), "100");
        assert_eq!(text_of_number(0xff, 1), "255 (-1)");
        assert_eq!(text_of_number(u64::MAX - 1, 8), "18446744073709551614 (-2)");
        assert_eq!((on_off(0, 0), on_off(1, 1), on_off(1, 3)), ("off".into(), "on".into(), "on (3 users)".into()));
    }
}
