//! The sites of the checks.

use textpoke_core::Site;

use crate::scenario::{IsaId, Place};
use crate::variants::Shape;

/// One NOP of five bytes.
pub(crate) const NOP5: [u8; 5] = [0x0f, 0x1f, 0x44, 0x00, 0x00];
/// Five NOPs of one byte.
pub(crate) const NOPS: [u8; 5] = [0x90; 5];
/// A NOP of two bytes and one of three.
pub(crate) const TWO_NOPS: [u8; 5] = [0x66, 0x90, 0x0f, 0x1f, 0x00];
/// A CALL.
pub(crate) const CALL: [u8; 5] = [0xe8, 0xe7, 0x57, 0x07, 0x01];
/// A JMP.
pub(crate) const JMP: [u8; 5] = [0xe9, 0x11, 0x22, 0x33, 0x44];
/// push rbp; mov rbp, rsp; push rbx
pub(crate) const ENTRY: [u8; 5] = [0x55, 0x48, 0x89, 0xe5, 0x53];
/// push rbx; call rax; push rax; push rcx
pub(crate) const CALLS: [u8; 5] = [0x53, 0xff, 0xd0, 0x50, 0x51];

/// A64 instructions.
pub(crate) mod a64 {
    pub(crate) const NOP: u32 = 0xd503_201f;
    /// MOV X9, X30
    pub(crate) const MOV: u32 = 0xaa1e_03e9;
    /// MOV X10, X30
    pub(crate) const MOV_TOO: u32 = 0xaa1e_03ea;
    pub(crate) const BL: u32 = 0x9400_0048;
    pub(crate) const BL_TOO: u32 = 0x9400_0088;
    pub(crate) const B: u32 = 0x1400_0048;
}

/// RISC-V instructions.
pub(crate) mod rv {
    pub(crate) const NOP: u32 = 0x0000_0013;
    /// AUIPC t0, 1
    pub(crate) const AUIPC: u32 = 0x0000_1297;
    /// JALR t0, 8(t0)
    pub(crate) const JALR: u32 = 0x0082_82e7;
    /// JAL x0, +0x48
    pub(crate) const JAL: u32 = 0x0480_006f;
    /// C.NOP
    pub(crate) const C_NOP: u16 = 0x0001;
    /// C.J +0x10
    pub(crate) const C_J: u16 = 0xa801;
}

/// The address of site `i`, `cut` bytes of which lie in front of an 8-byte boundary unless the shape says otherwise.
pub(crate) fn address(shape: &Shape, cut: u8, i: u8) -> u64 {
    0x1008 + 0x40 * u64::from(i) - u64::from(shape.cut.unwrap_or(cut))
}

/// A site of two forms.
pub(crate) fn site(addr: u64, old: &[u8], new: &[u8]) -> Site {
    Site::single(addr, old, new).expect("both forms have the same length, of at most eight bytes")
}

/// Sites of one old and one new instruction.
pub(crate) fn single(shape: &Shape, cut: u8, old: &[u8], new: &[u8]) -> Vec<Place> {
    (0..shape.sites).map(|i| Place::new(site(address(shape, cut, i), old, new))).collect()
}

/// Sites of one old and one new word.
pub(crate) fn word(shape: &Shape, old: u32, new: u32) -> Vec<Place> {
    single(&aligned(shape), 0, &old.to_le_bytes(), &new.to_le_bytes())
}

/// Sites of two old and two new words, with code elsewhere that does what they do.
pub(crate) fn words(shape: &Shape, old: [u32; 2], new: [u32; 2]) -> Vec<Place> {
    let bytes = |[a, b]: [u32; 2]| (u64::from(a) | u64::from(b) << 32).to_le_bytes();
    let mut places = single(&aligned(shape), 0, &bytes(old), &bytes(new));
    for (i, place) in places.iter_mut().enumerate() {
        let site = &mut place.site;
        (site.inner, site.new_inner) = (0b1_0000, 0b1_0000);
        (site.copy, site.stand_in) = (0x9000 + 0x100 * i as u64, 0xa000 + 0x100 * i as u64);
        site.copy_at[4] = 4;
        *place = Place::new(*site);
    }
    places
}

/// Words are never cut.
fn aligned(shape: &Shape) -> Shape {
    Shape { cut: Some(0), ..*shape }
}

/// One instruction that does nothing and one that branches, of each instruction set; such as may change live.
pub(crate) fn switch(shape: &Shape, cut: u8) -> Vec<Place> {
    match shape.isa() {
        IsaId::X86 => single(shape, cut, &NOP5, &CALL),
        IsaId::Arm => word(shape, a64::NOP, a64::BL),
        IsaId::Riscv => word(shape, rv::NOP, rv::JAL),
    }
}

/// Two instructions that do nothing and two others of which the first counts for the second.
pub(crate) fn pair(shape: &Shape) -> Vec<Place> {
    match shape.isa() {
        IsaId::X86 => nops(shape),
        IsaId::Arm => words(shape, [a64::NOP, a64::NOP], [a64::BL, a64::BL_TOO]),
        IsaId::Riscv => words(shape, [rv::NOP, rv::NOP], [rv::AUIPC, rv::JALR]),
    }
}

/// Two NOPs that become one CALL: the site of several NOPs of x86-64.
fn nops(shape: &Shape) -> Vec<Place> {
    let mut places = single(shape, 3, &TWO_NOPS, &CALL);
    for (i, place) in places.iter_mut().enumerate() {
        let site = &mut place.site;
        (site.inner, site.copy) = (0b100, 0x9000 + 0x100 * i as u64);
        site.copy_at[2] = 2;
        *place = Place::new(*site);
    }
    places
}

/// The pair of an entry that is traced: the first does harm to nobody where the second does nothing.
pub(crate) fn traced(shape: &Shape) -> [[u32; 2]; 3] {
    match shape.isa() {
        IsaId::Riscv => [[rv::NOP, rv::NOP], [rv::AUIPC, rv::NOP], [rv::AUIPC, rv::JALR]],
        IsaId::X86 | IsaId::Arm => [[a64::NOP, a64::NOP], [a64::MOV, a64::NOP], [a64::MOV, a64::BL]],
    }
}

/// Entry code of several instructions and its copy, and the jump over them.
pub(crate) fn entry(shape: &Shape) -> Vec<Place> {
    match shape.isa() {
        IsaId::X86 => {}
        isa => {
            let nop = if isa == IsaId::Arm { a64::NOP } else { rv::NOP };
            let jump = if isa == IsaId::Arm { a64::B } else { rv::JAL };
            let mut places = words(shape, [nop, nop], [jump, nop]);
            for place in &mut places {
                place.site.new_inner = 0;
                *place = Place::new(place.site);
            }
            return places;
        }
    }
    // Three instructions, at offsets 0, 1 and 4; in the copy the first is longer.
    let place = |i| {
        let mut site = site(address(shape, 3, i), &ENTRY, &JMP);
        site.inner = 0b1_0010;
        site.copy = 0x9000 + 0x100 * u64::from(i);
        site.copy_at = [0, 2, 0, 0, 5, 0, 0, 0];
        Place::new(site)
    };
    (0..shape.sites).map(place).collect()
}
