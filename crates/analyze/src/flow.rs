//! Every place that control can come to: one pass over all code of the file, before any decision.
//!
//! The pass is linear and covers what lies between functions too. Where it decodes data it finds
//! targets that do not exist, which can only lead to refusals.

use core::ops::ControlFlow;

use crate::elf::Image;
use crate::fragments::{Fragment, containing};
use crate::isa::{Arch, Flow as To, Insn, Reference, each};
use crate::text::{Mark, Marks, Text};

/// A jump from one fragment into another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    pub from: usize,
    pub to: u64,
}

/// What the pass found, besides the marks.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    pub edges: Vec<Edge>,
    /// Per fragment: it has an indirect jump.
    pub indirect: Vec<bool>,
}

/// Marks all targets of all code.
pub(crate) fn sweep<I: Arch>(image: &Image<'_>, text: &Text, fragments: &[Fragment], marks: &mut Marks) -> Flow {
    let mut flow = Flow { edges: Vec::new(), indirect: vec![false; fragments.len()] };
    let mut found = Vec::new();
    for (index, fragment) in fragments.iter().enumerate() {
        let mut runs_on = false;
        walk::<I>(image, text, marks, (fragment.start, fragment.end), &mut found, |insn| {
            runs_on = runs_into_next::<I>(insn);
            flow.indirect[index] |= insn.flow == To::JumpIndirect;
            if let Some(to) = insn.jump_target().filter(|&t| t < fragment.start || t >= fragment.end)
                && text.contains(to)
            {
                flow.edges.push(Edge { from: index, to });
            }
        });
        if runs_on {
            marks.set(Mark::Branch, fragment.end);
        }
    }
    for range in text.ranges.iter().filter(|r| !r.stubs) {
        let mut at = range.vaddr;
        let inside = fragments.iter().skip(fragments.partition_point(|f| f.start < range.vaddr));
        for fragment in inside.take_while(|f| f.start < range.end) {
            if at < fragment.start {
                walk::<I>(image, text, marks, (at, fragment.start), &mut found, |_| {});
            }
            at = at.max(fragment.end);
        }
        walk::<I>(image, text, marks, (at, range.end), &mut found, |_| {});
    }
    flow
}

/// Decodes a range, step by step over what is no instruction, and marks what it refers to.
fn walk<I: Arch>(
    image: &Image<'_>,
    text: &Text,
    marks: &mut Marks,
    range: (u64, u64),
    found: &mut Vec<(Mark, u64, u64)>,
    mut visit: impl FnMut(&Insn<I::Raw>),
) {
    let fixed = !image.is_shared();
    let mut track = I::Track::default();
    // The walk reads the marks, so that new ones wait for its end.
    let _ = each::<I>(image, marks, range, |insn| {
        if insn.flow == To::Invalid {
            return ControlFlow::Continue(());
        }
        visit(&insn);
        I::references(&mut track, &insn, fixed, &mut |reference| match reference {
            Reference::Address(at) if at.is_multiple_of(I::ALIGN) => found.push((Mark::Taken, at, 1)),
            Reference::Bytes(at, len) if text.contains(at) => found.push((Mark::Data, at, len)),
            _ => {}
        });
        if let Some(target) = insn.target() {
            let mark = if insn.is_call() { Mark::Called } else { Mark::Branch };
            found.push((mark, target, 1));
        }
        ControlFlow::Continue(())
    });
    for (mark, at, len) in found.drain(..) {
        (0..len).for_each(|i| marks.set(mark, at.wrapping_add(i)));
    }
}

/// Whether control goes on behind the last instruction of a piece of code. A call does not return
/// there, or the compiler would have put something behind it.
pub(crate) fn runs_into_next<I: Arch>(last: &Insn<I::Raw>) -> bool {
    matches!(last.flow, To::Next | To::Branch(_)) && !I::is_nop(last)
}

/// Finds the function of every cold part: the only one that jumps into it, else the one its name tells.
///
/// In a stripped file, code without a frame that nobody calls and whose address nobody takes, but
/// that one function jumps into, is a cold part too.
pub(crate) fn assign_cold_parts(fragments: &mut [Fragment], edges: &[Edge], marks: &Marks) {
    let mut sources: Vec<Vec<usize>> = vec![Vec::new(); fragments.len()];
    for edge in edges {
        if let Some(to) = containing(fragments, edge.to)
            && to != edge.from
            && !sources[to].contains(&edge.from)
        {
            sources[to].push(edge.from);
        }
    }
    for (index, fragment) in fragments.iter_mut().enumerate() {
        let known = marks.get(Mark::Called, fragment.start) || marks.get(Mark::Taken, fragment.start);
        let stripped = fragment.source == crate::functions::Source::EhFrame;
        if stripped && !known && sources[index].len() == 1 {
            fragment.cold = true;
        }
        // LLVM's hot-cold splitting names real functions, which are called, like cold parts.
        let called = marks.get(Mark::Called, fragment.start);
        if fragment.cold && !stripped && called && crate::names::cold_parent(&fragment.name).is_some() {
            fragment.cold = false;
        }
    }
    for index in 0..fragments.len() {
        if fragments[index].cold {
            fragments[index].owner = owner(fragments, &sources, index);
        }
    }
    let by_name: std::collections::HashMap<&str, Option<usize>> =
        fragments.iter().enumerate().filter(|(_, f)| !f.cold).fold(Default::default(), |mut map, (i, f)| {
            map.entry(f.name.as_str()).and_modify(|e| *e = None).or_insert(Some(i));
            map
        });
    let named: Vec<(usize, usize)> = (0..fragments.len())
        .filter(|&i| fragments[i].cold && fragments[i].owner.is_none() && sources[i].is_empty())
        .filter_map(|i| Some((i, (*by_name.get(crate::names::cold_parent(&fragments[i].name)?)?)?)))
        .collect();
    for (cold, owner) in named {
        fragments[cold].owner = Some(owner);
    }
}

/// The one function from which control reaches a cold part, directly or through other cold parts.
fn owner(fragments: &[Fragment], sources: &[Vec<usize>], cold: usize) -> Option<usize> {
    let mut seen = vec![cold];
    let mut next = 0;
    let mut found = None;
    while let Some(&at) = seen.get(next) {
        next += 1;
        for &from in &sources[at] {
            // The function that a cold part jumps back to is not its cold part.
            if !fragments[from].cold {
                if found.is_some_and(|f| f != from) {
                    return None;
                }
                found = Some(from);
            } else if !seen.contains(&from) {
                // Chains of cold parts are short; a long one is not worth being certain about.
                if seen.len() > 8 {
                    return None;
                }
                seen.push(from);
            }
        }
    }
    found
}
