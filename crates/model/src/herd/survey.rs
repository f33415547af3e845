//! A folder of tests against the verdicts beside them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Decision, Flag, Refusal, decide, parse};

/// The file of expected verdicts: tab-separated, with the columns file, variant, verdict, condition.
pub const VERDICTS: &str = "verdicts.tsv";

/// What is expected of a test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// That it is refused.
    pub refusal: bool,
    /// By model: `Allowed`, `Forbidden`, `Required`. Where the file has one verdict, the model's name is empty.
    pub verdicts: Vec<(String, String)>,
    /// That the list of instructions that may change live is violated.
    pub cmodx: bool,
}

/// What came of a test.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// As expected.
    Agrees(Decision),
    /// Not as expected; how.
    Disagrees(Decision, String),
    /// Decided; nothing is expected.
    Decided(Decision),
    /// Refused, as expected.
    RefusedAsExpected(Refusal),
    /// Refused, though it has a verdict, or nothing is known about it.
    Refused(Refusal),
}

impl Outcome {
    /// The decision, if there is one.
    #[must_use]
    pub fn decision(&self) -> Option<&Decision> {
        match self {
            Self::Agrees(d) | Self::Disagrees(d, _) | Self::Decided(d) => Some(d),
            Self::RefusedAsExpected(_) | Self::Refused(_) => None,
        }
    }
}

/// A file and what came of it.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its path.
    pub file: PathBuf,
    /// What was expected.
    pub expected: Option<Expected>,
    /// What came of it.
    pub outcome: Outcome,
}

/// All files of a folder and its subfolders.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// In the order of their paths.
    pub rows: Vec<Row>,
}

impl Survey {
    /// How many rows are so.
    pub fn count(&self, is: impl Fn(&Outcome) -> bool) -> usize {
        self.rows.iter().filter(|row| is(&row.outcome)).count()
    }
}

/// Decides every `*.litmus` under a folder.
///
/// # Errors
/// The folder or a file cannot be read.
pub fn survey(folder: &Path) -> io::Result<Survey> {
    let mut rows = Vec::new();
    walk(folder, &mut rows)?;
    rows.sort_by(|a: &Row, b: &Row| a.file.cmp(&b.file));
    Ok(Survey { rows })
}

fn walk(folder: &Path, rows: &mut Vec<Row>) -> io::Result<()> {
    let expected = expectations(folder)?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, rows)?;
        } else if path.extension().is_some_and(|ext| ext == "litmus") {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let expected = expected.get(name.as_ref()).cloned();
            let outcome = one(&read(&path)?, expected.as_ref());
            rows.push(Row { file: path, expected, outcome });
        }
    }
    Ok(())
}

/// Decides one file, with the verdict that stands beside it if there is one.
///
/// # Errors
/// It cannot be read.
pub fn file(path: &Path) -> io::Result<Row> {
    let text = read(path)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let expected = expectations(folder)?.remove(name.as_ref());
    let outcome = one(&text, expected.as_ref());
    Ok(Row { file: path.into(), expected, outcome })
}

fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display())))
}

fn one(text: &str, expected: Option<&Expected>) -> Outcome {
    match (parse(text).and_then(|test| decide(&test)), expected) {
        (Err(refusal), Some(expected)) if expected.refusal => Outcome::RefusedAsExpected(refusal),
        (Err(refusal), _) => Outcome::Refused(refusal),
        (Ok(decision), None) => Outcome::Decided(decision),
        (Ok(decision), Some(expected)) => match difference(&decision, expected) {
            None => Outcome::Agrees(decision),
            Some(how) => Outcome::Disagrees(decision, how),
        },
    }
}

/// How a decision differs from what is expected.
fn difference(decision: &Decision, expected: &Expected) -> Option<String> {
    if expected.refusal {
        return Some("expected to be refused".into());
    }
    for (model, wanted) in &expected.verdicts {
        let found = decision.verdicts.iter().find(|(name, _)| model.is_empty() || name == model);
        match found {
            Some((_, verdict)) if verdict.to_string() == *wanted => {}
            Some((name, verdict)) => return Some(format!("{name}: {verdict}, expected {wanted}")),
            None => return Some(format!("the model {model} is not known")),
        }
    }
    (expected.cmodx && !decision.flags.contains(&Flag::Cmodx)).then(|| format!("the flag {} is missing", Flag::Cmodx))
}

/// The expectations beside the tests of a folder; none if there is no such file.
///
/// # Errors
/// The file is there and cannot be read, or is not in its format.
pub fn expectations(folder: &Path) -> io::Result<BTreeMap<String, Expected>> {
    let path = folder.join(VERDICTS);
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let mut all = BTreeMap::new();
    for (number, line) in read(&path)?.lines().enumerate().skip(1) {
        let wrong = |what: &str| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}, line {}: {what}", path.display(), number + 1))
        };
        let mut columns = line.split('\t');
        let (Some(file), Some(variant), Some(verdict)) = (columns.next(), columns.next(), columns.next()) else {
            return Err(wrong("a line has a file, a variant and a verdict, separated by tabs"));
        };
        let expected = expectation(variant, verdict).ok_or_else(|| wrong("this verdict is not known"))?;
        all.insert(file.to_string(), expected);
    }
    Ok(all)
}

/// `Allowed`, `Allow/Forbid` for two variants, `Allowed +flag:violates-CMODX`, `expected-failure`.
fn expectation(variant: &str, verdict: &str) -> Option<Expected> {
    let mut expected = Expected::default();
    let mut words = verdict.split_whitespace();
    let verdict = words.next()?;
    for flag in words {
        expected.cmodx |= flag.starts_with("+flag:violates-CMODX");
    }
    if verdict == "expected-failure" {
        expected.refusal = true;
        return Some(expected);
    }
    let verdicts: Vec<&str> = verdict.split('/').collect();
    let models: Vec<&str> = if verdicts.len() > 1 { variant.split('/').collect() } else { vec![""] };
    if models.len() != verdicts.len() {
        return None;
    }
    for (model, verdict) in models.into_iter().zip(verdicts) {
        let verdict = match verdict {
            "Allow" | "Allowed" => "Allowed",
            "Forbid" | "Forbidden" => "Forbidden",
            "Required" => "Required",
            _ => return None,
        };
        expected.verdicts.push((model.into(), verdict.into()));
    }
    Some(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_read() {
        let one = expectation("ifetch", "Allowed +flag:violates-CMODX").unwrap();
        assert_eq!((one.verdicts, one.cmodx), (vec![(String::new(), "Allowed".into())], true));
        let two = expectation("a/b", "Allow/Forbid").unwrap();
        assert_eq!(two.verdicts, [("a".into(), "Allowed".into()), ("b".into(), "Forbidden".into())]);
        assert!(expectation("none", "expected-failure").unwrap().refusal);
        assert_eq!(expectation("a", "Allow/Forbid"), None);
        assert_eq!(expectation("a", "Maybe"), None);
    }
}
