//! A test as it is read from its file.

use super::condition::Condition;
use super::header;
use super::initial;
use super::labels::Table;
use super::program;
use super::source::{Refusal, Source};
use super::value::{CodeAddress, Instr, Location, Value};

/// The instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// `AArch64`.
    AArch64,
    /// `RISCV`.
    Riscv,
}

/// What the header says about the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `CTR_EL0.DIC`: fetches need no IC. In the catalogue this includes `idc`.
    pub dic: bool,
    /// `CTR_EL0.IDC`: they need no DC.
    pub idc: bool,
    /// A fault ends its thread even where there is a handler.
    pub fatal: bool,
    /// FEAT_ExS: exception entry and return synchronise the context only with `eis` and `eos`.
    pub exs: bool,
    /// `SCTLR_ELx.EIS`.
    pub eis: bool,
    /// `SCTLR_ELx.EOS`.
    pub eos: bool,
}

/// One instruction of the program.
#[derive(Clone, Debug)]
pub struct Slot {
    /// What stands there at first.
    pub instr: Instr,
    /// As it was written.
    pub text: String,
    /// Line and column.
    pub place: (usize, usize),
}

/// A column of the program: a process, or what it runs when it takes an exception.
#[derive(Clone, Debug)]
pub struct Column {
    /// `P0`, `P0.F`.
    pub name: String,
    /// The process.
    pub process: u8,
    /// Whether it is the handler, `P0.F`.
    pub handler: bool,
    /// The instructions.
    pub slots: Vec<Slot>,
}

/// A register of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Register {
    /// The process.
    pub process: u8,
    /// The register's number.
    pub number: u8,
}

/// A test.
#[derive(Clone, Debug)]
pub struct Test {
    /// The instruction set.
    pub arch: Arch,
    /// Its name, from the first line.
    pub name: String,
    /// The machine.
    pub options: Options,
    /// The program.
    pub columns: Vec<Column>,
    /// How many processes there are.
    pub processes: u8,
    /// The variables' names; a [`Location::Data`] is an index into it.
    pub symbols: Vec<String>,
    /// Registers that do not begin as zero.
    pub registers: Vec<(Register, Value)>,
    /// Variables that do not begin as zero.
    pub memory: Vec<(Location, Value)>,
    /// What is asked.
    pub condition: Condition,
    /// The labels.
    pub labels: Table,
}

/// Reads a test.
///
/// # Errors
/// The text is not in herd's format, or uses something outside of the surface; with the place.
pub fn parse(text: &str) -> Result<Test, Refusal> {
    let source = Source::new(text)?;
    let header = header::read(&source)?;
    let table = program::layout(&source, header.program)?;
    let columns = program::columns(&source, header.arch, &table)?;
    let mut test = Test {
        arch: header.arch,
        name: header.name,
        options: header.options,
        processes: columns.iter().map(|c| c.process + 1).max().unwrap_or(0),
        columns,
        symbols: Vec::new(),
        registers: Vec::new(),
        memory: Vec::new(),
        condition: Condition::default(),
        labels: table.labels,
    };
    initial::read(&source, header.initial, &mut test)?;
    test.condition = super::condition::read(&source, table.end, &mut test)?;
    Ok(test)
}

impl Test {
    /// The variable of this name, made if need be.
    ///
    /// # Errors
    /// There are more than 200.
    pub fn symbol(&mut self, name: &str) -> Result<u8, String> {
        if let Some(known) = self.symbols.iter().position(|s| s == name) {
            return Ok(known as u8);
        }
        if self.symbols.len() == 200 {
            return Err("more than 200 variables".into());
        }
        self.symbols.push(name.into());
        Ok((self.symbols.len() - 1) as u8)
    }

    /// What a location holds at first.
    #[must_use]
    pub fn initially(&self, at: Location) -> Value {
        match at {
            Location::Code(at) => self.slot(at).map_or(Value::ZERO, |slot| Value::Instr(slot.instr)),
            Location::Elsewhere => Value::ZERO,
            Location::Data(_) => self.memory.iter().find(|(l, _)| *l == at).map_or(Value::ZERO, |(_, value)| *value),
        }
    }

    /// The instruction's place in the file, if one stands at this address.
    #[must_use]
    pub fn slot(&self, at: CodeAddress) -> Option<&Slot> {
        self.columns[usize::from(at.column)].slots.get(usize::from(at.index))
    }

    /// An address by its first label, or by its distance from the beginning of the column.
    #[must_use]
    pub fn name_of(&self, at: Location) -> String {
        match at {
            Location::Elsewhere => "an address of nothing".into(),
            Location::Data(n) => self.symbols[usize::from(n)].clone(),
            Location::Code(at) => {
                let column = &self.columns[usize::from(at.column)];
                match self.label_at(at) {
                    Some(label) => format!("P{}:{label}", column.process),
                    None => format!("{}+{}", column.name, u32::from(at.index) * 4),
                }
            }
        }
    }

    /// A label of this address.
    #[must_use]
    pub fn label_at(&self, at: CodeAddress) -> Option<&str> {
        self.labels.iter().find(|(_, there)| **there == at).map(|((_, name), _)| name.as_str())
    }

    /// A value as people write it.
    #[must_use]
    pub fn show(&self, value: Value) -> String {
        match value {
            Value::Int(n) => n.to_string(),
            Value::Address(at) => self.name_of(at),
            Value::Instr(Instr::A64(i)) => format!("\"{i}\""),
            Value::Instr(Instr::Riscv(i)) => format!("\"{i}\""),
        }
    }

    /// A register's name.
    #[must_use]
    pub fn register_name(&self, number: u8) -> String {
        match self.arch {
            Arch::AArch64 => format!("X{number}"),
            Arch::Riscv => super::riscv::NAMES[usize::from(number)].into(),
        }
    }
}
