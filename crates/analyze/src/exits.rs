//! Exit sites: places from which a function is left, with room for a jump.

use iced_x86::{Code, FlowControl, Instruction, Mnemonic, OpKind, Register};

use crate::body::Body;
use crate::displace::{Ground, movable};
use crate::flow::{direct_target, runs_into_next};
use crate::indirect::Jump;
use crate::reason::{Obstacle, Reason};
use crate::site::{JUMP, Site};

/// How a function is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitEvent {
    /// It returns.
    Return,
    /// It jumps to another function, which returns for it.
    TailJump,
}

/// A place where a function is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitSite {
    /// The displaced run. From its start on, control goes straight to the exit.
    pub site: Site,
    /// How the function is left.
    pub event: ExitEvent,
}

/// The exits of one function.
#[derive(Debug, Default)]
pub(crate) struct Exits {
    pub sites: Vec<ExitSite>,
    pub blocked: Vec<(u64, Reason)>,
}

/// Finds every exit of a function and a site for each where there is room.
///
/// `entry` is the end of the entry's site, or 0. `jump` tells what an indirect jump is, `foreign`
/// whether an address is in a cold part whose function is not known.
pub(crate) fn exits(
    ground: &Ground<'_, '_>,
    body: &Body,
    entry: Option<Site>,
    jump: impl Fn(usize) -> Jump,
    foreign: impl Fn(u64) -> bool,
) -> Exits {
    let mut found = Exits::default();
    let reached = body.reached(ground.marks);
    for (index, insn) in body.insns.iter().enumerate() {
        let ip = insn.ip();
        let outside = direct_target(insn).filter(|&t| !body.contains(t));
        let event = match insn.flow_control() {
            FlowControl::Return if matches!(insn.code(), Code::Retnq | Code::Retnq_imm16) => ExitEvent::Return,
            FlowControl::Return => {
                found.blocked.push((ip, Reason::NotRelocatable(Obstacle::FarTransfer)));
                continue;
            }
            FlowControl::UnconditionalBranch => match outside {
                // It may come back, if the cold part is this function's after all.
                Some(target) if foreign(target) => {
                    found.blocked.push((ip, Reason::SharedCode));
                    continue;
                }
                Some(_) => ExitEvent::TailJump,
                None => continue,
            },
            FlowControl::ConditionalBranch if outside.is_some() => {
                found.blocked.push((ip, Reason::ConditionalExit));
                continue;
            }
            FlowControl::IndirectBranch => match jump(index) {
                Jump::Table | Jump::Goto => continue,
                Jump::Tail => ExitEvent::TailJump,
                Jump::Either | Jump::Unknown(_) => {
                    found.blocked.push((ip, Reason::UnresolvedJump));
                    continue;
                }
            },
            _ => {
                if runs_out(body, index) {
                    found.blocked.push((ip, Reason::SharedCode));
                }
                continue;
            }
        };
        // What nothing reaches may be data that looks like an exit, and data must not be written to.
        if !reached[index] {
            found.blocked.push((ip, Reason::Undecodable));
            continue;
        }
        match window(ground, body, index, entry) {
            Ok(site) => found.sites.push(ExitSite { site, event }),
            Err(reason) => found.blocked.push((ip, reason)),
        }
    }
    found
}

/// Control runs over the end of the function, into whatever follows.
fn runs_out(body: &Body, index: usize) -> bool {
    let insn = &body.insns[index];
    let last = body.insns.get(index + 1).is_none_or(|next| next.ip() != insn.next_ip());
    last && runs_into_next(insn)
}

/// The run for the exit at `index`: the exit alone if it or the padding behind it has room, else
/// with as few instructions in front of it as are needed.
fn window(ground: &Ground<'_, '_>, body: &Body, index: usize, entry: Option<Site>) -> Result<Site, Reason> {
    let insns = &body.insns;
    let last = &insns[index];
    movable(last)?;
    let end = last.next_ip() + ground.padding(last.next_ip());
    let mut first = index;
    while end - insns[first].ip() < JUMP {
        if ground.marks.entered(insns[first].ip()) {
            return Err(Reason::BranchInto);
        }
        let before = body.before(first).ok_or(Reason::TooShort)?;
        if insns[before].flow_control() != FlowControl::Next {
            return Err(Reason::BranchInto);
        }
        movable(&insns[before])?;
        first = before;
    }
    let start = insns[first].ip();
    if entry.is_some_and(|e| start < e.end() && e.vaddr < last.next_ip().max(start + JUMP)) {
        return Err(Reason::OverlapsEntry);
    }
    // Of a long instruction in front of the exit, only that one is displaced: the exit follows in place.
    let displaced = insns[first..=index].iter().take_while(|i| i.ip() - start < JUMP).count();
    ground.site(&insns[first..first + displaced])
}

/// Whether a function leaves its stack: it loads the stack pointer from somewhere that no compiler
/// keeps its own frame in.
pub(crate) fn switches_stack(insns: &[Instruction]) -> bool {
    insns.iter().any(|insn| {
        let stack = insn.op0_kind() == OpKind::Register && insn.op0_register() == Register::RSP;
        match insn.mnemonic() {
            Mnemonic::Pop => stack,
            Mnemonic::Xchg => stack || insn.op1_kind() == OpKind::Register && insn.op1_register() == Register::RSP,
            Mnemonic::Mov if stack && insn.op1_kind() == OpKind::Memory => {
                !matches!(insn.memory_base(), Register::RBP | Register::RSP)
            }
            // Arguments and results: compilers restore the stack behind an `alloca` from other registers.
            Mnemonic::Mov if stack => {
                matches!(insn.op1_register(), Register::RDI | Register::RSI | Register::RDX | Register::RCX)
            }
            _ => false,
        }
    })
}
