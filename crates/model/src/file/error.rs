//! What is wrong with a file, and where.

use std::fmt;

/// Characters of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The line, from 1.
    pub line: usize,
    /// The first character, from 1.
    pub column: usize,
    /// How many.
    pub width: usize,
}

impl At {
    /// From here to the end of `other`, which stands behind it in the same line.
    pub(super) fn to(self, other: Self) -> Self {
        Self { width: (other.column + other.width).saturating_sub(self.column), ..self }
    }

    pub(super) fn error(self, message: impl Into<String>) -> Error {
        Error { at: self, message: message.into() }
    }
}

/// The first mistake of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where.
    pub at: At,
    /// What, and what to do about it.
    pub message: String,
}

impl Error {
    /// `FILE:LINE:COLUMN: message`, the line, and a caret under what is meant.
    pub fn render(&self, file: &str, bytes: &[u8]) -> String {
        let At { line, column, width } = self.at;
        let text = bytes.split(|&b| b == b'\n').nth(line - 1).unwrap_or_default();
        let text: String = String::from_utf8_lossy(text).trim_end().replace(|c: char| c.is_control(), " ");
        let number = line.to_string();
        let gap = " ".repeat(number.len());
        let indent = " ".repeat(column - 1);
        let carets = "^".repeat(width.max(1));
        format!("{file}:{line}:{column}: {}\n {number} | {text}\n {gap} | {indent}{carets}", self.message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.at.line, self.at.column, self.message)
    }
}

impl std::error::Error for Error {}
