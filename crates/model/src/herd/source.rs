//! The text of a test, and refusals that point into it.

use std::fmt;
use std::ops::Range;

use super::token::Tokens;

/// Why a test is not decided: it cannot be read, or uses something outside of the surface. It is never guessed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong, naming the instruction or construct.
    pub what: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.what)
    }
}

impl std::error::Error for Refusal {}

/// The text with its comments blanked out, so that every offset still means the same place.
pub struct Source {
    text: String,
}

impl Source {
    /// Takes `(* … *)` away, nested ones too.
    ///
    /// # Errors
    /// A comment that is not closed.
    pub fn new(text: &str) -> Result<Self, Refusal> {
        let mut out = String::with_capacity(text.len());
        let mut open = Vec::new();
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let next = chars.peek().map(|(_, c)| *c);
            if c == '(' && next == Some('*') {
                open.push(at);
                chars.next();
                out.push_str("  ");
            } else if c == '*' && next == Some(')') && !open.is_empty() {
                open.pop();
                chars.next();
                out.push_str("  ");
            } else if open.is_empty() || c == '\n' {
                out.push(c);
            } else {
                out.extend(std::iter::repeat_n(' ', c.len_utf8()));
            }
        }
        let source = Self { text: out };
        match open.first() {
            Some(at) => Err(source.refuse(*at, "this comment is not closed")),
            None => Ok(source),
        }
    }

    /// The text without comments.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A refusal at a byte offset.
    #[must_use]
    pub fn refuse(&self, at: usize, what: impl Into<String>) -> Refusal {
        let (line, column) = self.place(at);
        Refusal { line, column, what: what.into() }
    }

    /// Line and column of a byte offset, both from 1.
    #[must_use]
    pub fn place(&self, at: usize) -> (usize, usize) {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |i| i + 1);
        (line, before[start..].chars().count() + 1)
    }

    /// The tokens of a part.
    ///
    /// # Errors
    /// A character that begins no token.
    pub fn tokens(&self, range: Range<usize>) -> Result<Tokens<'_>, Refusal> {
        Tokens::new(self, range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_survive_comments() {
        let source = Source::new("a (* é (* x\n *) *) b\nc").unwrap();
        assert_eq!(source.place(source.text().find('b').unwrap()), (2, 8));
        assert_eq!(source.place(source.text().find('c').unwrap()), (3, 1));
        let open = Source::new("a\n (* b").err().unwrap();
        assert_eq!(open.to_string(), "line 2, column 2: this comment is not closed");
    }
}
