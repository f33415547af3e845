//! Jump tables: arrays of offsets, or of addresses, that lead into a function.

use core::ops::Range;
use std::collections::HashSet;

use crate::body::Body;
use crate::ehframe::{Cfa, Unwind};
use crate::elf::{Image, u32_at};
use crate::fragments::{Fragment, containing};
use crate::functions::Source;
use crate::indirect::table_jumps;
use crate::isa::Arch;
use crate::pointers::Pointers;
use crate::text::{Mark, Marks, Text};

/// Where a table may be, and how it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Table {
    pub at: u64,
    pub rows: Rows,
}

/// What the entries of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rows {
    /// Four bytes each, added to the start of the table; or addresses of eight bytes. It is not known which.
    Words,
    /// At most `count`, of `size` bytes each, `signed` or not, shifted left by `shift` and added to `origin`.
    Scaled { origin: u64, size: u8, signed: bool, shift: u8, count: usize },
}

/// What is needed to read the tables of a function.
pub(crate) struct Tables<'t, 'a> {
    pub image: &'t Image<'a>,
    pub text: &'t Text,
    pub all: &'t [Fragment],
    pub marks: &'t Marks,
    pub unwind: &'t Unwind<'a>,
    pub pointers: &'t Pointers,
}

/// Where the tables of a function lead to.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    pub code: Vec<u64>,
    /// Tables of addresses, in data.
    pub addresses: Vec<Range<u64>>,
    /// There are tables of offsets.
    pub offsets: bool,
}

/// How far tables may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Into the function and into cold parts.
    Function,
    /// Into any code: for cold parts whose function is not known, and for hand-written code that has
    /// symbols in its middle.
    Anywhere,
}

/// How control comes to the targets of tables.
struct Ways {
    /// Where the frame begins at each of the jumps.
    frames: Vec<Option<Cfa>>,
    reach: Reach,
}

impl Tables<'_, '_> {
    /// All tables that a function may jump through.
    ///
    /// Entries are read as long as they make sense, never by the bound of the switch: too many
    /// targets refuse a patch, too few would allow a wrong one. Not so the small offsets of AArch64, where each site is
    /// one instruction and any of them may be jumped to: there targets only tell code from data.
    pub fn of<I: Arch>(&self, body: &Body<I>, reach: Reach) -> Targets {
        let mut targets = Targets::default();
        let frames = table_jumps(body, self.marks).map(|ip| self.unwind.cfa_at(ip)).collect();
        let ways = Ways { frames, reach };
        let mut tables = Vec::new();
        I::tables(self.image, body, &mut tables);
        tables.sort_unstable();
        tables.dedup();
        // From the back, so that a table that goes on into one that is known need not be read to its end.
        let mut known = HashSet::new();
        let mut next = u64::MAX;
        for table in tables.into_iter().rev().filter(|t| !self.text.contains(t.at)) {
            let base = table.at;
            let found = match table.rows {
                Rows::Words => self.offsets(body, &ways, base),
                Rows::Scaled { .. } => self.scaled(body, &ways, table, next),
            };
            if found.iter().any(|&t| body.contains(t)) {
                targets.offsets = true;
                targets.code.extend(found);
            }
            if table.rows != Rows::Words {
                next = base;
                continue;
            }
            // An array of function pointers is no jump table: no entry leads into this function.
            let found = self.addresses(body, &ways, base, &known);
            if found.iter().any(|&t| body.contains(t)) {
                known.insert(base);
                targets.addresses.push(base..base + 8 * found.len() as u64);
                targets.code.extend(found);
            }
        }
        targets.code.sort_unstable();
        targets.code.dedup();
        targets
    }

    /// A table of small offsets: almost any byte makes sense as one, so that the next table of the function ends it, too,
    /// and the bound of the switch.
    fn scaled<I: Arch>(&self, body: &Body<I>, ways: &Ways, table: Table, next: u64) -> Vec<u64> {
        let Rows::Scaled { origin, size, signed, shift, count } = table.rows else { return Vec::new() };
        let bytes = self.image.bytes_from(table.at).unwrap_or_default();
        let until = usize::try_from(next - table.at).unwrap_or(usize::MAX).min(bytes.len());
        let unused = 64 - 8 * u32::from(size);
        let rows = bytes[..until].chunks_exact(usize::from(size)).take(count).map(|row| {
            let raw = row.iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
            let value = if signed { ((raw << unused).cast_signed() >> unused).cast_unsigned() } else { raw };
            origin.wrapping_add(value << shift)
        });
        rows.take_while(|&target| self.possible(body, ways, target)).collect()
    }

    fn offsets<I: Arch>(&self, body: &Body<I>, ways: &Ways, table: u64) -> Vec<u64> {
        let bytes = self.image.bytes_from(table).unwrap_or_default();
        let rows = bytes.chunks_exact(4).map(|row| u32_at(row, 0).unwrap_or(0).cast_signed());
        let rows = rows.map(|offset| table.wrapping_add_signed(i64::from(offset)));
        rows.take_while(|&target| self.possible(body, ways, target)).collect()
    }

    fn addresses<I: Arch>(&self, body: &Body<I>, ways: &Ways, table: u64, known: &HashSet<u64>) -> Vec<u64> {
        let places = (0..).map_while(|i| table.checked_add(8 * i)).take_while(|at| !known.contains(at));
        let rows = places.map_while(|at| self.pointers.word(at));
        rows.take_while(|&target| self.possible(body, ways, target)).collect()
    }

    /// A table may lead to the start of an instruction, to the very end (for cases that cannot be),
    /// or into a cold part, where the frame is the same as at the jump. In stripped files, anything
    /// that nobody calls may be a cold part.
    fn possible<I: Arch>(&self, body: &Body<I>, ways: &Ways, target: u64) -> bool {
        if body.contains(target) {
            return body.index(target).is_some();
        }
        if body.parts.iter().any(|p| p.1 == target) {
            return true;
        }
        let Some(part) = containing(self.all, target).map(|i| &self.all[i]) else { return false };
        if ways.reach == Reach::Anywhere {
            return true;
        }
        let cold = part.cold || part.source == Source::EhFrame && !self.marks.get(Mark::Called, part.start);
        cold && self.unwind.cfa_at(target).is_none_or(|cfa| ways.frames.contains(&Some(cfa)))
    }
}
