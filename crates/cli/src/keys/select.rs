//! Which keys a person means.
//!
//! A name is that of the whole path (`demo::net::VERBOSE`), of its end (`VERBOSE`, `net::VERBOSE`), with a position in an
//! array (`FEATURES[3]`), a pattern with `*` and `?` for any number of keys, or `FILE:LINE`.

use globset::{GlobBuilder, GlobMatcher};
use textpoke_attach::keys::{Key, Tables};

use crate::error::{Error, Result};

/// The most names that a message lists.
const MOST_NAMES: usize = 6;

/// The keys that match any of the patterns, or all if there are none; in the order of the tables.
///
/// # Errors
/// A pattern matches nothing, or is no pattern.
pub fn matching<'t>(tables: &'t Tables, patterns: &[String]) -> Result<Vec<&'t Key>> {
    if patterns.is_empty() {
        return Ok(tables.keys.iter().collect());
    }
    let patterns = patterns.iter().map(|p| Pattern::new(p)).collect::<Result<Vec<_>>>()?;
    for pattern in &patterns {
        if !tables.keys.iter().any(|key| pattern.matches(key)) {
            return Err(unknown(tables, &pattern.text));
        }
    }
    Ok(tables.keys.iter().filter(|key| patterns.iter().any(|pattern| pattern.matches(key))).collect())
}

/// The same, where a name that is no pattern has to mean one key, unless `all` says that more are welcome.
///
/// # Errors
/// As [`matching`], and a name means several keys.
pub fn meant<'t>(tables: &'t Tables, names: &[String], all: bool) -> Result<Vec<&'t Key>> {
    for name in names.iter().filter(|name| !all && !is_pattern(name)) {
        let found = matching(tables, std::slice::from_ref(name))?;
        if found.len() > 1 {
            return Err(ambiguous(tables, name, &found));
        }
    }
    matching(tables, names)
}

/// Whether a name stands for any number of keys.
fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

struct Pattern {
    text: String,
    glob: GlobMatcher,
    place: Option<(String, u32)>,
}

