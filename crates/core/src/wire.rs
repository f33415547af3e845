//! Kinds, directions, causes and verdicts as numbers, for memory that two processes share.
//!
//! Whoever reads such memory trusts nothing in it: what is no number of ours is `None`.

use crate::protocol::Kind;
use crate::site::Direction;
use crate::step::{Cause, Outcome, Reason, Verdict};

impl Kind {
    /// Its number.
    pub const fn to_raw(self) -> u32 {
        self as u32
    }

    /// The protocol with this number.
    pub fn from_raw(raw: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.to_raw() == raw)
    }
}

impl Direction {
    /// Its number.
    pub const fn to_raw(self) -> u32 {
        self as u32
    }

    /// The direction with this number.
    pub fn from_raw(raw: u32) -> Option<Self> {
        [Self::Install, Self::Remove].into_iter().find(|dir| dir.to_raw() == raw)
    }
}

impl Cause {
    /// As two words; the first is never 0.
    pub const fn to_words(self) -> [u64; 2] {
        match self {
            Self::Os(errno) => [1, errno as u32 as u64],
            Self::Mismatch(addr) => [2, addr],
            Self::Inside(addr) => [3, addr],
            Self::TimedOut => [4, 0],
            Self::Unsupported => [5, 0],
        }
    }

    /// From two words.
    pub fn from_words([code, value]: [u64; 2]) -> Option<Self> {
        Some(match code {
            1 => Self::Os(u32::try_from(value).ok()? as i32),
            2 => Self::Mismatch(value),
            3 => Self::Inside(value),
            4 => Self::TimedOut,
            5 => Self::Unsupported,
            _ => return None,
        })
    }
}

impl Outcome {
    /// As two words.
    pub const fn to_words(self) -> [u64; 2] {
        match self {
            Self::Start => [6, 0],
            Self::Ok => [0, 0],
            Self::Failed(cause) => cause.to_words(),
        }
    }

    /// From two words.
    pub fn from_words(words: [u64; 2]) -> Option<Self> {
        match words[0] {
            0 => Some(Self::Ok),
            6 => Some(Self::Start),
            _ => Cause::from_words(words).map(Self::Failed),
        }
    }
}

impl Verdict {
    /// As seven words.
    pub const fn to_words(self) -> [u64; 7] {
        match self {
            Self::Performed(dir) => [1, dir.to_raw() as u64, 0, 0, 0, 0, 0],
            Self::Undone(Reason { step, cause }) => {
                let [code, value] = cause.to_words();
                [2, step as u64, code, value, 0, 0, 0]
            }
            Self::Broken(first, second) => {
                let ([a, b], [c, d]) = (first.cause.to_words(), second.cause.to_words());
                [3, first.step as u64, a, b, second.step as u64, c, d]
            }
        }
    }

    /// From seven words.
    pub fn from_words([code, a, b, c, d, e, f]: [u64; 7]) -> Option<Self> {
        let reason = |step, cause, value| {
            Some(Reason { step: u8::try_from(step).ok()?, cause: Cause::from_words([cause, value])? })
        };
        Some(match code {
            1 => Self::Performed(Direction::from_raw(u32::try_from(a).ok()?)?),
            2 => Self::Undone(reason(a, b, c)?),
            3 => Self::Broken(reason(a, b, c)?, reason(d, e, f)?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAUSES: [Cause; 6] = [
        Cause::Os(12),
        Cause::Os(-1),
        Cause::Mismatch(u64::MAX),
        Cause::Inside(0x40_0000),
        Cause::TimedOut,
        Cause::Unsupported,
    ];

    #[test]
    fn everything_survives_the_way() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_raw(kind.to_raw()), Some(kind));
        }
        for dir in [Direction::Install, Direction::Remove] {
            assert_eq!(Direction::from_raw(dir.to_raw()), Some(dir));
            let v = Verdict::Performed(dir);
            assert_eq!(Verdict::from_words(v.to_words()), Some(v));
        }
        for outcome in CAUSES.map(Outcome::Failed).into_iter().chain([Outcome::Ok, Outcome::Start]) {
            assert_eq!(Outcome::from_words(outcome.to_words()), Some(outcome));
        }
        for first in CAUSES {
            for second in CAUSES {
                let (a, b) = (Reason { step: 3, cause: first }, Reason { step: 255, cause: second });
                for v in [Verdict::Undone(a), Verdict::Broken(a, b)] {
                    assert_eq!(Verdict::from_words(v.to_words()), Some(v));
                }
            }
        }
    }

    #[test]
    fn other_numbers_mean_nothing() {
        assert_eq!(Kind::from_raw(99), None);
        assert_eq!(Direction::from_raw(2), None);
        assert_eq!(Outcome::from_words([7, 0]), None);
        assert_eq!(Cause::from_words([1, 1 << 32]), None);
        assert_eq!(Verdict::from_words([4, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(Verdict::from_words([1, 1 << 32, 0, 0, 0, 0, 0]), None);
        assert_eq!(Verdict::from_words([2, 256, 4, 0, 0, 0, 0]), None);
    }
}
