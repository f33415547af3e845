//! Rust source with everything blanked out that is not code.
//!
//! A check that looks for a word must not trip over the same word in a comment or a string. This is
//! not a parser: it knows just enough of the lexical grammar to tell code from the rest.

/// `text` with the contents of comments, strings and character literals replaced by spaces. Lines and
/// byte positions stay as they are.
pub fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'\'' => character_end(bytes, at),
            b'r' if !ends_in_word(&bytes[..at], b"bc") => raw_string_end(bytes, at),
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(out).expect("whole characters were replaced by spaces")
}

/// Whether the code before ends in a word character, so that what follows is a part of that word. The
/// prefixes in `except` may stand alone: `br"..."` starts a string, `br` in `abr` does not.
fn ends_in_word(before: &[u8], except: &[u8]) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match before {
        [.., earlier, last] if except.contains(last) => is_word(*earlier),
        [only] if except.contains(only) => false,
        [.., last] => is_word(*last),
        [] => false,
    }
}

fn line_end(bytes: &[u8], start: usize) -> usize {
    let length = bytes[start..].iter().position(|&byte| byte == b'\n');
    length.map_or(bytes.len(), |length| start + length)
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `r"..."`, `r#"..."#`: ends at a quote with as many `#`. `start` itself if it is no raw string (`r#type`, `return`).
fn raw_string_end(bytes: &[u8], start: usize) -> usize {
    let hashes = bytes[start + 1..].iter().take_while(|&&byte| byte == b'#').count();
    let open = start + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return start;
    }
    let closing: Vec<u8> = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let length = bytes[open + 1..].windows(closing.len()).position(|window| window == closing);
    length.map_or(bytes.len(), |length| open + 1 + length + closing.len())
}

/// `'x'`, `'\n'`, `'\u{1F600}'`; `start` itself for a lifetime.
fn character_end(bytes: &[u8], start: usize) -> usize {
    match bytes.get(start + 1) {
        Some(b'\\') => {
            let from = (start + 3).min(bytes.len());
            let length = bytes[from..].iter().position(|&byte| byte == b'\'');
            length.map_or(start, |length| from + length + 1)
        }
        Some(&first) => {
            let width = match first {
                0..=0x7f => 1,
                0x80..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0.. => 4,
            };
            let close = start + 1 + width;
            if bytes.get(close) == Some(&b'\'') { close + 1 } else { start }
        }
        None => start,
    }
}

/// Byte positions where `word` stands in `code` as a word of its own.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let bytes = code.as_bytes();
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        !is_word(before) && !is_word(bytes.get(at + word.len()))
    })
}

/// The line, counted from 1, of a byte position.
pub fn line_of(text: &str, position: usize) -> usize {
    text.as_bytes()[..position].iter().filter(|&&byte| byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(text: &str) -> usize {
        words(&code_only(text), "goto").count()
    }

    #[test]
    fn what_is_not_code_is_blank() {
        for text in [
            "// goto",
            "/* a /* goto */ goto */",
            r#"let s = "goto \" goto";"#,
            r##"let s = r#"goto " goto"#;"##,
            r#"let s = br"goto";"#,
            "let c = '\\''; // goto",
            "//! goto\n/// goto",
            "\"unterminated goto",
        ] {
            assert_eq!(finds(text), 0, "{text}");
        }
    }

    #[test]
    fn what_is_code_stays() {
        for text in [
            "goto",
            "'a'; goto",
            "fn f<'a>(x: &'a u8) { goto }",
            "let quote = '\"'; goto; let other = '\"';",
            "let c = '\\u{1F600}'; goto",
            "let c = 'é'; goto",
            "r#type; goto",
            r#""a\\"; goto"#,
            "/* x */ goto // goto",
            r##"r#"a"# ; goto"##,
            "for r in x { goto }",
        ] {
            assert_eq!(finds(text), 1, "{text}");
        }
        assert_eq!(finds("goto_x xgoto goto2"), 0);
    }

    #[test]
    fn positions_stay() {
        let text = "a\n\"x\ny\" /* é */ goto";
        let code = code_only(text);
        assert_eq!(code.len(), text.len());
        let at = words(&code, "goto").next().expect("one");
        assert_eq!(line_of(&code, at), 3);
    }
}
