//! A64 assembly, as far as the surface goes.

use super::{Alu, BarrierKind, CONDS, Cond, Instr, Offset, Operand, Reg};
use crate::herd::event::Acquire;
use crate::herd::labels::Labels;
use crate::herd::source::Refusal;
use crate::herd::token::{Token, Tokens};

/// A register by name: `X0` to `X30`, `W0` to `W30`, `XZR`, `WZR`, in either case.
#[must_use]
pub fn register(name: &str) -> Option<Reg> {
    let name = name.to_ascii_uppercase();
    let (size, number) = name.split_at_checked(1)?;
    let wide = match size {
        "X" => true,
        "W" => false,
        _ => return None,
    };
    let number = match number {
        "ZR" => 31,
        digits => digits.parse().ok().filter(|n: &u8| *n < 31 && n.to_string() == digits)?,
    };
    Some(Reg { number, wide })
}

/// Reads one instruction, which the tokens begin with.
///
/// # Errors
/// It is outside of the surface, or its operands are wrong.
pub fn instruction(tokens: &mut Tokens<'_>, labels: &Labels<'_>) -> Result<Instr, Refusal> {
    let start = tokens.at();
    let written = tokens.word("an instruction")?;
    let name = written.to_ascii_uppercase();
    if let Some(cond) = name.strip_prefix("B.") {
        let cond = condition(cond).ok_or_else(|| {
            tokens.source().refuse(start, format!("the condition of {written} is not in the surface"))
        })?;
        return Ok(Instr::Bcond { cond, to: labels.target(tokens)? });
    }
    Ok(match name.as_str() {
        "NOP" => Instr::Nop,
        "ISB" => {
            if let Some(Token::Word(option)) = tokens.peek()
                && option.eq_ignore_ascii_case("SY")
            {
                tokens.take();
            }
            Instr::Isb
        }
        "ERET" => Instr::Eret,
        "UDF" => Instr::Udf(number(tokens)?),
        "SVC" => Instr::Svc(number(tokens)?),
        "MOV" => {
            let rd = comma(tokens)?;
            let from = match operand(tokens)? {
                Operand::Imm(n) if !rd.wide => Operand::Imm(n & 0xffff_ffff),
                other => other,
            };
            Instr::Mov { rd, from }
        }
        "ADD" | "SUB" | "AND" | "EOR" | "ORR" => {
            let op = match name.as_str() {
                "ADD" => Alu::Add,
                "SUB" => Alu::Sub,
                "AND" => Alu::And,
                "EOR" => Alu::Eor,
                _ => Alu::Orr,
            };
            Instr::Alu { op, rd: comma(tokens)?, rn: comma(tokens)?, rm: operand(tokens)? }
        }
        "CMP" => Instr::Cmp { rn: comma(tokens)?, rm: operand(tokens)? },
        "CSEL" => {
            let (rd, rn, rm) = (comma(tokens)?, comma(tokens)?, comma(tokens)?);
            Instr::Csel { rd, rn, rm, cond: named_condition(tokens)?, inc: false }
        }
        "CSET" => {
            let rd = comma(tokens)?;
            let zero = Reg { number: 31, wide: rd.wide };
            let cond = Cond(named_condition(tokens)?.0 ^ 1);
            Instr::Csel { rd, rn: zero, rm: zero, cond, inc: true }
        }
        "ADR" => Instr::Adr { rd: comma(tokens)?, to: labels.target(tokens)? },
        "B" => Instr::B { to: labels.target(tokens)?, link: false },
        "BL" => Instr::B { to: labels.target(tokens)?, link: true },
        "CBZ" | "CBNZ" => Instr::Cbz { rt: comma(tokens)?, to: labels.target(tokens)?, nonzero: name == "CBNZ" },
        "BR" | "BLR" => Instr::Br { rn: wide(tokens)?, link: name == "BLR", ret: false },
        "RET" => {
            let rn = if tokens.peek().is_some() { wide(tokens)? } else { Reg { number: 30, wide: true } };
            Instr::Br { rn, link: false, ret: true }
        }
        "LDR" | "STR" | "LDAR" | "LDAPR" | "STLR" => memory(&name, tokens)?,
        "DC" => {
            let kind = maintenance(tokens, "DC", &["CVAU", "CIVAC"])?;
            Instr::Dc { civac: kind == "CIVAC", rt: last(tokens)? }
        }
        "IC" => match maintenance(tokens, "IC", &["IVAU", "IALLU", "IALLUIS"])?.as_str() {
            "IVAU" => Instr::Ic { rt: last(tokens)? },
            kind => Instr::IcAll { is: kind == "IALLUIS" },
        },
        "DMB" => Instr::Dmb(barrier(tokens, "DMB")?),
        "DSB" => Instr::Dsb(barrier(tokens, "DSB")?),
        "MSR" => {
            let at = tokens.at();
            let system = tokens.word("a system register")?;
            if !system.eq_ignore_ascii_case("ELR_EL1") {
                return Err(tokens.source().refuse(at, format!("MSR {system} is outside of the surface")));
            }
            Instr::MsrElr { rt: last(tokens)? }
        }
        _ => return Err(tokens.source().refuse(start, format!("the instruction {written} is outside of the surface"))),
    })
}

