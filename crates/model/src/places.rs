//! The sites of the checks.

use textpoke_core::Site;

use crate::scenario::Place;
use crate::variants::Shape;

/// One NOP of five bytes.
pub(crate) const NOP5: [u8; 5] = [0x0f, 0x1f, 0x44, 0x00, 0x00];
/// Five NOPs of one byte.
pub(crate) const NOPS: [u8; 5] = [0x90; 5];
/// A CALL.
pub(crate) const CALL: [u8; 5] = [0xe8, 0xe7, 0x57, 0x07, 0x01];
/// A JMP.
pub(crate) const JMP: [u8; 5] = [0xe9, 0x11, 0x22, 0x33, 0x44];
/// push rbp; mov rbp, rsp; push rbx
pub(crate) const ENTRY: [u8; 5] = [0x55, 0x48, 0x89, 0xe5, 0x53];
/// push rbx; call rax; push rax; push rcx
pub(crate) const CALLS: [u8; 5] = [0x53, 0xff, 0xd0, 0x50, 0x51];

/// The address of site `i`, `cut` bytes of which lie in front of an 8-byte boundary unless the shape says otherwise.
pub(crate) fn address(shape: &Shape, cut: u8, i: u8) -> u64 {
    0x1008 + 0x40 * u64::from(i) - u64::from(shape.cut.unwrap_or(cut))
}

/// A site of two forms of the arrays above.
pub(crate) fn site(addr: u64, old: &[u8], new: &[u8]) -> Site {
    Site::single(addr, old, new).expect("both forms have the same length, of at most eight bytes")
}

/// Sites of one old and one new instruction.
pub(crate) fn single(shape: &Shape, cut: u8, old: &[u8], new: &[u8]) -> Vec<Place> {
    (0..shape.sites).map(|i| Place::new(site(address(shape, cut, i), old, new))).collect()
}

/// Entry code of three instructions, at offsets 0, 1 and 4, and its copy, where the first is longer.
pub(crate) fn entry(shape: &Shape) -> Vec<Place> {
    let place = |i| {
        let mut site = site(address(shape, 3, i), &ENTRY, &JMP);
        site.inner = 0b1_0010;
        site.copy = 0x9000 + 0x100 * u64::from(i);
        site.copy_at = [0, 2, 0, 0, 5, 0, 0, 0];
        Place::new(site)
    };
    (0..shape.sites).map(place).collect()
}
