//! A program that only *contains* keys, for the tests of `textpoke keys`: no library in it ever opened anything.
//!
//! It answers one line on standard output for each line on standard input: what all its threads saw since.
#![allow(missing_docs, reason = "a program for tests")]

use std::hint::black_box;
use textpoke_keys::{
    call, read_imm, static_branch_likely, static_branch_unlikely, static_call, static_imm, static_key,
};

/// Whoever changes the keys is outside.
enum Nobody {}

static_key! {
    in Nobody;
    static VERBOSE: bool = false;
    static FAST: bool = true;
    static FEATURES: [bool; 3] = false;
}
static_imm! {
    in Nobody;
    static LIMIT: u32 = 100;
    static BIG: i64 = -2;
}

extern "C" fn twice(n: u32) -> u32 {
    2 * n
}
static_call! {
    in Nobody;
    static SCALE: extern "C" fn(u32) -> u32 = twice;
    static HOOK: extern "C" fn(u32) = None;
}

#[inline(never)]
fn look() -> String {
    let features = [
        static_branch_unlikely!(FEATURES[0]),
        static_branch_unlikely!(FEATURES[1]),
        static_branch_unlikely!(FEATURES[2]),
    ];
    call!(HOOK(1));
    format!(
        "{} {} {} {} {features:?} {} {} {}",
        static_branch_unlikely!(VERBOSE),
        static_branch_likely!(VERBOSE),
        static_branch_unlikely!(FAST),
        static_branch_likely!(FAST),
        read_imm!(LIMIT),
        read_imm!(BIG),
        call!(SCALE(black_box(21))),
    )
}

fn main() {
    println!("ready");
    for _ in std::io::stdin().lines() {
        println!("{}", look());
    }
}
