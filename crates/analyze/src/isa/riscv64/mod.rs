//! RISC-V, RV64GC. A site takes the four bytes of a JAL, or the eight of AUIPC and JALR if a register is free.

mod decode;
mod indirect;
mod movable;
mod relocate;
#[cfg(test)]
mod tests;
mod track;

use textpoke_core::isa::Reg;
use textpoke_core::isa::riscv64::{ZERO, far, jal};

use super::{Arch, Flow, Insn, Isa, Reference, Relocation};
use crate::body::Body;
use crate::ehframe::Cfa;
use crate::elf::Image;
use crate::indirect::Origin;
use crate::reason::Reason;
use crate::relocate::Relocated;
use crate::site::{Jump, Site, Written};
use crate::tables::Table;
use crate::text::Marks;
use decode::{Instructions, Op, Word};

/// RV64GC.
#[derive(Debug)]
pub(crate) struct Riscv64;

/// The registers for AUIPC and JALR, the best first: t1, through which far tail calls go, so that no function can
/// expect something in it; t3 to t6. Not t0, whose use as a base makes processors pop a return address, and which
/// is the return address of millicode; not t2, which holds the static chain of nested functions and the label of
/// landing pads.
const BY: [u8; 5] = [T1, 28, 29, 30, 31];
const T1: u8 = 6;

impl Arch for Riscv64 {
    const ISA: Isa = Isa::Riscv64;
    const ALIGN: u64 = 2;
    /// The caller's stack pointer; nothing has been pushed. 2 is sp (RISC-V DWARF Specification, "DWARF Register Numbers").
    const ENTRY: Cfa = Cfa::Register(2, 0);
    const RED_ZONE: bool = false;
    /// t1, t3 to t6.
    const SCRATCH: u32 = 1 << T1 | Self::PASSED;
    /// LLVM passes arguments of functions that only it knows in t3 to t6 as well (its calling convention `fastcc`).
    const PASSED: u32 = 0xf000_0000;

    type Core = textpoke_core::isa::Riscv64;
    type Raw = Word;
    type Reg = u8;
    type Track = track::Track;

    fn decoder(bytes: &[u8], ip: u64) -> impl Iterator<Item = Insn<Word>> {
        Instructions::new(bytes, ip)
    }

    fn references(track: &mut track::Track, insn: &Insn<Word>, fixed: bool, found: &mut impl FnMut(Reference)) {
        track.step(insn, fixed, found);
    }

    fn is_landing_mark(insn: &Insn<Word>) -> bool {
        insn.raw.is_landing_pad()
    }

    fn is_nop(insn: &Insn<Word>) -> bool {
        insn.raw.is_nop()
    }

    fn is_trap(insn: &Insn<Word>) -> bool {
        insn.raw.is_ebreak()
    }

    fn movable(insn: &Insn<Word>) -> Result<(), Reason> {
        movable::movable(insn)
    }

    fn lengths(near: bool) -> &'static [u64] {
        if near { &[4] } else { &[8, 4] }
    }

    fn jump(length: u64, run: &[Insn<Word>], spare: u32) -> Option<Jump> {
        if length == 4 {
            return Some(Jump::One);
        }
        let used = run.iter().fold(0, |used, insn| used | insn.raw.written() | insn.raw.reads());
        // Whoever is jumped to may expect arguments in the others.
        let leaves = matches!(run[run.len() - 1].flow, Flow::Jump(_) | Flow::JumpIndirect);
        let free = spare & !used & if leaves { 1 << T1 } else { u32::MAX };
        let by = BY.into_iter().find(|by| free >> by & 1 != 0)?;
        Some(Jump::Pair { by })
    }

    fn scratch_written(insn: &Insn<Word>) -> u32 {
        insn.raw.written() & Self::SCRATCH
    }

    fn scratch_read(insn: &Insn<Word>) -> u32 {
        insn.raw.reads() & Self::SCRATCH
    }

    /// There are no flags.
    fn flags_live(_: &[Insn<Word>]) -> bool {
        false
    }

    fn switches_stack(insns: &[Insn<Word>]) -> bool {
        movable::switches_stack(insns)
    }

    fn sequences(body: &Body<Self>, inside: &mut [bool]) {
        body.between(Word::is_load_reserved, Word::is_store_conditional, inside);
    }

    fn origin(body: &Body<Self>, jump: usize, marks: &Marks) -> Origin<u8> {
        indirect::origin(body, jump, marks)
    }

    fn points_to(body: &Body<Self>, register: u8, is_table: &dyn Fn(u64) -> bool) -> bool {
        indirect::points_to(body, register, is_table)
    }

    fn tables(image: &Image<'_>, body: &Body<Self>, found: &mut Vec<Table>) {
        indirect::tables(!image.is_shared(), body, found);
    }

    fn is_detour(_: &Image<'_>, _: &Insn<Word>, _: u64) -> bool {
        false
    }

    /// `auipc t3; ld t3, x(t3); jalr t1, t3`, behind a landing pad where the program has them.
    fn is_stub(image: &Image<'_>, vaddr: u64) -> bool {
        const T3: u8 = 28;
        let Some(bytes) = image.bytes_from(vaddr) else { return false };
        let mut ops = Self::decoder(bytes, vaddr).skip_while(Self::is_landing_mark).map(|i| i.raw.op(i.ip));
        matches!(ops.next(), Some(Op::Auipc { rd: T3, .. }))
            && matches!(ops.next(), Some(Op::Load { rd: T3, base: T3, .. }))
            && matches!(ops.next(), Some(Op::Jalr { link: T1, base: T3, .. }))
    }

    /// R_RISCV_64; JUMP_SLOT; RELATIVE; IRELATIVE (RISC-V psABI, "Relocations").
    fn relocation(kind: u32) -> Option<Relocation> {
        Some(match kind {
            2 => Relocation::SymbolAndAddend,
            5 => Relocation::Symbol,
            3 => Relocation::Addend,
            58 => Relocation::Resolver,
            _ => return None,
        })
    }

    /// Millicode hands values from one of its entries to the next in t1; the dynamic linker's stubs get theirs there.
    fn has_own_convention(name: &str) -> bool {
        ["__riscv_save_", "__riscv_restore_", "_dl_runtime_", "_dl_tlsdesc_", "__tlsdesc_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    }

    fn encode_jump(jump: Jump, from: u64, to: u64) -> Result<Written, Reason> {
        match jump {
            Jump::One => {
                let bytes = jal(ZERO, from, to).map_err(|_| Reason::OutOfRange)?;
                Ok(Written { bytes: bytes.to_vec(), new_inner: 0 })
            }
            Jump::Pair { by } => {
                let by = Reg::new(by).ok_or(Reason::Undecodable)?;
                let pair = far(ZERO, by, from, to).map_err(|_| Reason::OutOfRange)?;
                Ok(Written { bytes: pair.concat(), new_inner: 1 << 4 })
            }
        }
    }

    fn relocate(site: &Site, origin: u64, dest: u64) -> Result<Relocated, Reason> {
        relocate::relocate(site, origin, dest)
    }
}