impl Pattern {
    fn new(text: &str) -> Result<Self> {
        // Brackets are positions in arrays.
        let mut escaped = String::with_capacity(text.len());
        for c in text.chars() {
            if matches!(c, '[' | ']' | '{' | '}' | '\\' | '!') {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        let glob = GlobBuilder::new(&escaped).backslash_escape(true).build();
        let glob = glob.map_err(|e| Error::Usage(format!("{text}: {}", e.kind())))?;
        let place = text.rsplit_once(':').and_then(|(file, line)| {
            let whole = !file.ends_with(':') && !file.is_empty();
            whole.then_some(())?;
            Some((file.to_owned(), line.parse().ok()?))
        });
        Ok(Self { text: text.to_owned(), glob: glob.compile_matcher(), place })
    }

    fn matches(&self, key: &Key) -> bool {
        let full = key.full_name();
        if ends(&full, "::").any(|end| self.glob.is_match(end)) || ends(&key.name, "::").any(|end| end == self.text) {
            return true;
        }
        let Some((file, line)) = &self.place else { return false };
        key.line == *line && ends(&key.file, "/").any(|end| end == file)
    }
}

/// A text and all its ends that begin behind a separator.
fn ends<'s>(text: &'s str, separator: &'static str) -> impl Iterator<Item = &'s str> {
    std::iter::once(text).chain(text.match_indices(separator).map(move |(at, _)| &text[at + separator.len()..]))
}

fn unknown(tables: &Tables, name: &str) -> Error {
    let last = name.rsplit("::").next().unwrap_or(name);
    let mut near: Vec<(usize, String)> = tables
        .keys
        .iter()
        .map(|key| {
            let own = key.name.rsplit("::").next().unwrap_or(&key.name);
            (distance(&own.to_lowercase(), &last.to_lowercase()), key.full_name())
        })
        .filter(|(distance, _)| *distance <= 1 + last.chars().count() / 3)
        .collect();
    near.sort();
    near.dedup();
    near.truncate(3);
    let names: Vec<String> = near.into_iter().map(|(_, name)| name).collect();
    Error::new(if names.is_empty() {
        format!("no key matches {name}; `textpoke keys PID` lists those there are")
    } else {
        format!("no key matches {name}; did you mean {}?", names.join(" or "))
    })
}

fn ambiguous(tables: &Tables, name: &str, found: &[&Key]) -> Error {
    if found.iter().all(|key| key.index.is_some() && key.name == found[0].name && key.object == found[0].object) {
        return Error::new(format!(
            "{name} is an array of {} keys; give '{name}[0]', or '{name}[*]' for all",
            found.len()
        ));
    }
    let same = found.iter().all(|key| key.full_name() == found[0].full_name());
    let each: Vec<String> = found
        .iter()
        .take(MOST_NAMES)
        .map(|key| match same {
            true => format!("{}:{} in {}", key.file, key.line, tables.objects[key.object].path),
            false => key.full_name(),
        })
        .collect();
    let more = if found.len() > MOST_NAMES { ", …" } else { "" };
    let say = if same { "FILE:LINE or --module" } else { "more of the name, a pattern with *, or FILE:LINE" };
    Error::new(format!(
        "{name} means {} keys ({}{more}); give {say}, or --all for all of them",
        found.len(),
        each.join(", ")
    ))
}

/// How many letters have to be put in, taken out or exchanged.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(256).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().take(256).enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let changed = corner + usize::from(a != *b);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use textpoke_attach::keys::tables::Key;
    use textpoke_keys::abi::Kind;

    fn tables(names: &[(&str, Option<u32>, &str, u32)]) -> Tables {
        let key = |(i, &(name, index, file, line)): (usize, &(&str, Option<u32>, &str, u32))| Key {
            at: i as u64 * 64,
            object: 0,
            kind: Kind::Branch,
            width: 1,
            count: 0,
            value: 0,
            initial: 0,
            name: name.into(),
            file: file.into(),
            line,
            index,
            sites: Vec::new(),
        };
        Tables { keys: names.iter().enumerate().map(key).collect(), ..Tables::default() }
    }

    fn some() -> Tables {
        tables(&[
            ("demo::VERBOSE", None, "src/main.rs", 3),
            ("demo::net::VERBOSE", None, "src/net.rs", 9),
            ("demo::FEATURES", Some(0), "src/main.rs", 5),
            ("demo::FEATURES", Some(1), "src/main.rs", 5),
        ])
    }

    fn found(patterns: &[&str]) -> Vec<u64> {
        let patterns: Vec<String> = patterns.iter().map(|&p| p.to_owned()).collect();
        matching(&some(), &patterns).map(|keys| keys.iter().map(|k| k.at / 64).collect()).unwrap_or_default()
    }

    #[test]
    fn names_ends_patterns_positions_and_places() {
        assert_eq!(found(&[]), [0, 1, 2, 3]);
        assert_eq!(found(&["VERBOSE"]), [0, 1]);
        assert_eq!(found(&["net::VERBOSE"]), [1]);
        assert!(found(&["et::VERBOSE"]).is_empty());
        assert_eq!(found(&["FEATURES[1]"]), [3]);
        assert_eq!(found(&["FEATURES"]), [2, 3]);
        assert_eq!(found(&["FEATURES[*]"]), [2, 3]);
        assert_eq!(found(&["demo::*OSE"]), [0, 1]);
        assert_eq!(found(&["net.rs:9"]), [1]);
        assert_eq!(found(&["src/main.rs:5", "main.rs:3"]), [0, 2, 3]);
        assert_eq!(found(&["*"]), [0, 1, 2, 3]);
        assert!(found(&["{", "[", "!"]).is_empty());
    }

    #[test]
    fn one_name_is_one_key() {
        let meant =
            |name: &str, all| meant(&some(), &[name.to_owned()], all).map(|keys| keys.len()).map_err(|e| e.to_string());
        assert_eq!(meant("net::VERBOSE", false), Ok(1));
        assert_eq!(meant("*VERBOSE", false), Ok(2));
        assert_eq!(meant("VERBOSE", true), Ok(2));
        assert_eq!(meant("FEATURES[*]", false), Ok(2));
        assert!(meant("FEATURES", false).unwrap_err().contains("array of 2 keys"));
        let error = meant("VERBOSE", false).unwrap_err();
        assert!(error.contains("2 keys (demo::VERBOSE, demo::net::VERBOSE)") && error.contains("--all"), "{error}");
        let error = meant("VERBOS", false).unwrap_err();
        assert!(error.ends_with("did you mean demo::VERBOSE or demo::net::VERBOSE?"), "{error}");
        assert!(meant("quite_something_else", false).unwrap_err().contains("lists those there are"));
    }

    #[test]
    fn distances() {
        assert_eq!((distance("", "abc"), distance("abc", "abc"), distance("kitten", "sitting")), (3, 0, 3));
    }
}
