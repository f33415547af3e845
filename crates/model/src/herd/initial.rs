//! The initial state, and the values that can stand in it and in a condition.

use std::ops::Range;

use super::labels::Labels;
use super::source::{Refusal, Source};
use super::test::{Arch, Register, Test};
use super::token::{Token, Tokens};
use super::value::{Instr, Location, Value};
use super::{a64, program, riscv};

/// Types change nothing: a variable is as wide as what is stored in it.
const TYPES: [&str; 9] = ["ins_t", "void", "int", "long", "int32_t", "uint32_t", "int64_t", "uint64_t", "intptr_t"];

/// Reads it into the test.
///
/// # Errors
/// A construct outside of the surface, an unknown register or label, something given twice.
pub fn read(source: &Source, range: Range<usize>, test: &mut Test) -> Result<(), Refusal> {
    let mut at = range.start;
    for item in source.text()[range].split(';') {
        let mut tokens = source.tokens(at..at + item.len())?;
        at += item.len() + 1;
        if tokens.peek().is_some() {
            one(&mut tokens, test)?;
        }
    }
    Ok(())
}

fn one(tokens: &mut Tokens<'_>, test: &mut Test) -> Result<(), Refusal> {
    if let (Some(Token::Word(word)), Some(next)) = (tokens.peek(), tokens.ahead(1))
        && matches!(next, Token::Word(_) | Token::Int(_) | Token::Sign('*'))
    {
        if !TYPES.contains(&word.as_str()) {
            return Err(tokens.refuse(format!("the type {word} is outside of the surface")));
        }
        tokens.take();
        tokens.accept('*');
    }
    let at = tokens.at();
    let place = place(tokens, test)?;
    if !tokens.accept('=') {
        return tokens.done();
    }
    let value = value(tokens, test)?;
    let (twice, name) = match place {
        Place::Register(r) => (
            test.registers.iter().any(|(known, _)| *known == r),
            format!("{}:{}", r.process, test.register_name(r.number)),
        ),
        Place::Memory(at) => (test.memory.iter().any(|(known, _)| *known == at), test.name_of(at)),
    };
    if twice {
        return Err(tokens.source().refuse(at, format!("{name} is given twice")));
    }
    match place {
        Place::Register(register) => test.registers.push((register, value)),
        Place::Memory(at) => test.memory.push((at, value)),
    }
    tokens.done()
}

/// What can be given a value, or asked for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `0:X1`.
    Register(Register),
    /// `x`, `[x]`.
    Memory(Location),
}

/// Reads `0:X1`, `x` or `[x]`.
///
/// # Errors
/// An unknown process or register; page table entries and the like.
pub fn place(tokens: &mut Tokens<'_>, test: &mut Test) -> Result<Place, Refusal> {
    let at = tokens.at();
    if matches!(tokens.peek(), Some(Token::Int(_))) {
        let process = tokens.int("a process")?;
        let process = u8::try_from(process).ok().filter(|p| *p < test.processes);
        let process = process.ok_or_else(|| tokens.source().refuse(at, "there is no such process"))?;
        tokens.expect(':')?;
        let at = tokens.at();
        let name = tokens.word("a register")?;
        let number = match test.arch {
            Arch::AArch64 => a64::parse::register(&name).map(|r| r.number).filter(|n| *n < 31),
            Arch::Riscv => riscv::parse::register(&name).map(|r| r.0).filter(|n| *n > 0),
        };
        let number = number
            .ok_or_else(|| tokens.source().refuse(at, format!("\"{name}\" is no register that holds a value")))?;
        return Ok(Place::Register(Register { process, number }));
    }
    let bracket = tokens.accept('[');
    let at = tokens.at();
    let name = tokens.word("a register or a variable")?;
    let location = variable(tokens, at, &name, test)?;
    if bracket {
        tokens.expect(']')?;
    }
    Ok(Place::Memory(location))
}

fn variable(tokens: &Tokens<'_>, at: usize, name: &str, test: &mut Test) -> Result<Location, Refusal> {
    for (prefix, what) in [("pte_", "page table entries"), ("phy_", "physical addresses"), ("tag_", "memory tags")] {
        if name.starts_with(prefix) {
            return Err(tokens.source().refuse(at, format!("{name}: {what} are outside of the surface")));
        }
    }
    let symbol = test.symbol(name).map_err(|what| tokens.source().refuse(at, what))?;
    Ok(Location::Data(symbol))
}

/// Reads a number, a variable's address, `P0:label`, `label:"P0:label"`, `NOP` or `instr:"…"`.
///
/// # Errors
/// Anything else; an unknown label; an instruction outside of the surface.
pub fn value(tokens: &mut Tokens<'_>, test: &mut Test) -> Result<Value, Refusal> {
    if matches!(tokens.peek(), Some(Token::Int(_) | Token::Sign('-'))) {
        return Ok(Value::Int(tokens.int("a number")?));
    }
    let at = tokens.at();
    let word = tokens.word("a value")?;
    if tokens.peek() == Some(&Token::Sign(':')) {
        tokens.expect(':')?;
        return match (word.as_str(), tokens.take()) {
            ("instr", Some(Token::Text(range))) => quoted(tokens.source(), range, test),
            ("label", Some(Token::Text(range))) => {
                let mut inner = tokens.source().tokens(range)?;
                let at = inner.at();
                let process = inner.word("a process")?;
                inner.expect(':')?;
                let label = inner.word("a label")?;
                inner.done()?;
                labelled(inner.source(), at, &process, &label, test)
            }
            (process, Some(Token::Word(label))) => labelled(tokens.source(), at, process, &label, test),
            _ => Err(tokens.source().refuse(at, format!("{word}: is followed by something outside of the surface"))),
        };
    }
    if word == "NOP" && test.arch == Arch::AArch64 {
        return Ok(Value::Instr(Instr::A64(a64::Instr::Nop)));
    }
    Ok(Value::Address(variable(tokens, at, &word, test)?))
}

fn labelled(source: &Source, at: usize, process: &str, label: &str, test: &Test) -> Result<Value, Refusal> {
    let number = process.strip_prefix('P').and_then(|n| n.parse::<u8>().ok()).filter(|n| *n < test.processes);
    let number = number.ok_or_else(|| source.refuse(at, format!("there is no process {process}")))?;
    match test.labels.get(&(number, label.to_string())) {
        Some(there) => Ok(Value::Address(Location::Code(*there))),
        None => Err(source.refuse(at, format!("{process} has no label \"{label}\""))),
    }
}

fn quoted(source: &Source, range: Range<usize>, test: &Test) -> Result<Value, Refusal> {
    let labels = Labels { table: &test.labels, here: None };
    let (instr, _) = program::instruction(source, test.arch, range, &labels)?;
    Ok(Value::Instr(instr))
}
