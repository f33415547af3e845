//! Columns of text that wrap inside themselves.

/// Breaks a text between words into lines of at most `width` characters; a longer word keeps its line to itself.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    fill(text.split_whitespace(), width)
}

/// The same for what must not be broken inside, such as names of several words.
#[must_use]
pub fn fill<'a>(pieces: impl Iterator<Item = &'a str>, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for piece in pieces {
        let last = lines.len() - 1;
        if lines[last].is_empty() {
            lines[last].push_str(piece);
        } else if chars(&lines[last]) + 1 + chars(piece) <= width {
            lines[last].push(' ');
            lines[last].push_str(piece);
        } else {
            lines.push(piece.into());
        }
    }
    lines
}

/// `label`, then `text` in the column that begins at `indent`, wrapped there.
#[must_use]
pub fn hang(label: &str, indent: usize, text: &str, width: usize) -> String {
    let mut out = String::new();
    for (i, line) in wrap(text, width.saturating_sub(indent)).iter().enumerate() {
        out += &pad(if i == 0 { label } else { "" }, indent);
        out += line;
        out.push('\n');
    }
    out
}

/// The text with spaces behind it up to `width` characters.
#[must_use]
pub fn pad(text: &str, width: usize) -> String {
    format!("{text:<width$}")
}

/// Its width, as terminals have it for the characters that we use.
#[must_use]
pub fn chars(text: &str) -> usize {
    text.chars().count()
}

/// Narrows the widest columns, none below `least`, until all together fit into `room`.
pub fn squeeze(widths: &mut [usize], least: usize, room: usize) {
    while widths.iter().sum::<usize>() > room {
        match widths.iter_mut().max() {
            Some(widest) if *widest > least => *widest -= 1,
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kept_whole() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("incomprehensible a b", 3), ["incomprehensible", "a b"]);
        assert_eq!(wrap("", 3), [""]);
        assert_eq!(hang("  a", 5, "b c", 6), "  a  b\n     c\n");
    }

    #[test]
    fn the_widest_gives_way() {
        let mut widths = [40, 20, 10];
        squeeze(&mut widths, 12, 50);
        assert_eq!(widths, [20, 20, 10]);
        squeeze(&mut widths, 12, 1);
        assert_eq!(widths, [12, 12, 10]);
    }
}
