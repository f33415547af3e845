//! The program: one column for each process, one instruction in a cell, rows ended by semicolons.

use std::ops::Range;

use super::labels::{Labels, Table};
use super::source::{Refusal, Source};
use super::test::{Arch, Column, Slot};
use super::token::Token;
use super::value::{CodeAddress, Instr};
use super::{a64, riscv};

/// The table before its instructions are read.
pub struct Layout {
    columns: Vec<Cells>,
    /// All labels.
    pub labels: Table,
    /// Where the table ends.
    pub end: usize,
}

/// One column before its instructions are read.
struct Cells {
    name: String,
    process: u8,
    handler: bool,
    instrs: Vec<Range<usize>>,
}

/// More would not fit into 64 events anyway.
const LONGEST: usize = 100;

/// Splits the table into cells and collects the labels.
///
/// # Errors
/// A row that is not ended, a cell too many, a label that stands twice.
pub fn layout(source: &Source, start: usize) -> Result<Layout, Refusal> {
    let text = source.text();
    let (head, mut at) = row(source, start)?;
    let mut columns = Vec::new();
    for cell in &head {
        columns.push(heading(source, cell.clone(), &columns)?);
    }
    let mut labels = Table::new();
    loop {
        let rest = &text[at..];
        let next = at + (rest.len() - rest.trim_start().len());
        let word = text[next..].trim_start_matches('~');
        let ends = ["exists", "forall", "locations", "filter"].iter().any(|end| word.starts_with(end));
        if next == text.len() || ends {
            return Ok(Layout { columns, labels, end: next });
        }
        let (cells, after) = row(source, at)?;
        if let Some(extra) = cells.get(columns.len()) {
            return Err(source.refuse(extra.start, "this row has more cells than there are processes"));
        }
        for (number, (cell, column)) in cells.into_iter().zip(&mut columns).enumerate() {
            let index = column.instrs.len();
            let rest = take_labels(source, cell, |name, at| {
                let there = CodeAddress { column: number as u8, index: index as u8 };
                match labels.insert((column.process, name.clone()), there) {
                    None => Ok(()),
                    Some(_) => Err(source.refuse(at, format!("P{} has the label \"{name}\" twice", column.process))),
                }
            })?;
            if text[rest.clone()].trim().is_empty() {
                continue;
            }
            if index == LONGEST {
                return Err(source.refuse(rest.start, format!("a process of more than {LONGEST} instructions")));
            }
            column.instrs.push(rest);
        }
        at = after;
    }
}

/// Reads the instructions.
///
/// # Errors
/// One that is outside of the surface, or that names a label that is not there.
pub fn columns(source: &Source, arch: Arch, layout: &Layout) -> Result<Vec<Column>, Refusal> {
    let mut out = Vec::new();
    for (number, cells) in layout.columns.iter().enumerate() {
        let mut slots = Vec::new();
        for (index, cell) in cells.instrs.iter().enumerate() {
            let here = CodeAddress { column: number as u8, index: index as u8 };
            let labels = Labels { table: &layout.labels, here: Some((cells.process, here)) };
            let (instr, at) = instruction(source, arch, cell.clone(), &labels)?;
            slots.push(Slot { instr, text: source.text()[cell.clone()].trim().into(), place: source.place(at) });
        }
        out.push(Column { name: cells.name.clone(), process: cells.process, handler: cells.handler, slots });
    }
    Ok(out)
}

/// One instruction, and where it begins.
///
/// # Errors
/// It is outside of the surface.
pub fn instruction(
    source: &Source,
    arch: Arch,
    cell: Range<usize>,
    labels: &Labels<'_>,
) -> Result<(Instr, usize), Refusal> {
    let mut tokens = source.tokens(cell)?;
    let at = tokens.at();
    let instr = match arch {
        Arch::AArch64 => Instr::A64(a64::parse::instruction(&mut tokens, labels)?),
        Arch::Riscv => Instr::Riscv(riscv::parse::instruction(&mut tokens, labels)?),
    };
    tokens.done()?;
    Ok((instr, at))
}

/// The cells of the row that begins here, and what follows its semicolon.
fn row(source: &Source, start: usize) -> Result<(Vec<Range<usize>>, usize), Refusal> {
    let text = source.text();
    let begin = start + (text[start..].len() - text[start..].trim_start().len());
    let end = text[start..].find(';').ok_or_else(|| source.refuse(begin, "this row has no semicolon"))? + start;
    let mut cells = Vec::new();
    let mut at = start;
    for cell in text[start..end].split('|') {
        cells.push(at..at + cell.len());
        at += cell.len() + 1;
    }
    Ok((cells, end + 1))
}

/// `P0` or `P0.F`.
fn heading(source: &Source, cell: Range<usize>, before: &[Cells]) -> Result<Cells, Refusal> {
    let name = source.text()[cell.clone()].trim().to_string();
    let at = cell.start + source.text()[cell.clone()].find(|c: char| !c.is_whitespace()).unwrap_or(0);
    let (process, handler) = match name.strip_suffix(".F") {
        Some(process) => (process, true),
        None => (name.as_str(), false),
    };
    let process = process.strip_prefix('P').and_then(|n| n.parse().ok()).filter(|n: &u8| *n < 8);
    let Some(process) = process else {
        return Err(source.refuse(at, format!("\"{name}\" stands where a process, P0 to P7, should")));
    };
    if before.iter().any(|c| c.process == process && c.handler == handler) {
        return Err(source.refuse(at, format!("{name} stands twice")));
    }
    let processes = before.iter().filter(|c| !c.handler).count();
    let in_order = if handler { usize::from(process) < processes } else { usize::from(process) == processes };
    if !in_order {
        return Err(
            source.refuse(at, format!("{name} is out of order; processes come as P0, P1, …, handlers after them"))
        );
    }
    Ok(Cells { name, process, handler, instrs: Vec::new() })
}

/// Takes `L0: L1:` off the front of a cell.
fn take_labels(
    source: &Source,
    cell: Range<usize>,
    mut found: impl FnMut(String, usize) -> Result<(), Refusal>,
) -> Result<Range<usize>, Refusal> {
    let mut tokens = source.tokens(cell.clone())?;
    while tokens.ahead(1) == Some(&Token::Sign(':')) {
        let at = tokens.at();
        let name = tokens.word("a label")?;
        tokens.expect(':')?;
        found(name, at)?;
    }
    Ok(tokens.at()..cell.end)
}
