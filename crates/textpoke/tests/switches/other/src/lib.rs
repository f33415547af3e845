//! A crate with keys that others use, and with sites of its own.
#![allow(unsafe_code, reason = "one function is exported for a library that is loaded")]

use textpoke::{static_branch_likely, static_branch_unlikely, static_key};

static_key! {
    /// Starts off.
    pub static OTHER_OFF: bool = false;
    /// Starts on.
    pub static OTHER_ON: bool = true;
    /// Starts off, several.
    pub static OTHER_MANY: [bool; 4] = false;
}

/// What branches in this crate see of this crate's keys: likely and unlikely of each.
#[inline(never)]
pub fn seen() -> [bool; 4] {
    [
        static_branch_likely!(OTHER_OFF),
        static_branch_unlikely!(OTHER_OFF),
        static_branch_likely!(OTHER_ON),
        static_branch_unlikely!(OTHER_ON),
    ]
}

/// The same, copied into its callers.
#[inline(always)]
pub fn seen_inlined() -> [bool; 4] {
    [
        static_branch_likely!(OTHER_OFF),
        static_branch_unlikely!(OTHER_OFF),
        static_branch_likely!(OTHER_ON),
        static_branch_unlikely!(OTHER_ON),
    ]
}

/// The same, once for each type.
pub fn seen_for<T: Default + Into<u64>>() -> [bool; 4] {
    let add = |on: bool| T::default().into() + u64::from(on) == 1;
    [
        add(static_branch_likely!(OTHER_OFF)),
        add(static_branch_unlikely!(OTHER_OFF)),
        add(static_branch_likely!(OTHER_ON)),
        add(static_branch_unlikely!(OTHER_ON)),
    ]
}
