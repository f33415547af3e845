//! What labels and distances mean to the instruction that names them.

use std::collections::BTreeMap;

use super::source::Refusal;
use super::token::{Token, Tokens};
use super::value::{CodeAddress, Target};

/// All labels: by process, then by name.
pub type Table = BTreeMap<(u8, String), CodeAddress>;

/// The labels as one instruction sees them.
pub struct Labels<'a> {
    /// All of them.
    pub table: &'a Table,
    /// Process and place of the instruction; none for one that stands in quotes.
    pub here: Option<(u8, CodeAddress)>,
}

impl Labels<'_> {
    /// Reads `name`, `.+8` or `.-4`.
    ///
    /// # Errors
    /// There is no such label, several processes have it, or the distance is not a multiple of 4.
    pub fn target(&self, tokens: &mut Tokens<'_>) -> Result<Target, Refusal> {
        let at = tokens.at();
        if tokens.accept('.') {
            let back = !tokens.accept('+') && tokens.peek() == Some(&Token::Sign('-'));
            let bytes = tokens.int("a distance")?;
            let words = i16::try_from(bytes / 4).ok().filter(|_| bytes % 4 == 0 && (bytes <= 0 || !back));
            return words.map(Target::Relative).ok_or_else(|| {
                tokens.source().refuse(at, format!("a distance of {bytes} bytes reaches no instruction"))
            });
        }
        let name = tokens.word("a label")?;
        match self.here {
            Some((process, here)) => match self.table.get(&(process, name.clone())) {
                Some(there) => Ok(Target::Label(*there).placed(here)),
                None => Err(tokens.source().refuse(at, format!("P{process} has no label \"{name}\""))),
            },
            None => {
                let mut found = self.table.iter().filter(|((_, label), _)| *label == name);
                match (found.next(), found.next()) {
                    (Some((_, there)), None) => Ok(Target::Label(*there)),
                    (None, _) => Err(tokens.source().refuse(at, format!("there is no label \"{name}\""))),
                    (Some(_), Some(_)) => {
                        Err(tokens.source().refuse(at, format!("several processes have a label \"{name}\"")))
                    }
                }
            }
        }
    }
}
