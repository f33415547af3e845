//! One instruction into another: every pair that a protocol admits.

use textpoke::core::Kind;

use crate::arena::Arena;
use crate::isa;
use crate::storm::{storm, suited, turn};

fn run(name: &str, kind: Kind) {
    let _turn = turn();
    let mut arena = Arena::new(1 << 20);
    let all = (isa().singles)(&mut arena);
    let text = arena.seal();
    storm(name, suited(&all, kind), kind);
    text.assert_untouched();
}

/// One store where the architecture allows it; on x86-64 that it holds on the CPU of the test is what is tested.
#[test]
fn word() {
    run("word", Kind::Word);
}

/// Trap first, which threads run into and act as the new instruction.
#[test]
fn breakpoint() {
    run("breakpoint", Kind::Breakpoint);
}

/// Any instruction into any other, while everybody else is parked.
#[test]
fn park() {
    run("park", Kind::Park);
}
