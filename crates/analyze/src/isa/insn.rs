//! A decoded instruction, as all instruction sets have it in common.

use core::ops::ControlFlow;

use super::Arch;
use crate::elf::Image;
use crate::text::Marks;

/// Where control goes from an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Next,
    Jump(u64),
    /// A conditional jump.
    Branch(u64),
    Call(u64),
    JumpIndirect,
    CallIndirect,
    Return,
    /// On, or elsewhere by means of its own: system calls, transactions.
    Other(Option<u64>),
    /// Nowhere: traps, halts, what faults on purpose.
    Stop,
    /// No instruction.
    Invalid,
}

/// An instruction at an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Insn<R> {
    pub ip: u64,
    pub len: u8,
    pub flow: Flow,
    pub raw: R,
}

impl<R> Insn<R> {
    /// The address behind it.
    pub fn next_ip(&self) -> u64 {
        self.ip.wrapping_add(u64::from(self.len))
    }

    /// The target of a direct jump, conditional jump, call or transaction start.
    pub fn target(&self) -> Option<u64> {
        match self.flow {
            Flow::Jump(to) | Flow::Branch(to) | Flow::Call(to) | Flow::Other(Some(to)) => Some(to),
            _ => None,
        }
    }

    /// Its target, unless it is a call.
    pub fn jump_target(&self) -> Option<u64> {
        self.target().filter(|_| !self.is_call())
    }

    pub fn is_call(&self) -> bool {
        matches!(self.flow, Flow::Call(_) | Flow::CallIndirect)
    }

    /// Whether the instruction behind this one may run next. Calls are taken to return.
    pub fn falls_through(&self) -> bool {
        !matches!(self.flow, Flow::Jump(_) | Flow::JumpIndirect | Flow::Return | Flow::Stop | Flow::Invalid)
    }
}

/// Decodes from `start` to `end`, leaving out what is known to be data, until told to stop.
pub(crate) fn each<I: Arch>(
    image: &Image<'_>,
    marks: &Marks,
    (start, end): (u64, u64),
    mut visit: impl FnMut(Insn<I::Raw>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for (from, to) in marks.code(start, end) {
        let Some(bytes) = image.bytes_at(from, to - from) else { return ControlFlow::Break(()) };
        I::decoder(bytes, from).try_for_each(&mut visit)?;
    }
    ControlFlow::Continue(())
}
