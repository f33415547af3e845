//! Where there is nothing to run: another instruction set or operating system.

use crate::judge::Table;
use crate::spec::{Error, Options};

/// Refuses.
///
/// # Errors
/// Always [`Error::Elsewhere`].
pub fn run(_: &Options, _: &mut dyn FnMut(usize, usize, &str)) -> Result<Table, Error> {
    Err(Error::Elsewhere)
}

/// There are no children here.
pub fn main(_: &str) -> u8 {
    2
}
