//! Places that other tools patch in a running program, and list in the file: two patchers of the same
//! bytes would undo each other.

use core::ops::Range;

use crate::elf::{Image, Section, u32_at, u64_at};
use crate::isa::Isa;

/// XRay sleds and the probes of SystemTap and DTrace (USDT), as ranges of addresses as linked.
pub(crate) fn patch_points(image: &Image<'_>) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    if let Some(section) = image.section("xray_instr_map") {
        sleds(image, section, &mut found);
    }
    // The notes are not loaded, so that they have no address.
    for section in image.sections.iter().flatten().filter(|s| s.name == ".note.stapsdt") {
        probes(image, section, &mut found);
    }
    found
}

/// Entries of 32 bytes; from version 2 on, the address is relative to where it stands.
fn sleds(image: &Image<'_>, section: &Section, found: &mut Vec<Range<u64>>) {
    // What LLVM reserves for a sled: on AArch64 a branch and seven NOPs, on RISC-V a jump and 33.
    let longest = match image.isa() {
        Isa::X86_64 => 12,
        Isa::Aarch64 => 32,
        Isa::Riscv64 => 136,
    };
    for (index, row) in section_rows(image, section, 32) {
        let Some(address) = u64_at(row, 0) else { continue };
        let here = section.vaddr + index as u64 * 32;
        let start = if row[18] >= 2 { here.wrapping_add(address) } else { address };
        found.push(start..start.saturating_add(longest));
    }
}

fn section_rows<'a>(image: &Image<'a>, section: &Section, size: usize) -> impl Iterator<Item = (usize, &'a [u8])> {
    image.section_bytes(section).chunks_exact(size).enumerate()
}

/// Each note begins with the address of its NOP, which counts from where `.stapsdt.base` was.
fn probes(image: &Image<'_>, section: &Section, found: &mut Vec<Range<u64>>) {
    let base = image.section(".stapsdt.base").map(|s| s.vaddr);
    let mut rest = image.section_bytes(section);
    while let (Some(name), Some(len)) = (u32_at(rest, 0), u32_at(rest, 4)) {
        let desc = 12 + (name as usize).next_multiple_of(4);
        if let (Some(place), Some(linked)) = (u64_at(rest, desc), u64_at(rest, desc + 8)) {
            let place = place.wrapping_add(base.map_or(0, |b| b.wrapping_sub(linked)));
            found.push(place..place.saturating_add(1));
        }
        let Some(next) = rest.get((desc + len as usize).next_multiple_of(4)..) else { return };
        rest = next;
    }
}
