//! Several instructions into one or several others: nobody may execute the first of one form and the second of another.

use textpoke::core::Kind;

use crate::arena::Arena;
use crate::isa;
use crate::storm::{storm, suited, turn};

fn run(name: &str, kind: Kind) {
    let _turn = turn();
    let mut arena = Arena::new(1 << 20);
    let all = (isa().pairs)(&mut arena);
    let text = arena.seal();
    let functions = suited(&all, kind);
    if functions.is_empty() {
        return println!("{name}: this instruction set has no such site");
    }
    storm(name, functions, kind);
    text.assert_untouched();
}

#[test]
fn displace() {
    run("displace", Kind::Displace);
}

/// The wait for late threads decides: nobody may be between the two when the second changes.
#[test]
fn pair() {
    run("pair", Kind::Pair);
}

#[test]
fn park_twice() {
    run("park_twice", Kind::ParkTwice);
}
