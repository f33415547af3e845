//! The pieces of code that symbols and unwind entries delimit: functions and their cold parts.

use std::collections::{HashMap, HashSet};

use crate::ehframe::Unwind;
use crate::elf::Image;
use crate::functions::Source;
use crate::isa::Arch;
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
pub(crate) fn fragments<I: Arch>(
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
            SymbolKind::CodeFrom | SymbolKind::DataFrom => {}
        }
        if matches!(symbol.kind, SymbolKind::Function | SymbolKind::Ifunc | SymbolKind::Label) {
            marks.set(Mark::Start, symbol.vaddr);
        }
    }
    marks.set_pools(pools(text, symbols));
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
        if before.is_some_and(|i| fde.start < reach[i].1) || I::is_stub(image, fde.start) {
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
        let framed = fragment.fde.is_some_and(|i| unwind.fdes[i].cfa != Some(I::ENTRY));
        fragment.cold = by_name || framed;
    }
    all
}

/// The data between the code that mapping symbols tell of: each holds up to the next.
fn pools(text: &Text, symbols: &[Symbol<'_>]) -> Vec<(u64, u64)> {
    let kinds = [SymbolKind::CodeFrom, SymbolKind::DataFrom];
    let mut changes: Vec<(u64, bool)> =
        symbols.iter().filter(|s| kinds.contains(&s.kind)).map(|s| (s.vaddr, s.kind == SymbolKind::DataFrom)).collect();
    // Of several at one address, one that says code decides: the others hold for no byte.
    changes.sort_unstable();
    changes.dedup_by_key(|c| c.0);
    let end = |index: usize| changes.get(index + 1).map_or(u64::MAX, |c| c.0);
    let data = changes.iter().enumerate().filter(|(_, c)| c.1);
    data.filter_map(|(index, c)| Some((c.0, end(index).min(text.range(c.0)?.end)))).collect()
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

/// The fragment that contains an address, among sorted fragments that may overlap a little.
pub(crate) fn containing(all: &[Fragment], vaddr: u64) -> Option<usize> {
    let last = all.partition_point(|f| f.start <= vaddr).checked_sub(1)?;
    // Overlaps are rare and shallow; a deeper search would not change what is refused.
    (last.saturating_sub(4)..=last).rev().find(|&i| vaddr < all[i].end)
}
