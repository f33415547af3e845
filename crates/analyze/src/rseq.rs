//! Restartable sequences: code that the kernel aborts by address, so that no instruction of it may
//! run anywhere else.

use core::ops::Range;

use crate::elf::{Image, u32_at, u64_at};

/// The critical sections described in `__rseq_cs`, and the abort signatures in front of their abort
/// handlers, as ranges of addresses as linked.
pub(crate) fn sequences(image: &Image<'_>) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    let sections = image.sections.iter().flatten();
    for section in sections.filter(|s| s.vaddr != 0 && s.name.trim_start_matches('.').starts_with("__rseq_cs")) {
        // An array of pointers has another name (`__rseq_cs_ptr_array`); its entries have no version 0 in front.
        for row in image.section_bytes(section).chunks_exact(32) {
            let (Some(version), Some(start), Some(len), Some(abort)) =
                (u32_at(row, 0), u64_at(row, 8), u64_at(row, 16), u64_at(row, 24))
            else {
                continue;
            };
            if version != 0 {
                continue;
            }
            found.push(start..start.saturating_add(len));
            found.push(abort.saturating_sub(4)..abort.saturating_add(1));
        }
    }
    found
}
