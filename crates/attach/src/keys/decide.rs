//! What an operation means for a key as it is: pure.

use textpoke_keys::abi::Kind;
use textpoke_keys::change::{Ask, Misuse};

use super::tables::Key;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// On, for one user, if it is off.
    Enable,
    /// Off, if it is on for one user.
    Disable,
    /// On for one user more.
    Inc,
    /// On for one user fewer.
    Dec,
    /// This number.
    Set(i128),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It is so already.
    Nothing,
    /// Only the number of users becomes this, and the key stays on.
    Count(u32),
    /// The code changes, to this value.
    Turn(u64),
}

/// What to do with a key whose count is `count`. The error is for a person, without the key's name.
pub fn decide(key: &Key, count: u32, op: Operation) -> Result<Act, String> {
    match (key.kind, op) {
        (Kind::Branch, Operation::Set(_)) => {
            Err("is a branch, on or off, and no number: use enable, disable, inc or dec".into())
        }
        (Kind::Branch, Operation::Enable) => branch(count, key.value, Ask::Enable),
        (Kind::Branch, Operation::Disable) => branch(count, key.value, Ask::Disable),
        (Kind::Branch, Operation::Inc) => branch(count, key.value, Ask::Increment),
        (Kind::Branch, Operation::Dec) => branch(count, key.value, Ask::Decrement),
        (Kind::Imm, Operation::Set(number)) => {
            let bits = u32::from(key.width) * 8;
            if number >= 1 << bits || number < -(1 << (bits - 1)) {
                return Err(format!("has {bits} bits, too few for {number}"));
            }
            let value = (number as u64) & (u64::MAX >> (64 - bits));
            Ok(if value == key.value { Act::Nothing } else { Act::Turn(value) })
        }
        (Kind::Imm, _) => Err("is a number, not on or off: use set NAME VALUE".into()),
        (Kind::Call, _) => {
            Err("is a call: which functions fit to it only the program knows; it is changed by the program".into())
        }
    }
}

fn branch(count: u32, value: u64, ask: Ask) -> Result<Act, String> {
    let (users, to) = ask.of(count, value).map_err(|misuse| match misuse {
        Misuse::Counted(users) => {
            format!("is on for {users} users: take one away with dec, and it goes off with the last")
        }
        Misuse::NotCounted => "is off, for nobody has it on: there is nothing to take away".into(),
        other => other.to_string(),
    })?;
    Ok(match () {
        () if to != value => Act::Turn(to),
        () if users != count => Act::Count(users),
        () => Act::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: Kind, width: u8, value: u64) -> Key {
        let text = String::new;
        Key {
            at: 0,
            object: 0,
            kind,
            width,
            count: 0,
            value,
            initial: 0,
            name: text(),
            file: text(),
            line: 0,
            index: None,
            sites: Vec::new(),
        }
    }

    #[test]
    fn a_branch_turns_with_its_first_and_last_user() {
        use Operation::*;
        let all = |count| {
            let key = key(Kind::Branch, 1, u64::from(count != 0));
            [Enable, Disable, Inc, Dec].map(|op| decide(&key, count, op).ok())
        };
        assert_eq!(all(0), [Some(Act::Turn(1)), Some(Act::Nothing), Some(Act::Turn(1)), None]);
        assert_eq!(all(1), [Some(Act::Nothing), Some(Act::Turn(0)), Some(Act::Count(2)), Some(Act::Turn(0))]);
        assert_eq!(all(2), [Some(Act::Nothing), None, Some(Act::Count(3)), Some(Act::Count(1))]);
        assert_eq!(all(u32::MAX), [Some(Act::Nothing), None, None, Some(Act::Count(u32::MAX - 1))]);
    }

    #[test]
    fn numbers_fit_or_are_refused() {
        let set = |width, number| decide(&key(Kind::Imm, width, 7), 0, Operation::Set(number));
        assert_eq!(set(1, 255), Ok(Act::Turn(255)));
        assert_eq!(set(1, -1), Ok(Act::Turn(255)));
        assert_eq!(set(1, 7), Ok(Act::Nothing));
        assert_eq!(set(8, -2), Ok(Act::Turn(u64::MAX - 1)));
        assert_eq!(set(8, i128::from(u64::MAX)), Ok(Act::Turn(u64::MAX)));
        assert!(set(1, 256).is_err() && set(1, -129).is_err() && set(4, 1 << 32).is_err() && set(8, 1 << 64).is_err());
    }

    #[test]
    fn what_does_not_fit_the_kind_is_refused() {
        assert!(decide(&key(Kind::Imm, 4, 0), 0, Operation::Enable).unwrap_err().contains("set NAME VALUE"));
        assert!(decide(&key(Kind::Branch, 1, 0), 0, Operation::Set(1)).unwrap_err().contains("enable"));
        assert!(decide(&key(Kind::Call, 8, 0), 0, Operation::Disable).is_err());
    }
}
