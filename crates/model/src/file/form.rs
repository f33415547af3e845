//! One form of a site: instructions, divided by commas.

use textpoke_core::MAX_SITE;

use super::error::{At, Error};
use super::lex::{Line, Word};
use crate::scenario::IsaId;

/// The bytes of a form and how they are divided.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub bytes: Vec<u8>,
    /// Bit `i`: an instruction begins at offset `i`.
    pub begins: u8,
    /// Bit `i`: it is a CALL.
    pub calls: u8,
    /// All of it.
    pub at: At,
    /// The instructions.
    pub parts: Vec<At>,
}

impl Form {
    /// Reads a form behind the word in front of it, which is the `from`-th of its line.
    pub fn parse(line: &Line<'_>, from: usize, isa: IsaId) -> Result<Self, Error> {
        let words = line.from(from);
        let Some(first) = words.first() else {
            return Err(line.end().error(format!("the bytes are missing: {}", example(isa))));
        };
        let at = first.at.to(line.words[line.words.len() - 1].at);
        let mut form = Self { bytes: Vec::new(), begins: 0, calls: 0, at, parts: Vec::new() };
        for part in words.split(|w| w.text == ",") {
            form.instruction(part, isa).map_err(|e| e.unwrap_or_else(|| empty(words, isa)))?;
        }
        Ok(form)
    }

    /// Adds an instruction. `None` as error: there is nothing of it.
    fn instruction(&mut self, words: &[Word<'_>], isa: IsaId) -> Result<(), Option<Error>> {
        let call = words.first().filter(|w| w.is("call"));
        let bytes = &words[usize::from(call.is_some())..];
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
            return Err(call.map(|call| call.at.error("the bytes of this CALL are missing")));
        };
        let (at, offset) = (first.at.to(last.at), self.bytes.len());
        for word in bytes {
            let value = value(word, isa)?;
            if self.bytes.len() + value.len() > MAX_SITE {
                return Err(Some(word.at.error(format!("a site has at most {MAX_SITE} bytes, and this is one more"))));
            }
            self.bytes.extend(value);
        }
        let len = self.bytes.len() - offset;
        let unit = align(isa);
        if !len.is_multiple_of(unit) {
            let rule = format!("an instruction of {} has a multiple of {unit} bytes, and this has {len}", isa.name());
            return Err(Some(at.error(rule)));
        }
        self.begins |= 1 << offset;
        if call.is_some() {
            self.calls |= 1 << offset;
        }
        self.parts.push(at);
        Ok(())
    }

    /// The lengths of the instructions that a mask of beginnings divides `len` bytes into.
    pub fn lengths(begins: u8, len: usize) -> Vec<usize> {
        let starts: Vec<usize> = (0..len).filter(|&i| begins >> i & 1 == 1).chain([len]).collect();
        starts.windows(2).map(|w| w[1] - w[0]).collect()
    }

    /// A form as it stands behind its word.
    pub fn print(bytes: &[u8], begins: u8, calls: u8, isa: IsaId) -> String {
        let mut at = 0;
        let mut parts = Vec::new();
        for len in Self::lengths(begins, bytes.len()) {
            let call = if calls >> at & 1 == 1 { "call " } else { "" };
            parts.push(format!("{call}{}", print(&bytes[at..at + len], isa)));
            at += len;
        }
        parts.join(", ")
    }
}

/// What addresses and lengths of instructions are multiples of.
pub(super) fn align(isa: IsaId) -> usize {
    match isa {
        IsaId::X86 => 1,
        IsaId::Arm => 4,
        IsaId::Riscv => 2,
    }
}

fn example(isa: IsaId) -> &'static str {
    match isa {
        IsaId::X86 => "bytes as they stand in memory, like `0f 1f 44 00 00`",
        IsaId::Arm => "words like `0xd503201f`",
        IsaId::Riscv => "words like `0x00000013`, or `0x0001` where an instruction has two bytes",
    }
}

fn empty(words: &[Word<'_>], isa: IsaId) -> Error {
    // The comma behind nothing, or the last word if that is a comma.
    let before = |i: usize| i == 0 || words[i - 1].text == ",";
    let at = (0..words.len()).find(|&i| words[i].text == "," && before(i)).unwrap_or(words.len().saturating_sub(1));
    words[at].at.error(format!("a comma divides two instructions; one of them is missing here: {}", example(isa)))
}

/// The bytes of one word, the lowest first.
fn value(word: &Word<'_>, isa: IsaId) -> Result<Vec<u8>, Error> {
    let text = word.text;
    if text == "|" || text == "/" {
        return Err(word.at.error("instructions are divided by commas; where 8-byte boundaries lie follows from `at`"));
    }
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit()).then(|| u32::from_str_radix(text, 16).ok());
    match text.strip_prefix("0x") {
        Some(_) if isa == IsaId::X86 => {
            Err(word.at.error(format!("instructions of x86-64 are {}, without 0x", example(isa))))
        }
        Some(hex)
            if matches!(hex.len(), 4 | 8)
                && let Some(Some(value)) = digits(hex) =>
        {
            Ok(value.to_le_bytes()[..hex.len() / 2].to_vec())
        }
        None if text.len() == 2
            && let Some(Some(value)) = digits(text) =>
        {
            Ok(vec![value as u8])
        }
        _ => Err(word.at.error(format!("\"{text}\" is no part of an instruction; write {}", example(isa)))),
    }
}

fn print(bytes: &[u8], isa: IsaId) -> String {
    let unit = match (isa, bytes.len()) {
        (IsaId::X86, _) => 1,
        (_, len) if len.is_multiple_of(4) => 4,
        _ => 2,
    };
    let word = |chunk: &[u8]| chunk.iter().rev().map(|b| format!("{b:02x}")).collect::<String>();
    let prefix = if unit == 1 { "" } else { "0x" };
    bytes.chunks(unit).map(|chunk| format!("{prefix}{}", word(chunk))).collect::<Vec<_>>().join(" ")
}
