//! Colours of frames: a family of hues per file (per crate or namespace where names have one), a
//! shade per group of related names. Both come from hashes, so a function keeps its colour from
//! one graph to the next.

use std::collections::HashMap;
use std::fmt::Write as _;

/// Middles of the families, degrees on the colour wheel, chosen to be told apart side by side.
const FAMILIES: [u32; 10] = [24, 208, 148, 340, 262, 45, 184, 304, 96, 232];

/// Shades within a family.
const SHADES: u32 = 8;

/// Gives out colour classes.
#[derive(Debug, Default)]
pub struct Palette {
    taken: HashMap<String, usize>,
}

impl Palette {
    /// The class of a function: `c` and a number. Ask for the most important functions first: when
    /// the hashes of two groups collide, the second moves on to a free family.
    pub fn class(&mut self, name: &str, file: &str) -> u32 {
        let group = group(name, file);
        let next = self.free(group);
        let family = *self.taken.entry(group.to_string()).or_insert(next);
        let shade = hash(stem(name)) % u64::from(SHADES);
        family as u32 * SHADES + shade as u32
    }

    fn free(&self, group: &str) -> usize {
        let wanted = (hash(group) % FAMILIES.len() as u64) as usize;
        let order = (0..FAMILIES.len()).map(|i| (wanted + i) % FAMILIES.len());
        let is_free = |family: &usize| !self.taken.values().any(|t| t == family);
        order.into_iter().find(is_free).unwrap_or(wanted)
    }

    /// Style rules of all families that were given out, for light and for dark surroundings.
    #[must_use]
    pub fn css(&self) -> String {
        let mut families: Vec<usize> = self.taken.values().copied().collect();
        families.sort_unstable();
        families.dedup();
        let rules = |saturation: u32, lightness: u32| {
            let mut css = String::new();
            for &family in &families {
                for shade in 0..SHADES {
                    // Hue and lightness go apart, so that neighbours differ in one of them.
                    let hue = (FAMILIES[family] + 360 + shade * 7 - 25) % 360;
                    let light = lightness + [0, 5, 2, 7, 1, 6, 3, 4][shade as usize];
                    let class = family as u32 * SHADES + shade;
                    let _ = write!(css, ".c{class}{{fill:hsl({hue},{saturation}%,{light}%)}}");
                }
            }
            css
        };
        format!("{}\n@media(prefers-color-scheme:dark){{{}}}", rules(72, 73), rules(36, 35))
    }
}

/// What shares a family: the first segment of a Rust or C++ path, else the file.
fn group<'a>(name: &'a str, file: &'a str) -> &'a str {
    let plain = name.trim_start_matches(['<', '&', '*']);
    match plain.find("::") {
        Some(at) if plain[..at].bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => &plain[..at],
        _ => file,
    }
}

/// What shares a shade: the name up to the end of its second word (`sqlite3Btree` of
/// `sqlite3BtreeNext`, `PyObject` of `PyObject_Call`), or all but the last path segment.
fn stem(name: &str) -> &str {
    if let Some(at) = name.rfind("::") {
        return &name[..at];
    }
    let bytes = name.as_bytes();
    let mut words = 0;
    for at in 1..bytes.len() {
        let starts = bytes[at].is_ascii_uppercase() && !bytes[at - 1].is_ascii_uppercase();
        if bytes[at] == b'_' || starts {
            words += 1;
            if words == 2 {
                return &name[..at];
            }
        }
    }
    name
}

/// FNV-1a: small, and the same on every run and machine.
fn hash(text: &str) -> u64 {
    let step = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
    let mixed = text.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    mixed ^ (mixed >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn related_names_share_a_colour_and_files_share_a_family() {
        let mut palette = Palette::default();
        let next = palette.class("sqlite3BtreeNext", "libsqlite3.so");
        assert_eq!(palette.class("sqlite3BtreePrevious", "libsqlite3.so"), next);
        let pager = palette.class("sqlite3PagerGet", "libsqlite3.so");
        assert_eq!(pager / SHADES, next / SHADES);
        let other = palette.class("main", "server");
        assert_ne!(other / SHADES, next / SHADES);
        assert_eq!(Palette::default().class("sqlite3BtreeNext", "libsqlite3.so"), next);
    }

    #[test]
    fn groups_of_paths() {
        assert_eq!(group("<alloc::vec::Vec<T> as Drop>::drop", "x"), "alloc");
        assert_eq!(group("std::sort", "x"), "std");
        assert_eq!(group("main", "x"), "x");
        assert_eq!(group("(anonymous namespace)::f", "x"), "x");
    }

    #[test]
    fn more_groups_than_families_still_get_a_class() {
        let mut palette = Palette::default();
        for i in 0..100 {
            let class = palette.class("f", &format!("file{i}"));
            assert!(class < FAMILIES.len() as u32 * SHADES);
        }
        assert!(palette.css().contains("prefers-color-scheme:dark"));
    }
}
