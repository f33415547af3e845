//! Which registers hold nothing when a function is entered, for jumps that need one.
//!
//! The ABI says that a caller keeps nothing in temporary registers over a call. Compilers do not keep to that: when
//! GCC knows which of them a function leaves alone, it lets the function's callers go on using them (`-fipa-ra`).
//! So a register is free only if the function, or something that it calls, writes it anyway, and the function does
//! not expect something in it.

use core::ops::ControlFlow;

use crate::body::Body;
use crate::elf::Image;
use crate::fragments::{Fragment, containing};
use crate::isa::{Arch, Flow, each};
use crate::text::{Marks, Text};

/// Per fragment: the registers of [`Arch::SCRATCH`] that no caller can have anything in while it runs.
pub(crate) fn clobbered<I: Arch>(image: &Image<'_>, marks: &Marks, text: &Text, all: &[Fragment]) -> Vec<u32> {
    if I::SCRATCH == 0 {
        return Vec::new();
    }
    let mut sets = vec![0; all.len()];
    let mut callees: Vec<Vec<usize>> = vec![Vec::new(); all.len()];
    for (index, fragment) in all.iter().enumerate() {
        let mut set = 0;
        // It calls, or jumps to, what is not known: that follows the ABI, and may write any of them.
        let mut unknown = false;
        let _ = each::<I>(image, marks, (fragment.start, fragment.end), |insn| {
            set |= I::scratch_written(&insn);
            unknown |= insn.flow == Flow::CallIndirect;
            if let Some(to) = insn.target().filter(|&t| t < fragment.start || t >= fragment.end) {
                match containing(all, to) {
                    Some(callee) if !callees[index].contains(&callee) => callees[index].push(callee),
                    Some(_) => {}
                    None => unknown |= text.range(to).is_some_and(|r| r.stubs),
                }
            }
            ControlFlow::Continue(())
        });
        sets[index] = if unknown { I::SCRATCH } else { set };
    }
    close(&mut sets, &callees);
    sets
}

/// What a function calls writes counts for the function, too.
fn close(sets: &mut [u32], callees: &[Vec<usize>]) {
    loop {
        let mut changed = false;
        for index in 0..sets.len() {
            let more = callees[index].iter().fold(sets[index], |set, &callee| set | sets[callee]);
            changed |= more != sets[index];
            sets[index] = more;
        }
        if !changed {
            return;
        }
    }
}

/// Those of `asked` that a function may read before it writes them, from the instruction at `first` on.
pub(crate) fn live_in<I: Arch>(body: &Body<I>, first: usize, asked: u32) -> u32 {
    let mut seen = vec![0u32; body.insns.len()];
    let mut work = vec![(first, asked)];
    let mut live = 0;
    while let Some((index, pending)) = work.pop() {
        let pending = pending & !seen[index];
        if pending == 0 {
            continue;
        }
        seen[index] |= pending;
        let insn = &body.insns[index];
        live |= I::scratch_read(insn) & pending;
        if insn.is_call() || matches!(insn.flow, Flow::JumpIndirect) || insn.target().is_some_and(|t| !body.contains(t))
        {
            live |= I::PASSED & pending;
        }
        let rest = pending & !I::scratch_written(insn);
        work.extend(body.after(index).map(|next| (next, rest)));
    }
    live
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_counts_through_circles() {
        let mut sets = [1, 2, 4, 8];
        close(&mut sets, &[vec![1], vec![2], vec![0], vec![]]);
        assert_eq!(sets, [7, 7, 7, 8]);
    }
}
