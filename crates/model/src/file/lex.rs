//! Lines of words. A comma is a word of its own; `#` begins a comment.

use super::error::{At, Error};

/// A word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'t> {
    pub text: &'t str,
    pub at: At,
}

impl Word<'_> {
    pub fn is(&self, text: &str) -> bool {
        self.text.eq_ignore_ascii_case(text)
    }
}

/// A line that is not empty.
#[derive(Clone, Debug)]
pub(super) struct Line<'t> {
    pub words: Vec<Word<'t>>,
    text: &'t str,
}

impl<'t> Line<'t> {
    /// All of its words.
    pub fn at(&self) -> At {
        self.words[0].at.to(self.words[self.words.len() - 1].at)
    }

    /// The first word.
    pub fn head(&self) -> Word<'t> {
        self.words[0]
    }

    /// The words behind the first `n`.
    pub fn from(&self, n: usize) -> &[Word<'t>] {
        self.words.get(n..).unwrap_or_default()
    }

    /// Just behind the last word.
    pub fn end(&self) -> At {
        let last = self.words[self.words.len() - 1].at;
        At { column: last.column + last.width, width: 1, ..last }
    }

    /// The text behind the first word, blanks made single.
    pub fn prose(&self) -> String {
        let behind = &self.text[self.text.find(self.words[0].text).unwrap_or(0) + self.words[0].text.len()..];
        behind.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The words in lower case, blanks made single.
    pub fn phrase(&self) -> String {
        self.words.iter().map(|w| w.text.to_lowercase()).collect::<Vec<_>>().join(" ")
    }
}

/// The lines of a file.
pub(super) fn lines(bytes: &[u8]) -> Result<Vec<Line<'_>>, Error> {
    let mut lines = Vec::new();
    for (i, raw) in bytes.split(|&b| b == b'\n').enumerate() {
        let text = match std::str::from_utf8(raw) {
            Ok(text) => text,
            Err(bad) => {
                let column = String::from_utf8_lossy(&raw[..bad.valid_up_to()]).chars().count() + 1;
                let at = At { line: i + 1, column, width: 1 };
                return Err(at.error("this is not UTF-8 text; a protocol file begins with `protocol NAME`"));
            }
        };
        let text = text.split('#').next().unwrap_or_default();
        let words = words(text, i + 1);
        if !words.is_empty() {
            lines.push(Line { words, text });
        }
    }
    Ok(lines)
}

fn words(text: &str, line: usize) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    // Where the word at hand begins: byte and character.
    let mut begun: Option<(usize, usize)> = None;
    let mut count = 0;
    for (column, (byte, c)) in text.char_indices().enumerate() {
        count = column + 1;
        let ends = c.is_whitespace() || c == ',';
        if let (true, Some((from, first))) = (ends, begun) {
            words.push(Word { text: &text[from..byte], at: At { line, column: first + 1, width: column - first } });
            begun = None;
        }
        if c == ',' {
            words.push(Word { text: &text[byte..=byte], at: At { line, column: column + 1, width: 1 } });
        } else if !ends && begun.is_none() {
            begun = Some((byte, column));
        }
    }
    if let Some((from, first)) = begun {
        words.push(Word { text: &text[from..], at: At { line, column: first + 1, width: count - first } });
    }
    words
}