fn memory(name: &str, tokens: &mut Tokens<'_>) -> Result<Instr, Refusal> {
    let rt = comma(tokens)?;
    tokens.expect('[')?;
    let rn = wide(tokens)?;
    let mut offset = Offset::Imm(0);
    if tokens.accept(',') {
        offset = match operand(tokens)? {
            Operand::Imm(n) => Offset::Imm(n),
            Operand::Reg(reg) => {
                let mut signed = false;
                if tokens.accept(',') {
                    let at = tokens.at();
                    let how = tokens.word("SXTW or UXTW")?;
                    signed = how.eq_ignore_ascii_case("SXTW");
                    if reg.wide || !(signed || how.eq_ignore_ascii_case("UXTW")) {
                        return Err(tokens
                            .source()
                            .refuse(at, format!("the extension {how} is outside of the surface")));
                    }
                    if tokens.accept('#') && tokens.int("a shift")? != 0 {
                        return Err(tokens.source().refuse(at, "a shifted index is outside of the surface"));
                    }
                }
                Offset::Reg(reg, signed)
            }
        };
    }
    tokens.expect(']')?;
    if tokens.peek().is_some() {
        return Err(tokens.refuse(format!("{name} with write-back is outside of the surface")));
    }
    if matches!(name, "LDAR" | "LDAPR" | "STLR") && offset != Offset::Imm(0) {
        return Err(tokens.refuse(format!("{name} takes no offset")));
    }
    Ok(match name {
        "LDR" => Instr::Load { rt, rn, offset, acquire: Acquire::No },
        "LDAR" => Instr::Load { rt, rn, offset, acquire: Acquire::Full },
        "LDAPR" => Instr::Load { rt, rn, offset, acquire: Acquire::Weak },
        "STLR" => Instr::Store { rt, rn, offset, release: true },
        _ => Instr::Store { rt, rn, offset, release: false },
    })
}

fn condition(name: &str) -> Option<Cond> {
    let name = match name {
        "CS" => "HS",
        "CC" => "LO",
        other => other,
    };
    CONDS.iter().position(|c| *c == name).map(|n| Cond(n as u8))
}

fn named_condition(tokens: &mut Tokens<'_>) -> Result<Cond, Refusal> {
    let at = tokens.at();
    let name = tokens.word("a condition")?;
    let cond = condition(&name.to_ascii_uppercase()).filter(|cond| cond.0 < 14);
    cond.ok_or_else(|| tokens.source().refuse(at, format!("\"{name}\" is no condition")))
}

fn maintenance(tokens: &mut Tokens<'_>, what: &str, known: &[&str]) -> Result<String, Refusal> {
    let at = tokens.at();
    let kind = tokens.word("a cache operation")?.to_ascii_uppercase();
    if !known.contains(&kind.as_str()) {
        return Err(tokens.source().refuse(at, format!("{what} {kind} is outside of the surface")));
    }
    Ok(kind)
}

fn barrier(tokens: &mut Tokens<'_>, what: &str) -> Result<BarrierKind, Refusal> {
    let at = tokens.at();
    let kind = tokens.word("a barrier's option")?.to_ascii_uppercase();
    match kind.as_str() {
        "SY" | "ISH" | "OSH" => Ok(BarrierKind::Full),
        "LD" | "ISHLD" | "OSHLD" => Ok(BarrierKind::Loads),
        "ST" | "ISHST" | "OSHST" => Ok(BarrierKind::Stores),
        _ => Err(tokens.source().refuse(at, format!("{what} {kind} is outside of the surface"))),
    }
}

fn number(tokens: &mut Tokens<'_>) -> Result<u16, Refusal> {
    tokens.accept('#');
    let at = tokens.at();
    let n = tokens.int("a number")?;
    u16::try_from(n).map_err(|_| tokens.source().refuse(at, format!("{n} does not fit into 16 bits")))
}

fn any(tokens: &mut Tokens<'_>) -> Result<Reg, Refusal> {
    let at = tokens.at();
    let name = tokens.word("a register")?;
    register(&name).ok_or_else(|| tokens.source().refuse(at, format!("\"{name}\" stands where a register should")))
}

fn wide(tokens: &mut Tokens<'_>) -> Result<Reg, Refusal> {
    let at = tokens.at();
    let reg = any(tokens)?;
    if reg.wide { Ok(reg) } else { Err(tokens.source().refuse(at, format!("{reg} cannot hold an address"))) }
}

fn comma(tokens: &mut Tokens<'_>) -> Result<Reg, Refusal> {
    let reg = any(tokens)?;
    tokens.expect(',')?;
    Ok(reg)
}

fn last(tokens: &mut Tokens<'_>) -> Result<Reg, Refusal> {
    tokens.expect(',')?;
    wide(tokens)
}

fn operand(tokens: &mut Tokens<'_>) -> Result<Operand, Refusal> {
    if tokens.accept('#') || matches!(tokens.peek(), Some(Token::Int(_) | Token::Sign('-'))) {
        return Ok(Operand::Imm(tokens.int("a number")?));
    }
    Ok(Operand::Reg(any(tokens)?))
}
