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

/// Who acts as a branch in a handler leaves the processor's mark of the indirect call before it behind, as the branch does:
/// with the mark, guarded code would take it for a call of something that is no landing pad.
#[test]
fn a_trap_at_the_target_of_an_indirect_call_leads_into_guarded_code() {
    const PROT_BTI: u32 = 0x10;
    let _turn = turn();
    let (mut open, mut guarded) = (Arena::new(4096), Arena::new(4096));
    let Some(function) = (isa().guarded)(&mut open, &mut guarded) else {
        return println!("this instruction set has no such mark");
    };
    let text = open.seal();
    if guarded.seal_with(PROT_BTI).is_err() {
        return println!("this machine guards no pages");
    }
    storm("guarded", vec![function], Kind::Breakpoint);
    text.assert_untouched();
}
