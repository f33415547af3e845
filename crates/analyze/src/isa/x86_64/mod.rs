//! x86-64, decoded by iced.

mod indirect;
mod movable;
mod refer;
mod relocate;

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};
use textpoke_core::isa::x86_64;

use super::{Arch, Flow, Insn, Isa, Reference, Relocation};
use crate::body::Body;
use crate::ehframe::Cfa;
use crate::elf::Image;
use crate::indirect::Origin;
use crate::reason::{Obstacle, Reason};
use crate::relocate::Relocated;
use crate::site::{Jump, Site, Written};
use crate::tables::Table;
use crate::text::Marks;

/// x86-64.
#[derive(Debug)]
pub(crate) struct X86_64;

struct Instructions<'b> {
    decoder: Decoder<'b>,
    start: u64,
}

impl Iterator for Instructions<'_> {
    type Item = Insn<Instruction>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.decoder.can_decode() {
            return None;
        }
        let position = self.decoder.position();
        let raw = self.decoder.decode();
        if raw.is_invalid() {
            // One byte further there may be an instruction again.
            let ip = self.start + position as u64;
            self.decoder.set_position(position + 1).ok()?;
            self.decoder.set_ip(ip + 1);
            return Some(Insn { ip, len: 1, flow: Flow::Invalid, raw });
        }
        Some(Insn { ip: raw.ip(), len: raw.len() as u8, flow: flow(&raw), raw })
    }
}

fn flow(insn: &Instruction) -> Flow {
    let target = match insn.op0_kind() {
        OpKind::NearBranch64 | OpKind::NearBranch32 | OpKind::NearBranch16 => Some(insn.near_branch_target()),
        _ => None,
    };
    match (insn.flow_control(), target) {
        (FlowControl::UnconditionalBranch, Some(to)) => Flow::Jump(to),
        (FlowControl::ConditionalBranch, Some(to)) => Flow::Branch(to),
        (FlowControl::Call, Some(to)) => Flow::Call(to),
        (FlowControl::UnconditionalBranch | FlowControl::Exception, _) => Flow::Stop,
        (FlowControl::IndirectBranch, _) => Flow::JumpIndirect,
        (FlowControl::IndirectCall, _) => Flow::CallIndirect,
        (FlowControl::Return, _) => Flow::Return,
        (FlowControl::Interrupt, _) if insn.code() == Code::Int3 => Flow::Stop,
        (FlowControl::Next, _) if insn.mnemonic() == Mnemonic::Hlt => Flow::Stop,
        (FlowControl::Next, _) => Flow::Next,
        // System calls, interrupts, transactions.
        _ => Flow::Other(target),
    }
}

impl Arch for X86_64 {
    const ISA: Isa = Isa::X86_64;
    const ALIGN: u64 = 1;
    /// Only the return address has been pushed; 7 is `rsp`.
    const ENTRY: Cfa = Cfa::Register(7, 8);
    const RED_ZONE: bool = true;
    const SCRATCH: u32 = 0;
    const PASSED: u32 = 0;

    type Core = textpoke_core::isa::X86_64;
    type Raw = Instruction;
    type Reg = Register;
    type Track = ();

    fn decoder(bytes: &[u8], ip: u64) -> impl Iterator<Item = Insn<Instruction>> {
        Instructions { decoder: Decoder::with_ip(64, bytes, ip, DecoderOptions::NONE), start: ip }
    }

    fn references(_: &mut (), insn: &Insn<Instruction>, fixed: bool, found: &mut impl FnMut(Reference)) {
        refer::references(&insn.raw, fixed, found);
    }

    fn is_landing_mark(insn: &Insn<Instruction>) -> bool {
        insn.raw.mnemonic() == Mnemonic::Endbr64
    }

    fn is_nop(insn: &Insn<Instruction>) -> bool {
        insn.raw.mnemonic() == Mnemonic::Nop
    }

    fn is_trap(insn: &Insn<Instruction>) -> bool {
        insn.raw.code() == Code::Int3
    }

    fn movable(insn: &Insn<Instruction>) -> Result<(), Reason> {
        movable::movable(&insn.raw)
    }

    fn lengths(_near: bool) -> &'static [u64] {
        &[5]
    }

    fn jump(_length: u64, _run: &[Insn<Instruction>], _spare: u32) -> Option<Jump> {
        Some(Jump::One)
    }

    fn check(run: &[Insn<Instruction>], bytes: &[u8]) -> Result<(), Reason> {
        let start = run[0].ip;
        for insn in run.iter().filter(|i| i.raw.op0_kind() == OpKind::NearBranch64) {
            let from = (insn.ip - start) as usize;
            if movable::odd_branch(&bytes[from..from + usize::from(insn.len)]) {
                return Err(Reason::NotRelocatable(Obstacle::OddBranch));
            }
        }
        Ok(())
    }

    fn scratch_written(_: &Insn<Instruction>) -> u32 {
        0
    }

    fn scratch_read(_: &Insn<Instruction>) -> u32 {
        0
    }

    /// Flags that an earlier displaced instruction writes are not live at the site.
    fn flags_live(run: &[Insn<Instruction>]) -> bool {
        let mut written = 0;
        run.iter().any(|insn| {
            let live = insn.raw.rflags_read() & !written != 0;
            written |= insn.raw.rflags_modified();
            live
        })
    }

    fn switches_stack(insns: &[Insn<Instruction>]) -> bool {
        insns.iter().any(|insn| {
            let insn = &insn.raw;
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

    fn sequences(_: &Body<Self>, _: &mut [bool]) {}

    fn origin(body: &Body<Self>, jump: usize, marks: &Marks) -> Origin<Register> {
        indirect::origin(body, jump, marks)
    }

    fn points_to(body: &Body<Self>, register: Register, is_table: &dyn Fn(u64) -> bool) -> bool {
        indirect::points_to(body, register, is_table)
    }

    fn tables(image: &Image<'_>, body: &Body<Self>, found: &mut Vec<Table>) {
        indirect::tables(!image.is_shared(), body, found);
    }

    fn is_detour(_: &Image<'_>, _: &Insn<Instruction>, _: u64) -> bool {
        false
    }

    /// `jmp [rip+x]`, or `push [rip+x]; jmp [rip+x]`.
    fn is_stub(image: &Image<'_>, vaddr: u64) -> bool {
        let Some(bytes) = image.bytes_from(vaddr) else { return false };
        let mut decoder = Decoder::with_ip(64, bytes, vaddr, DecoderOptions::NONE);
        let mut insn = decoder.decode();
        let first = insn.mnemonic() == Mnemonic::Endbr64
            || insn.mnemonic() == Mnemonic::Push && insn.is_ip_rel_memory_operand();
        if first {
            insn = decoder.decode();
        }
        insn.is_jmp_near_indirect() && insn.is_ip_rel_memory_operand()
    }

    fn relocation(kind: u32) -> Option<Relocation> {
        Some(match kind {
            1 => Relocation::SymbolAndAddend,
            6 | 7 => Relocation::Symbol,
            8 | 38 => Relocation::Addend,
            37 => Relocation::Resolver,
            _ => return None,
        })
    }

    fn has_own_convention(_: &str) -> bool {
        false
    }

    fn encode_jump(_: Jump, from: u64, to: u64) -> Result<Written, Reason> {
        let bytes = x86_64::jmp(from, to).map_err(|_| Reason::OutOfRange)?;
        Ok(Written { bytes: bytes.to_vec(), new_inner: 0 })
    }

    fn relocate(site: &Site, origin: u64, dest: u64) -> Result<Relocated, Reason> {
        relocate::relocate(site, origin, dest)
    }
}
