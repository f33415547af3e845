//! Indirect jumps: jump tables, computed gotos, tail calls, and those that stay unknown.
//!
//! An indirect jump takes its target from somewhere: from a table of offsets that an
//! instruction of the same function points to, or from an 8-byte code address, which is then marked
//! as taken because a relocation, a data word or an instruction holds it. So if nothing of the kind leads
//! into a function, its indirect jumps leave it.

use crate::body::Body;
use crate::ehframe::{Cfa, Unwind};
use crate::isa::{Arch, Flow, Insn, Reference};
use crate::tables::Targets;
use crate::text::{Mark, Marks};

/// What an indirect jump is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Jump {
    /// A switch: goes to the targets that are marked as table entries.
    Table,
    /// A computed goto: goes to labels of the function whose addresses are taken.
    Goto,
    /// Leaves the function.
    Tail,
    /// Leaves the function, or goes to a label or table entry of it. All of these are marked.
    Either,
    /// Not known. Holds where the frame begins at the jump, if the unwind table tells.
    Unknown(Option<Cfa>),
}

/// Where the target of an indirect jump comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin<R> {
    /// Added up from a base and an offset.
    Sum,
    /// Added up from an address in the code and a scaled entry of a table of offsets, as nothing but switches do.
    Scaled,
    /// Loaded with an index, from an array of addresses at a known place.
    Indexed(u64),
    /// Loaded with an index, from an array of addresses that a register points to.
    IndexedFrom(R),
    /// Loaded or passed as it is.
    Pointer,
    /// From where nobody can tell: a far jump.
    Far,
    /// Not seen.
    Unknown,
}

fn jumps<I: Arch>(body: &Body<I>) -> impl Iterator<Item = (usize, &Insn<I::Raw>)> {
    body.insns.iter().enumerate().filter(|(_, i)| i.flow == Flow::JumpIndirect)
}

/// The indirect jumps that may go through a table.
pub(crate) fn table_jumps<'b, I: Arch>(body: &'b Body<I>, marks: &'b Marks) -> impl Iterator<Item = u64> + 'b {
    jumps(body).filter(|&(index, _)| I::origin(body, index, marks) != Origin::Pointer).map(|(_, i)| i.ip)
}

/// Whether a function jumps to what it added up, so that it must have a table of offsets.
pub(crate) fn adds_up<I: Arch>(body: &Body<I>, marks: &Marks) -> bool {
    jumps(body).any(|(index, _)| matches!(I::origin(body, index, marks), Origin::Sum | Origin::Scaled))
}

/// Decides what each indirect jump of a function is. `targets` are those of its tables.
pub(crate) fn classify<I: Arch>(
    body: &Body<I>,
    targets: &Targets,
    marks: &Marks,
    unwind: &Unwind<'_>,
) -> Vec<(u64, Jump)> {
    let start = body.parts[0].0;
    let labels = body.insns.iter().any(|i| i.ip != start && marks.get(Mark::Taken, i.ip));
    let tables = targets.offsets || !targets.addresses.is_empty();
    let computes = computes(body, start);
    let is_table = |at: u64| targets.addresses.iter().any(|t| t.start == at);
    jumps(body)
        .map(|(index, insn)| {
            let cfa = unwind.cfa_at(insn.ip);
            let framed = cfa.is_some_and(|c| c != I::ENTRY);
            let jump = match I::origin(body, index, marks) {
                Origin::Far => Jump::Unknown(cfa),
                Origin::Scaled if targets.offsets => Jump::Table,
                Origin::Scaled => Jump::Unknown(cfa),
                Origin::Indexed(table) if is_table(table) => Jump::Table,
                Origin::IndexedFrom(base) if I::points_to(body, base, &is_table) => Jump::Table,
                Origin::Sum if targets.offsets && (framed || !labels) => Jump::Table,
                // With a frame of its own the function cannot leave by a jump: the target is one of
                // those that are known to lead into it.
                _ if framed && (labels || tables) => Jump::Goto,
                // The target may have been computed from a label, or come from a table that was not found.
                Origin::Sum if !targets.offsets => Jump::Unknown(cfa),
                _ if framed || computes => Jump::Unknown(cfa),
                // Without a frame it can leave, and does if no address of this function is to be had.
                _ if labels => Jump::Either,
                Origin::Pointer | Origin::Indexed(_) => Jump::Tail,
                Origin::IndexedFrom(_) if targets.addresses.is_empty() => Jump::Tail,
                Origin::Unknown if !tables => Jump::Tail,
                _ => Jump::Either,
            };
            (insn.ip, jump)
        })
        .collect()
}

/// Whether a function computes an address inside itself, other than its start.
fn computes<I: Arch>(body: &Body<I>, start: u64) -> bool {
    let mut track = I::Track::default();
    let mut found = false;
    for insn in &body.insns {
        I::references(&mut track, insn, false, &mut |reference| {
            found |= matches!(reference, Reference::Address(at) if at != start && body.contains(at));
        });
        found |= insn.flow == Flow::Call(insn.next_ip());
    }
    found
}

/// The instruction that computed a register of the jump at an index, and its index, copies followed. `writes` tells
/// whether an instruction writes a register, `copied` from which other one it is a mere copy.
pub(crate) fn definition<I: Arch>(
    body: &Body<I>,
    jump: usize,
    mut register: I::Reg,
    marks: &Marks,
    mut writes: impl FnMut(&Insn<I::Raw>, I::Reg) -> bool,
    copied: impl Fn(&Insn<I::Raw>) -> Option<I::Reg>,
) -> Option<usize> {
    // Compilers compute the target right in front of the jump, rarely more than a few instructions away.
    const WINDOW: usize = 24;
    let mut at = jump;
    for _ in 0..WINDOW {
        // Where other ways join, the register may hold something else.
        if marks.entered(body.insns[at].ip) {
            return None;
        }
        at = body.before(at)?;
        let insn = &body.insns[at];
        // A conditional jump that is not taken changes nothing; a call may change anything.
        if !matches!(insn.flow, Flow::Next | Flow::Branch(_)) {
            return None;
        }
        if writes(insn, register) {
            match copied(insn) {
                Some(from) => register = from,
                None => return Some(at),
            }
        }
    }
    None
}
