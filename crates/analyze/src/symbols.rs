//! Symbol tables: `.symtab`, `.dynsym`, and the dynamic table's own when section headers are gone.

use core::ops::Range;

use crate::elf::{Image, SHT_DYNSYM, SHT_SYMTAB, Section, slice, string_at, u16_at, u32_at, u64_at};
use crate::functions::Source;

/// What a symbol says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SymbolKind {
    Function,
    Ifunc,
    /// Data.
    Object,
    /// Assembly labels and the like.
    Label,
    /// A mapping symbol: from here on there is code (`$x`).
    CodeFrom,
    /// From here on there is data (`$d`).
    DataFrom,
}

/// A symbol defined in the file.
#[derive(Clone, Debug)]
pub(crate) struct Symbol<'a> {
    pub name: &'a str,
    pub vaddr: u64,
    pub size: u64,
    pub kind: SymbolKind,
    /// 0 local, 1 weak, 2 global: the higher, the better a name.
    pub rank: u8,
    pub source: Source,
}

/// Every defined symbol of the file, in no order, with aliases.
pub(crate) fn symbols<'a>(image: &Image<'a>) -> Vec<Symbol<'a>> {
    let mut all = Vec::new();
    let mut have_dynsym = false;
    for section in image.sections.iter().flatten() {
        let source = match section.kind {
            SHT_SYMTAB => Source::Symtab,
            SHT_DYNSYM => Source::Dynsym,
            _ => continue,
        };
        have_dynsym |= source == Source::Dynsym;
        let strings = linked(image, section).map(|s| image.section_bytes(s)).unwrap_or_default();
        read_table(image.section_bytes(section), strings, source, &mut all);
    }
    if !have_dynsym && image.dynamic.symtab != 0 {
        let d = &image.dynamic;
        let strings = image.bytes_at(d.strtab, d.strsz).unwrap_or_default();
        let count = dynamic_symbol_count(image).unwrap_or(0);
        let table = count.checked_mul(24).and_then(|size| image.bytes_at(d.symtab, size)).unwrap_or_default();
        read_table(table, strings, Source::Dynsym, &mut all);
    }
    all
}

/// Code that cryptographic modules hash to see that it is what was certified.
pub(crate) fn self_checked(symbols: &[Symbol<'_>]) -> Vec<Range<u64>> {
    let address = |name| symbols.iter().find(|s| s.name == name).map(|s| s.vaddr);
    [("BORINGSSL_bcm_text_start", "BORINGSSL_bcm_text_end"), ("FIPS_text_start", "FIPS_text_end")]
        .into_iter()
        .filter_map(|(start, end)| Some(address(start)?..address(end)?))
        .collect()
}

/// Address of the symbol with this index in the dynamic symbol table, if the file defines it.
pub(crate) fn dynamic_symbol_value(image: &Image<'_>, index: u32) -> Option<u64> {
    let at = image.dynamic.symtab.checked_add(u64::from(index).checked_mul(24)?)?;
    let row = image.bytes_at(at, 24)?;
    (u16_at(row, 6)? != 0).then_some(u64_at(row, 8)?)
}

fn linked<'i>(image: &'i Image<'_>, section: &Section) -> Option<&'i Section> {
    image.sections.get(usize::try_from(section.link).ok()?)?.as_ref()
}

fn read_table<'a>(table: &'a [u8], strings: &'a [u8], source: Source, all: &mut Vec<Symbol<'a>>) {
    for row in table.chunks_exact(24) {
        let (Some(name), Some(section), Some(vaddr), Some(size)) =
            (u32_at(row, 0), u16_at(row, 6), u64_at(row, 8), u64_at(row, 16))
        else {
            continue;
        };
        // Undefined, absolute and common symbols have no place in the code.
        if section == 0 || section >= 0xff00 && section != 0xffff || vaddr == 0 {
            continue;
        }
        let name = string_at(strings, u64::from(name)).unwrap_or_default();
        let kind = match row[4] & 15 {
            0 => match label(name) {
                Some(kind) => kind,
                None => continue,
            },
            1 => SymbolKind::Object,
            2 => SymbolKind::Function,
            10 => SymbolKind::Ifunc,
            _ => continue,
        };
        let rank = match row[4] >> 4 {
            0 => 0,
            2 => 1,
            _ => 2,
        };
        // In a static symbol table the version may be part of the name: `memcpy@@GLIBC_2.14`.
        let name = name.split('@').next().unwrap_or_default();
        all.push(Symbol { name, vaddr, size, kind, rank, source });
    }
}

/// What a symbol without a type is: a mapping symbol (ELF for the Arm 64-bit Architecture, and RISC-V psABI, "Mapping
/// symbol"), a label of a compiler, which says nothing that its branches do not say, or a label that somebody wrote.
fn label(name: &str) -> Option<SymbolKind> {
    let maps = |kind: &str| name.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    if maps("$x") || name.starts_with("$xrv") {
        Some(SymbolKind::CodeFrom)
    } else if maps("$d") {
        Some(SymbolKind::DataFrom)
    } else {
        (!name.starts_with(".L")).then_some(SymbolKind::Label)
    }
}

/// The dynamic table does not say how many symbols there are; the hash tables do.
fn dynamic_symbol_count(image: &Image<'_>) -> Option<u64> {
    if image.dynamic.hash != 0 {
        return Some(u64::from(u32_at(image.bytes_at(image.dynamic.hash, 8)?, 4)?));
    }
    let table = image.bytes_from(image.dynamic.gnu_hash)?;
    let (buckets, first, bloom) = (u32_at(table, 0)?, u32_at(table, 4)?, u32_at(table, 8)?);
    let buckets_at = 16u64.checked_add(u64::from(bloom).checked_mul(8)?)?;
    let rows = slice(table, buckets_at, u64::from(buckets).checked_mul(4)?)?;
    let last = rows.chunks_exact(4).filter_map(|row| u32_at(row, 0)).max().unwrap_or(0);
    if last < first {
        return Some(u64::from(first));
    }
    // The chain of the highest bucket ends with a value whose lowest bit is set.
    let chains = buckets_at + u64::from(buckets) * 4;
    for index in u64::from(last).. {
        let value = u32_at(slice(table, chains + (index - u64::from(first)) * 4, 4)?, 0)?;
        if value & 1 != 0 {
            return Some(index + 1);
        }
    }
    None
}
