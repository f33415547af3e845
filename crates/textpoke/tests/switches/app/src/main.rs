//! Checks itself: `app WHAT [PLUGIN]`. Exits with 0 if all is as it should be.
#![allow(unsafe_code, reason = "a key for a library, libraries, forks, signal masks")]

mod fork;
mod library;
mod matrix;
mod storm;
mod sys;
mod trouble;

use textpoke::static_key;

static_key! {
    static EARLY: bool = false;
    /// For the library that is loaded.
    #[unsafe(no_mangle)]
    static SHARED_OFF: bool = false;
    /// For the library that is loaded.
    #[unsafe(no_mangle)]
    static SHARED_ON: bool = true;
}

/// Turns a key before `main`.
extern "C" fn constructor() {
    if textpoke::static_branch_unlikely!(EARLY) || EARLY.enable().is_err() || !textpoke::static_branch_unlikely!(EARLY)
    {
        std::process::abort();
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments[1..].iter().map(String::as_str).collect();
    assert!(EARLY.is_enabled() && textpoke::static_branch_likely!(EARLY), "turned before main");
    match words[..] {
        ["matrix"] => matrix::run(),
        ["library", path] => library::run(path),
        ["coming-and-going", path, times] => library::comes_and_goes(path, times.parse().expect("a number")),
        ["fork"] => fork::run(),
        ["fork-storm", times] => fork::storm(times.parse().expect("a number")),
        ["storm", flips] => storm::run(Some(flips.parse().expect("a number"))),
        ["storm"] => storm::run(None),
        ["storm-of-traps", flips] => {
            textpoke::keys::use_protocol(textpoke::keys::Protocol::Breakpoint);
            storm::run(Some(flips.parse().expect("a number")));
        }
        ["trouble"] => trouble::run(),
        ["killed"] => trouble::killed(),
        ["handler-in-library", path] => library::with_handler(path),
        ["blocked"] => trouble::blocked(),
        ["looked-at"] => println!("{}", without_a_branch(1) + with_a_branch_likely(1) + with_a_branch_unlikely(1)),
        _ => panic!("what is {words:?}?"),
    }
}

static_key! {
    static LOOKED_AT_OFF: bool = false;
    static LOOKED_AT_ON: bool = true;
}

/// What the next two are compared with.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn without_a_branch(n: u64) -> u64 {
    n * 3 + 1
}

/// Disassembled by the test.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn with_a_branch_unlikely(n: u64) -> u64 {
    if textpoke::static_branch_unlikely!(LOOKED_AT_OFF) {
        return cold(n);
    }
    n * 3 + 1
}

/// Disassembled by the test.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn with_a_branch_likely(n: u64) -> u64 {
    if !textpoke::static_branch_likely!(LOOKED_AT_ON) {
        return cold(n);
    }
    n * 3 + 1
}

#[cold]
#[inline(never)]
fn cold(n: u64) -> u64 {
    std::hint::black_box(n)
}
