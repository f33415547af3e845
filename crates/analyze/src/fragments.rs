//! The pieces of code that symbols and unwind entries delimit: functions and their cold parts.

use std::collections::{HashMap, HashSet};

use iced_x86::{Decoder, DecoderOptions, Mnemonic};

use crate::ehframe::{Cfa, Unwind};
use crate::elf::Image;
use crate::functions::Source;
use crate::names::cold_parent;
use crate::symbols::{Symbol, SymbolKind};
use crate::text::{Mark, Marks, Text};

/// A contiguous piece of code that belongs together.
#[derive(Clone, Debug)]
pub(crate) struct Fragment {
    pub start: u64,
    pub end: u64,
    pub name: String,
    pub aliases: Vec<String>,
    pub source: Source,
    pub global: bool,
    /// Index of the unwind entry that starts here.
    pub fde: Option<usize>,
    /// Not an entry: runs in the frame of another function.
    pub cold: bool,
    pub ifunc: bool,
    /// Shares bytes with another fragment.
    pub overlaps: bool,
    /// A cold part's function.
    pub owner: Option<usize>,
}

/// Finds all fragments, sorted by start, and marks their starts, other labels, and data.
pub(crate) fn fragments(
    image: &Image<'_>,
    text: &Text,
    symbols: &[Symbol<'_>],
    unwind: &Unwind<'_>,
    marks: &mut Marks,
) -> Vec<Fragment> {
    let in_code = |vaddr| text.range(vaddr).is_some_and(|r| !r.stubs);
    let mut named: HashMap<u64, Vec<&Symbol<'_>>> = HashMap::new();
    let mut labels: HashMap<u64, &Symbol<'_>> = HashMap::new();
    for symbol in symbols.iter().filter(|s| in_code(s.vaddr)) {
        match symbol.kind {
            SymbolKind::Function | SymbolKind::Ifunc => named.entry(symbol.vaddr).or_default().push(symbol),
            SymbolKind::Object => (0..symbol.size.min(1 << 20)).for_each(|i| marks.set(Mark::Data, symbol.vaddr + i)),
            SymbolKind::Label => {
                let best = labels.entry(symbol.vaddr).or_insert(symbol);
                if symbol.rank > best.rank {
                    *best = symbol;
                }
            }
        }
        if symbol.kind != SymbolKind::Object {
            marks.set(Mark::Start, symbol.vaddr);
        }
    }
    let mut all = Vec::with_capacity(named.len());
    for (&start, symbols) in &mut named {
        all.push(from_symbols(start, symbols));
    }
    all.sort_by_key(|f| f.start);
    let mut reach = all.iter().map(|f| (f.start, f.end)).collect::<Vec<_>>();
    // The furthest end of all symbols up to each, to see which unwind entries lie inside one.
    for i in 1..reach.len() {
        reach[i].1 = reach[i].1.max(reach[i - 1].1);
    }
    let mut by_start: HashMap<u64, usize> = all.iter().enumerate().map(|(i, f)| (f.start, i)).collect();
    for (index, fde) in unwind.fdes.iter().enumerate().filter(|(_, f)| in_code(f.start)) {
        marks.set(Mark::Start, fde.start);
        if fde.signal {
            continue;
        }
        if let Some(&known) = by_start.get(&fde.start) {
            all[known].fde = Some(index);
            continue;
        }
        let before = reach.partition_point(|r| r.0 <= fde.start).checked_sub(1);
        if before.is_some_and(|i| fde.start < reach[i].1) || is_stub(image, fde.start) {
            continue;
        }
        let label = labels.get(&fde.start).filter(|s| !s.name.is_empty());
        by_start.insert(fde.start, all.len());
        all.push(Fragment {
            start: fde.start,
            end: fde.end,
            name: label.map_or_else(|| format!("fn_{:x}", fde.start), |s| s.name.to_owned()),
            aliases: Vec::new(),
            source: label.map_or(Source::EhFrame, |s| s.source),
            global: label.is_some_and(|s| s.rank > 0),
            fde: Some(index),
            cold: false,
            ifunc: false,
            overlaps: false,
            owner: None,
        });
    }
    all.sort_by_key(|f| f.start);
    bound(&mut all, text, unwind);
    for fragment in &mut all {
        let by_name = fragment.source != Source::EhFrame && cold_parent(&fragment.name).is_some();
        let framed = fragment.fde.is_some_and(|i| unwind.fdes[i].cfa != Some(Cfa::ENTRY));
        fragment.cold = by_name || framed;
    }
    all
}

/// One fragment for all symbols of an address.
fn from_symbols(start: u64, symbols: &mut [&Symbol<'_>]) -> Fragment {
    // The best name is visible outside; among equals the one that looks least like an internal one.
    symbols.sort_by_key(|s| {
        let underscores = s.name.len() - s.name.trim_start_matches('_').len();
        (s.name.is_empty(), core::cmp::Reverse(s.rank), underscores, s.name.len(), s.name)
    });
    let mut seen = HashSet::new();
    let mut names = symbols.iter().map(|s| s.name).filter(|n| !n.is_empty() && seen.insert(*n)).map(str::to_owned);
    Fragment {
        start,
        // Saturation: a size that leaves the address space is cut to the code around it below.
        end: start.saturating_add(symbols.iter().map(|s| s.size).max().unwrap_or(0)),
        name: names.next().unwrap_or_else(|| format!("fn_{start:x}")),
        aliases: names.collect(),
        source: symbols.iter().map(|s| s.source).min().unwrap_or(Source::Symtab),
        global: symbols.iter().any(|s| s.rank > 0),
        fde: None,
        cold: false,
        ifunc: symbols.iter().any(|s| s.kind == SymbolKind::Ifunc),
        overlaps: false,
        owner: None,
    }
}

/// Gives every fragment an end inside its range of code, and finds those that share bytes.
fn bound(all: &mut [Fragment], text: &Text, unwind: &Unwind<'_>) {
    let mut furthest: Option<usize> = None;
    for i in 0..all.len() {
        let next = all.get(i + 1).map_or(u64::MAX, |f| f.start);
        let fragment = &mut all[i];
        let limit = text.range(fragment.start).map_or(fragment.start, |r| r.end);
        let unwound = fragment.fde.map(|f| unwind.fdes[f].end).filter(|&end| end <= next);
        if fragment.end <= fragment.start {
            fragment.end = unwound.unwrap_or(next);
        }
        // Hand-written code with a short size: the unwind entry knows the rest of it.
        fragment.end = fragment.end.max(unwound.unwrap_or(0)).min(limit);
        let (start, end) = (fragment.start, fragment.end);
        if let Some(before) = furthest
            && start < all[before].end
        {
            all[before].overlaps = true;
            all[i].overlaps = true;
        }
        if furthest.is_none_or(|before| end > all[before].end) {
            furthest = Some(i);
        }
    }
}

/// `jmp [rip+x]`, or `push [rip+x]; jmp [rip+x]`: a procedure linkage table that no section header names.
fn is_stub(image: &Image<'_>, vaddr: u64) -> bool {
    let Some(bytes) = image.bytes_from(vaddr) else { return false };
    let mut decoder = Decoder::with_ip(64, bytes, vaddr, DecoderOptions::NONE);
    let mut insn = decoder.decode();
    let first =
        insn.mnemonic() == Mnemonic::Endbr64 || insn.mnemonic() == Mnemonic::Push && insn.is_ip_rel_memory_operand();
    if first {
        insn = decoder.decode();
    }
    insn.is_jmp_near_indirect() && insn.is_ip_rel_memory_operand()
}

/// The fragment that contains an address, among sorted fragments that may overlap a little.
pub(crate) fn containing(all: &[Fragment], vaddr: u64) -> Option<usize> {
    let last = all.partition_point(|f| f.start <= vaddr).checked_sub(1)?;
    // Overlaps are rare and shallow; a deeper search would not change what is refused.
    (last.saturating_sub(4)..=last).rev().find(|&i| vaddr < all[i].end)
}
