//! Which code addresses the file holds as data: relocations, and plain words where it is linked at
//! a fixed address.

use crate::elf::{Image, SHT_RELA, slice, u64_at};
use crate::isa::{Arch, Relocation};
use crate::symbols::dynamic_symbol_value;
use crate::text::Text;

/// What relocations and data words say about the code.
#[derive(Debug, Default)]
pub(crate) struct Pointers {
    /// Words that hold a code address after loading: their own address and the code address, sorted.
    pub words: Vec<(u64, u64)>,
    /// Addresses of IFUNC resolvers, known without symbols.
    pub resolvers: Vec<u64>,
    /// Code bytes that the dynamic linker writes at load time, sorted: start addresses of 8-byte words.
    pub patched: Vec<u64>,
}

/// Collects every word that may hold a code address.
pub(crate) fn pointers<I: Arch>(image: &Image<'_>, text: &Text) -> Pointers {
    let mut found = Pointers::default();
    let d = &image.dynamic;
    let dynamic = [&d.rela, &d.jmprel].into_iter().filter(|r| r.start != 0);
    let mut tables: Vec<&[u8]> = dynamic.filter_map(|r| image.bytes_at(r.start, r.end - r.start)).collect();
    // A static program has no dynamic table; its start-up code finds the relocations by section.
    let sections = image.sections.iter().flatten().filter(|s| s.kind == SHT_RELA && s.vaddr != 0);
    tables.extend(sections.map(|s| image.section_bytes(s)));
    for table in tables {
        for row in table.chunks_exact(24) {
            let (Some(at), Some(info), Some(addend)) = (u64_at(row, 0), u64_at(row, 8), u64_at(row, 16)) else {
                continue;
            };
            relocation::<I>(image, text, at, info, addend, &mut found);
        }
    }
    relative(image, text, &mut found);
    if !image.is_shared() {
        fixed_words::<I>(image, text, &mut found.words);
    }
    found.patched.sort_unstable();
    found.words.sort_unstable();
    found.words.dedup();
    found
}

impl Pointers {
    /// The code address that the word at `at` holds.
    pub fn word(&self, at: u64) -> Option<u64> {
        let index = self.words.binary_search_by_key(&at, |w| w.0).ok()?;
        Some(self.words[index].1)
    }
}

fn relocation<I: Arch>(image: &Image<'_>, text: &Text, at: u64, info: u64, addend: u64, found: &mut Pointers) {
    if text.contains(at) || text.contains(at.wrapping_add(7)) {
        found.patched.push(at);
    }
    let symbol = u32::try_from(info >> 32).ok().filter(|&s| s != 0);
    let value = symbol.and_then(|s| dynamic_symbol_value(image, s));
    // The upper half of the field is the symbol.
    let target = match I::relocation(info as u32) {
        Some(Relocation::SymbolAndAddend) => value.map(|v| v.wrapping_add(addend)),
        Some(Relocation::Symbol) => value,
        Some(Relocation::Addend) => Some(addend),
        Some(Relocation::Resolver) => {
            found.resolvers.push(addend);
            Some(addend)
        }
        None => None,
    };
    found.words.extend(target.filter(|&t| text.contains(t)).map(|t| (at, t)));
}

/// `DT_RELR`: a packed list of places, each of which holds its own addend.
fn relative(image: &Image<'_>, text: &Text, found: &mut Pointers) {
    let range = &image.dynamic.relr;
    let table = image.bytes_at(range.start, range.end - range.start).unwrap_or_default();
    let mut next = 0u64;
    let mut word = |at: u64| {
        if text.contains(at) || text.contains(at.wrapping_add(7)) {
            found.patched.push(at);
        }
        let value = image.bytes_at(at, 8).and_then(|b| u64_at(b, 0));
        found.words.extend(value.filter(|&v| text.contains(v)).map(|v| (at, v)));
    };
    for row in table.chunks_exact(8) {
        let entry = u64_at(row, 0).unwrap_or(0);
        if entry & 1 == 0 {
            word(entry);
            next = entry.wrapping_add(8);
        } else {
            for bit in 0..63u64 {
                if entry >> (bit + 1) & 1 != 0 {
                    word(next.wrapping_add(bit * 8));
                }
            }
            next = next.wrapping_add(63 * 8);
        }
    }
}

/// A program linked at a fixed address needs no relocations for its pointers, so that every eight
/// bytes that look like a code address may be one, at any alignment (packed structures).
fn fixed_words<I: Arch>(image: &Image<'_>, text: &Text, words: &mut Vec<(u64, u64)>) {
    for segment in image.segments() {
        let bytes = slice(image.bytes, segment.offset, segment.size).unwrap_or_default();
        for (offset, word) in bytes.windows(8).enumerate() {
            // Almost no word of data has its upper half clear and the lower in range; this is the fast way out.
            if word[4..] != [0; 4] {
                continue;
            }
            let value = u64_at(word, 0).unwrap_or(0);
            let at = segment.vaddr + offset as u64;
            if value.is_multiple_of(I::ALIGN) && text.contains(value) && !text.contains(at) {
                words.push((at, value));
            }
        }
    }
}
