//! AArch64: every instruction has four bytes, and a site is one of them.

mod decode;
mod indirect;
mod movable;
mod relocate;
#[cfg(test)]
mod tests;
mod track;

use textpoke_core::isa::aarch64;

use super::{Arch, Flow, Insn, Isa, Reference, Relocation};
use crate::body::Body;
use crate::ehframe::Cfa;
use crate::elf::{Image, u32_at};
use crate::indirect::Origin;
use crate::reason::Reason;
use crate::relocate::Relocated;
use crate::site::{Jump, Site, Written};
use crate::tables::Table;
use crate::text::Marks;
use decode::{Relative, Word};

/// AArch64.
#[derive(Debug)]
pub(crate) struct Aarch64;

fn insn(bytes: &[u8], ip: u64) -> Insn<Word> {
    match u32_at(bytes, 0).map(Word) {
        Some(word) if ip.is_multiple_of(4) => Insn { ip, len: 4, flow: word.flow(ip), raw: word },
        _ => Insn { ip, len: bytes.len().min(4) as u8, flow: Flow::Invalid, raw: Word(0) },
    }
}

impl Arch for Aarch64 {
    const ISA: Isa = Isa::Aarch64;
    const ALIGN: u64 = 4;
    /// The caller's stack pointer; nothing has been pushed. 31 is SP (DWARF for the Arm 64-bit Architecture, "DWARF register names").
    const ENTRY: Cfa = Cfa::Register(31, 0);
    const RED_ZONE: bool = false;
    const SCRATCH: u32 = 0;
    const PASSED: u32 = 0;

    type Core = textpoke_core::isa::Aarch64;
    type Raw = Word;
    type Reg = u8;
    type Track = track::Track;

    fn decoder(bytes: &[u8], ip: u64) -> impl Iterator<Item = Insn<Word>> {
        bytes.chunks(4).zip(0..).map(move |(word, index)| insn(word, ip + 4 * index))
    }

    fn references(track: &mut track::Track, insn: &Insn<Word>, fixed: bool, found: &mut impl FnMut(Reference)) {
        track.step(insn, fixed, found);
    }

    fn is_landing_mark(insn: &Insn<Word>) -> bool {
        insn.raw.is_landing_mark()
    }

    /// Behind a BTI, PACIASP stays as well: something may jump there.
    fn marks(insns: &[Insn<Word>]) -> usize {
        match insns {
            [first, second, ..] if first.raw.is_bti() && second.raw.signs_return() => 2,
            [first, ..] => usize::from(first.raw.is_landing_mark()),
            [] => 0,
        }
    }

    fn is_nop(insn: &Insn<Word>) -> bool {
        insn.raw.is_nop()
    }

    fn is_trap(insn: &Insn<Word>) -> bool {
        insn.raw.is_brk()
    }

    fn movable(insn: &Insn<Word>) -> Result<(), Reason> {
        movable::movable(insn)
    }

    fn lengths(_near: bool) -> &'static [u64] {
        &[4]
    }

    fn jump(_length: u64, _run: &[Insn<Word>], _spare: u32) -> Option<Jump> {
        Some(Jump::One)
    }

    fn scratch_written(_: &Insn<Word>) -> u32 {
        0
    }

    fn scratch_read(_: &Insn<Word>) -> u32 {
        0
    }

    fn flags_live(run: &[Insn<Word>]) -> bool {
        run.iter().any(|insn| insn.raw.reads_flags())
    }

    fn switches_stack(insns: &[Insn<Word>]) -> bool {
        movable::switches_stack(insns)
    }

    fn sequences(body: &Body<Self>, inside: &mut [bool]) {
        body.between(Word::is_load_exclusive, Word::is_store_exclusive, inside);
        for (index, insn) in body.insns.iter().enumerate().filter(|(_, i)| i.raw.is_prefix()) {
            inside[index] = true;
            if let Some(next) = body.index(insn.next_ip()) {
                inside[next] = true;
            }
        }
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

    /// The linker moves an instruction out of the way of an erratum of the Cortex-A53 (843419, 835769), and branches
    /// to it and back.
    fn is_detour(image: &Image<'_>, insn: &Insn<Word>, target: u64) -> bool {
        let back = target.wrapping_add(4);
        let word = image.bytes_at(back, 4).and_then(|bytes| u32_at(bytes, 0)).map(Word);
        word.is_some_and(|word| word.flow(back) == Flow::Jump(insn.next_ip()))
    }

    /// `adrp x16; ldr x17, [x16, x]; add x16; br x17`, behind a BTI where the program has them.
    fn is_stub(image: &Image<'_>, vaddr: u64) -> bool {
        let Some(bytes) = image.bytes_from(vaddr) else { return false };
        let mut insns = Self::decoder(bytes, vaddr).skip_while(Self::is_landing_mark);
        let page = insns.next().and_then(|i| i.raw.relative(i.ip));
        let loads = insns.next().is_some_and(|i| i.raw.is(0xffc0_03ff, 0xf940_0211));
        matches!(page, Some(Relative::Adrp { rd: 16, .. })) && loads && insns.any(|i| i.raw.0 == 0xd61f_0220)
    }

    /// ABS64; GLOB_DAT and JUMP_SLOT; RELATIVE; IRELATIVE (ELF for the Arm 64-bit Architecture, "Relocation").
    fn relocation(kind: u32) -> Option<Relocation> {
        Some(match kind {
            257 => Relocation::SymbolAndAddend,
            1025 | 1026 => Relocation::Symbol,
            1027 => Relocation::Addend,
            1032 => Relocation::Resolver,
            _ => return None,
        })
    }

    fn has_own_convention(_: &str) -> bool {
        false
    }

    fn encode_jump(_: Jump, from: u64, to: u64) -> Result<Written, Reason> {
        let bytes = aarch64::b(from, to).map_err(|_| Reason::OutOfRange)?;
        Ok(Written { bytes: bytes.to_vec(), new_inner: 0 })
    }

    fn relocate(site: &Site, origin: u64, dest: u64) -> Result<Relocated, Reason> {
        relocate::relocate(site, origin, dest)
    }
}
