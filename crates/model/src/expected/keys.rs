//! Static keys.

use super::{Expect, Row, SAFE, amd, bytewise, cut, intel};
use crate::property::Violation::*;
use crate::scenario::Profile::{self, *};

const fn torn() -> Expect {
    Expect::Unsafe(Torn, None)
}

/// The branch of a key, by each protocol that may change one; where its bytes are cut, and when steps fail.
pub(super) const BRANCH: &[Row] = &[
    amd("a key's branch, one store", "branch-word", SAFE),
    cut(amd("the same inside a quadword", "branch-word", SAFE), 0),
    two(amd("the same, two sites", "branch-word", SAFE)),
    fails(Amd, "branch-word"),
    killed(Amd, "branch-word"),
    intel("a key's branch, one store", "branch-word", torn()),
    intel("the same, eight bytes at once", "branch-word-eight", SAFE),
    intel("the same, any one byte", "branch-word-byte", SAFE),
    bytewise(intel("a key's branch, trap first", "branch-breakpoint", SAFE)),
    bytewise(amd("a key's branch, trap first", "branch-breakpoint", SAFE)),
    bytewise(cut(amd("the same inside a quadword", "branch-breakpoint", SAFE), 0)),
    bytewise(two(intel("the same, two sites", "branch-breakpoint", SAFE))),
    bytewise(two(amd("the same, two sites", "branch-breakpoint", SAFE))),
    fails(Intel, "branch-breakpoint"),
    fails(Amd, "branch-breakpoint"),
    killed(Intel, "branch-breakpoint"),
    killed(Amd, "branch-breakpoint"),
    amd("a key's branch, short jump", "branch-short_jump", SAFE),
    intel("a key's branch, short jump", "branch-short_jump", torn()),
    intel("the same, two bytes at once", "branch-short_jump-half", SAFE),
    amd("who is in front of the jump takes it", "branch-inside", Expect::Unsafe(Stale, None)),
];

const fn two(mut row: Row) -> Row {
    row.shape.sites = 2;
    row
}

const fn fails(profile: Profile, check: &'static str) -> Row {
    let row = super::row("the same, every step fails once", check, profile, SAFE);
    bytewise(Row { failures: Some(1), ..row })
}

const fn killed(profile: Profile, check: &'static str) -> Row {
    let row = super::row("the same, killed and repaired, any order", check, profile, SAFE);
    bytewise(Row { killed: true, any_order: true, ..row })
}
