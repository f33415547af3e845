//! A library that is loaded while the program runs: it brings keys, sites of the program's keys, and its own copy of
//! textpoke along.
#![allow(unsafe_code, reason = "exported functions, and a key of the program")]

use textpoke::keys::StaticKey;
use textpoke::{static_branch_likely, static_branch_unlikely, static_key};

static_key! {
    static OWN_OFF: bool = false;
    static OWN_ON: bool = true;
    static EARLY: bool = false;
}

unsafe extern "C" {
    /// The program's.
    safe static SHARED_OFF: StaticKey<false>;
    /// The program's.
    safe static SHARED_ON: StaticKey<true>;
}

fn bits(all: &[bool]) -> u32 {
    all.iter().rev().fold(0, |bits, &on| bits << 1 | u32::from(on))
}

/// Likely and unlikely of the program's two keys, a bit each.
#[unsafe(no_mangle)]
extern "C" fn plugin_shared() -> u32 {
    bits(&[
        static_branch_likely!(SHARED_OFF),
        static_branch_unlikely!(SHARED_OFF),
        static_branch_likely!(SHARED_ON),
        static_branch_unlikely!(SHARED_ON),
    ])
}

/// Likely and unlikely of this library's two keys.
#[unsafe(no_mangle)]
extern "C" fn plugin_own() -> u32 {
    bits(&[
        static_branch_likely!(OWN_OFF),
        static_branch_unlikely!(OWN_OFF),
        static_branch_likely!(OWN_ON),
        static_branch_unlikely!(OWN_ON),
    ])
}

/// Turns this library's keys.
#[unsafe(no_mangle)]
extern "C" fn plugin_turn_own(off: bool, on: bool) -> bool {
    OWN_OFF.set(off).and_then(|()| OWN_ON.set(on)).is_ok()
}

/// Turns the program's keys, by this library's copy of textpoke.
#[unsafe(no_mangle)]
extern "C" fn plugin_turn_shared(off: bool, on: bool) -> bool {
    SHARED_OFF.set(off).and_then(|()| SHARED_ON.set(on)).is_ok()
}

/// Whether the constructor below saw its key turn.
#[unsafe(no_mangle)]
extern "C" fn plugin_early() -> bool {
    EARLY.is_enabled() && static_branch_unlikely!(EARLY) && static_branch_likely!(EARLY)
}

/// Turns a key in a constructor of the library, and looks.
extern "C" fn constructor() {
    if static_branch_unlikely!(EARLY) || EARLY.enable().is_err() || !static_branch_unlikely!(EARLY) {
        std::process::abort();
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

/// Has this library's copy of textpoke use traps, so that the handler is its own.
#[unsafe(no_mangle)]
extern "C" fn plugin_use_traps() {
    textpoke::keys::use_protocol(textpoke::keys::Protocol::Breakpoint);
}
