//! What is asked of a key, and what that makes of it. Who carries it out is a [`Machine`].

use core::fmt;

use crate::abi::Key;

/// What shall become of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// On, if it is off.
    Enable,
    /// Off, if it is on.
    Disable,
    /// One more has it on.
    Increment,
    /// One less has it on.
    Decrement,
    /// This value: for calls and immediates.
    Set(u64),
}

/// A key and what is asked of it.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The key.
    pub key: &'static Key,
    /// What is asked.
    pub ask: Ask,
}

/// What a key cannot become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// It was to be disabled, but so many have it on: they decrement it when they are done.
    Counted(u32),
    /// It was to be decremented more often than incremented.
    NotCounted,
    /// More than `u32::MAX` have it on.
    Full,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counted(users) => {
                write!(
                    f,
                    "{users} users have the key on: `dec` takes one away, `disable` is for keys that are not counted"
                )
            }
            Self::NotCounted => f.write_str("`dec` without an `inc` before it"),
            Self::Full => f.write_str("the count of the key is at its end"),
        }
    }
}

impl core::error::Error for Misuse {}

impl Ask {
    /// What becomes of a key with this count and value.
    pub const fn of(self, count: u32, value: u64) -> Result<(u32, u64), Misuse> {
        let count = match (self, count) {
            (Self::Set(value), _) => return Ok((count, value)),
            (Self::Enable, 0) => 1,
            (Self::Enable, _) => return Ok((count, value)),
            (Self::Disable, 0 | 1) => 0,
            (Self::Disable, users) => return Err(Misuse::Counted(users)),
            (Self::Increment, u32::MAX) => return Err(Misuse::Full),
            (Self::Increment, _) => count + 1,
            (Self::Decrement, 0) => return Err(Misuse::NotCounted),
            (Self::Decrement, _) => count - 1,
        };
        Ok((count, (count != 0) as u64))
    }
}

/// Who changes keys: the type parameter of each of them.
pub trait Machine {
    /// Why it did not.
    type Error: From<Misuse>;

    /// Makes all changes in one batch, in this order where several concern one key, or none of them. When it returns,
    /// every CPU acts on the new values, and they are published.
    fn apply(changes: &[Change]) -> Result<(), Self::Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting() {
        use Ask::*;
        assert_eq!(Enable.of(0, 0), Ok((1, 1)));
        assert_eq!(Enable.of(3, 1), Ok((3, 1)));
        assert_eq!(Disable.of(1, 1), Ok((0, 0)));
        assert_eq!(Disable.of(0, 0), Ok((0, 0)));
        assert_eq!(Disable.of(2, 1), Err(Misuse::Counted(2)));
        assert_eq!(Increment.of(0, 0), Ok((1, 1)));
        assert_eq!(Increment.of(u32::MAX, 1), Err(Misuse::Full));
        assert_eq!(Decrement.of(2, 1), Ok((1, 1)));
        assert_eq!(Decrement.of(1, 1), Ok((0, 0)));
        assert_eq!(Decrement.of(0, 0), Err(Misuse::NotCounted));
        assert_eq!(Set(7).of(0, 3), Ok((0, 7)));
    }
}
