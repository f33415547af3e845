//! A library with keys, for the tests of `textpoke keys`.
#![allow(missing_docs, unsafe_code, reason = "a library for tests")]

use textpoke_keys::{static_branch_unlikely, static_key};

enum Nobody {}

static_key! {
    in Nobody;
    static PLUGGED: bool = false;
}

#[unsafe(no_mangle)]
pub extern "C" fn plugged() -> u32 {
    u32::from(static_branch_unlikely!(PLUGGED))
}
