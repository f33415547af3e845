//! Every place that control can come to: one pass over all code of the file, before any decision.
//!
//! The pass is linear and covers what lies between functions too. Where it decodes data it finds
//! targets that do not exist, which can only lead to refusals.

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind};

use crate::elf::Image;
use crate::fragments::{Fragment, containing};
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
pub(crate) fn sweep(image: &Image<'_>, text: &Text, fragments: &[Fragment], marks: &mut Marks) -> Flow {
    let mut flow = Flow { edges: Vec::new(), indirect: vec![false; fragments.len()] };
    let fixed = !image.is_shared();
    for (index, fragment) in fragments.iter().enumerate() {
        let mut runs_on = false;
        walk(image, fragment.start, fragment.end, |insn| {
            let target = note(insn, text, marks, fixed);
            runs_on = runs_into_next(insn);
            flow.indirect[index] |= insn.flow_control() == FlowControl::IndirectBranch;
            if let Some(to) = target.filter(|&t| t < fragment.start || t >= fragment.end)
                && insn.flow_control() != FlowControl::Call
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
                walk(image, at, fragment.start, |insn| {
                    note(insn, text, marks, fixed);
                });
            }
            at = at.max(fragment.end);
        }
        walk(image, at, range.end, |insn| {
            note(insn, text, marks, fixed);
        });
    }
    flow
}

/// Decodes from `start` to `end`, byte by byte over what is no instruction.
fn walk(image: &Image<'_>, start: u64, end: u64, mut visit: impl FnMut(&Instruction)) {
    let Some(bytes) = end.checked_sub(start).and_then(|len| image.bytes_at(start, len)) else { return };
    let mut decoder = Decoder::with_ip(64, bytes, start, DecoderOptions::NONE);
    let mut insn = Instruction::default();
    while decoder.can_decode() {
        let position = decoder.position();
        decoder.decode_out(&mut insn);
        if insn.is_invalid() {
            let next = position + 1;
            if decoder.set_position(next).is_err() {
                return;
            }
            decoder.set_ip(start + next as u64);
            continue;
        }
        visit(&insn);
    }
}

/// Marks what one instruction refers to; returns its direct branch target.
fn note(insn: &Instruction, text: &Text, marks: &mut Marks, fixed: bool) -> Option<u64> {
    if insn.is_ip_rel_memory_operand() {
        reference(insn, insn.ip_rel_memory_address(), text, marks);
    } else if fixed && insn.memory_displ_size() >= 4 {
        reference(insn, insn.memory_displacement64(), text, marks);
    }
    if fixed {
        for operand in 0..insn.op_count() {
            if matches!(insn.op_kind(operand), OpKind::Immediate32 | OpKind::Immediate64 | OpKind::Immediate32to64) {
                marks.set(Mark::Taken, insn.immediate(operand));
            }
        }
    }
    let target = direct_target(insn)?;
    let mark = if insn.flow_control() == FlowControl::Call { Mark::Called } else { Mark::Branch };
    marks.set(mark, target);
    Some(target)
}

fn reference(insn: &Instruction, target: u64, text: &Text, marks: &mut Marks) {
    if !text.contains(target) {
        return;
    }
    if insn.mnemonic() == Mnemonic::Lea {
        marks.set(Mark::Taken, target);
    } else if insn.mnemonic() != Mnemonic::Nop {
        // 64 bytes is the largest operand; unknown sizes count as that.
        let size = match insn.memory_size().size() {
            0 => 64,
            size => size,
        };
        (0..size as u64).for_each(|i| marks.set(Mark::Data, target.wrapping_add(i)));
    }
}

/// The target of a direct jump, conditional jump, loop, call or transaction start.
pub(crate) fn direct_target(insn: &Instruction) -> Option<u64> {
    match insn.op0_kind() {
        OpKind::NearBranch64 | OpKind::NearBranch32 | OpKind::NearBranch16 => Some(insn.near_branch_target()),
        _ => None,
    }
}

/// Whether the instruction behind this one may run next.
pub(crate) fn falls_through(insn: &Instruction) -> bool {
    match insn.flow_control() {
        FlowControl::UnconditionalBranch
        | FlowControl::IndirectBranch
        | FlowControl::Return
        | FlowControl::Exception => false,
        FlowControl::Interrupt => insn.code() != Code::Int3,
        _ => insn.mnemonic() != Mnemonic::Hlt,
    }
}

/// Whether control goes on behind the last instruction of a piece of code. A call does not return
/// there, or the compiler would have put something behind it.
pub(crate) fn runs_into_next(last: &Instruction) -> bool {
    let ordinary = matches!(last.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch);
    ordinary && !matches!(last.mnemonic(), Mnemonic::Nop | Mnemonic::Hlt)
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
