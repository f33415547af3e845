//! Words, numbers and signs: one lexer for the header, the initial state, the instructions and the condition.

use std::ops::Range;

use super::source::{Refusal, Source};

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A name; dots inside belong to it (`B.NE`, `fence.i`).
    Word(String),
    /// A number, decimal or hexadecimal.
    Int(i64),
    /// What stands between double quotes: where it stands.
    Text(Range<usize>),
    /// One of `: ; = [ ] ( ) { } , . + - * # ~ ! < >`, or the two-character `/\` (as `&`) and `\/` (as `|`).
    Sign(char),
}

/// A part of the source as tokens, read from the front.
pub struct Tokens<'a> {
    source: &'a Source,
    list: Vec<(usize, Token)>,
    next: usize,
    end: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(source: &'a Source, range: Range<usize>) -> Result<Self, Refusal> {
        let text = &source.text()[range.clone()];
        let mut list = Vec::new();
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let rest = &text[at..];
            let start = range.start + at;
            let width = if c.is_whitespace() {
                c.len_utf8()
            } else if c.is_ascii_alphabetic() || c == '_' {
                let width = span(rest, |c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
                list.push((start, Token::Word(rest[..width].into())));
                width
            } else if c.is_ascii_digit() {
                let width = span(rest, |c| c.is_ascii_alphanumeric());
                list.push((
                    start,
                    Token::Int(number(&rest[..width]).ok_or_else(|| {
                        source.refuse(start, format!("\"{}\" is no number of 64 bits", &rest[..width]))
                    })?),
                ));
                width
            } else if c == '"' {
                let width = rest[1..].find('"').ok_or_else(|| source.refuse(start, "this quote is not closed"))?;
                list.push((start, Token::Text(start + 1..start + 1 + width)));
                width + 2
            } else if rest.starts_with("/\\") || rest.starts_with("\\/") {
                list.push((start, Token::Sign(if c == '/' { '&' } else { '|' })));
                2
            } else if ":;=[](){},.+-*#~!<>".contains(c) {
                list.push((start, Token::Sign(c)));
                1
            } else {
                return Err(source.refuse(start, format!("\"{c}\" does not belong here")));
            };
            at += width;
        }
        Ok(Self { source, list, next: 0, end: range.end })
    }

    /// The source.
    #[must_use]
    pub fn source(&self) -> &'a Source {
        self.source
    }

    /// The next token, which stays.
    #[must_use]
    pub fn peek(&self) -> Option<&Token> {
        self.ahead(0)
    }

    /// A later token, which stays.
    #[must_use]
    pub fn ahead(&self, n: usize) -> Option<&Token> {
        self.list.get(self.next + n).map(|(_, token)| token)
    }

    /// Where the next token stands, or the end.
    #[must_use]
    pub fn at(&self) -> usize {
        self.list.get(self.next).map_or(self.end, |(at, _)| *at)
    }

    /// Takes the next token.
    pub fn take(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.next += 1;
        token
    }

    /// Takes this sign if it is next.
    pub fn accept(&mut self, sign: char) -> bool {
        let there = self.peek() == Some(&Token::Sign(sign));
        self.next += usize::from(there);
        there
    }

    /// Takes this sign.
    ///
    /// # Errors
    /// Something else is next.
    pub fn expect(&mut self, sign: char) -> Result<(), Refusal> {
        if self.accept(sign) { Ok(()) } else { Err(self.unexpected(&format!("\"{sign}\""))) }
    }

    /// Takes a word.
    ///
    /// # Errors
    /// Something else is next.
    pub fn word(&mut self, what: &str) -> Result<String, Refusal> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.next += 1;
                Ok(word)
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// Takes a number with an optional sign.
    ///
    /// # Errors
    /// Something else is next.
    pub fn int(&mut self, what: &str) -> Result<i64, Refusal> {
        let signs = usize::from(self.peek() == Some(&Token::Sign('-')));
        match self.ahead(signs) {
            Some(Token::Int(n)) => {
                let n = *n;
                self.next += signs + 1;
                Ok(if signs == 1 { n.wrapping_neg() } else { n })
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// Something is.
    pub fn done(&self) -> Result<(), Refusal> {
        if self.peek().is_none() { Ok(()) } else { Err(self.unexpected("nothing more")) }
    }

    /// A refusal at the next token.
    #[must_use]
    pub fn refuse(&self, what: impl Into<String>) -> Refusal {
        self.source.refuse(self.at(), what)
    }

    /// The refusal "here should be …".
    #[must_use]
    pub fn unexpected(&self, wanted: &str) -> Refusal {
        let found = match self.peek() {
            None => "the end".into(),
            Some(Token::Word(word)) => format!("\"{word}\""),
            Some(Token::Int(n)) => format!("\"{n}\""),
            Some(Token::Text(range)) => format!("\"{}\"", &self.source.text()[range.clone()]),
            Some(Token::Sign('&')) => "\"/\\\"".into(),
            Some(Token::Sign('|')) => "\"\\/\"".into(),
            Some(Token::Sign(sign)) => format!("\"{sign}\""),
        };
        self.refuse(format!("{found} stands where {wanted} should"))
    }
}

fn span(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(u64::cast_signed),
        None => text.parse().ok(),
    }
}
