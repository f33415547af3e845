//! RISC-V assembly, as far as the surface goes.

use super::{Alu, Instr, NAMES, Reg};
use crate::herd::labels::Labels;
use crate::herd::source::Refusal;
use crate::herd::token::{Token, Tokens};

/// A register by name: `a0`, `x10`, `fp`.
#[must_use]
pub fn register(name: &str) -> Option<Reg> {
    if let Some(n) = NAMES.iter().position(|known| *known == name) {
        return Some(Reg(n as u8));
    }
    if name == "fp" {
        return Some(Reg(8));
    }
    let digits = name.strip_prefix('x')?;
    digits.parse().ok().filter(|n: &u8| *n < 32 && n.to_string() == digits).map(Reg)
}

/// Reads one instruction, which the tokens begin with.
///
/// # Errors
/// It is outside of the surface, or its operands are wrong.
pub fn instruction(tokens: &mut Tokens<'_>, labels: &Labels<'_>) -> Result<Instr, Refusal> {
    const ZERO: Reg = Reg(0);
    let start = tokens.at();
    let name = tokens.word("an instruction")?;
    let mut t = Operands { tokens };
    Ok(match name.as_str() {
        "nop" => Instr::Imm { op: Alu::Add, rd: ZERO, rs1: ZERO, imm: 0 },
        "li" => Instr::Imm { op: Alu::Add, rd: t.comma()?, rs1: ZERO, imm: t.tokens.int("a number")? },
        "mv" => Instr::Imm { op: Alu::Add, rd: t.comma()?, rs1: t.reg()?, imm: 0 },
        "addi" | "andi" | "ori" | "xori" => {
            let op = alu(name.trim_end_matches('i'));
            Instr::Imm { op, rd: t.comma()?, rs1: t.comma()?, imm: t.tokens.int("a number")? }
        }
        "add" | "sub" | "and" | "or" | "xor" => {
            Instr::Alu { op: alu(&name), rd: t.comma()?, rs1: t.comma()?, rs2: t.reg()? }
        }
        "lw" | "lwu" | "ld" => {
            let rd = t.comma()?;
            let (offset, rs1) = t.place()?;
            Instr::Load { rd, rs1, offset, wide: name == "ld", unsigned: name == "lwu" }
        }
        "sw" | "sd" => {
            let rs2 = t.comma()?;
            let (offset, rs1) = t.place()?;
            Instr::Store { rs2, rs1, offset, wide: name == "sd" }
        }
        "beq" | "bne" => {
            let (rs1, rs2) = (t.comma()?, t.comma()?);
            Instr::Branch { rs1, rs2, ne: name == "bne", to: labels.target(t.tokens)? }
        }
        "beqz" | "bnez" => {
            let rs1 = t.comma()?;
            Instr::Branch { rs1, rs2: ZERO, ne: name == "bnez", to: labels.target(t.tokens)? }
        }
        "j" => Instr::Jal { rd: ZERO, to: labels.target(t.tokens)? },
        "jal" => {
            let rd = if t.tokens.ahead(1) == Some(&Token::Sign(',')) { t.comma()? } else { Reg(1) };
            Instr::Jal { rd, to: labels.target(t.tokens)? }
        }
        "jr" => Instr::Jalr { rd: ZERO, rs1: t.reg()?, offset: 0 },
        "ret" => Instr::Jalr { rd: ZERO, rs1: Reg(1), offset: 0 },
        "jalr" => {
            if t.tokens.ahead(1) == Some(&Token::Sign(',')) {
                let rd = t.comma()?;
                if matches!(t.tokens.peek(), Some(Token::Word(_))) {
                    let rs1 = t.reg()?;
                    let offset = if t.tokens.accept(',') { t.tokens.int("an offset")? } else { 0 };
                    Instr::Jalr { rd, rs1, offset }
                } else {
                    let (offset, rs1) = t.place()?;
                    Instr::Jalr { rd, rs1, offset }
                }
            } else {
                Instr::Jalr { rd: Reg(1), rs1: t.reg()?, offset: 0 }
            }
        }
        "fence" if t.tokens.peek().is_none() => Instr::Fence(3, 3),
        "fence" => {
            let before = t.set()?;
            t.tokens.expect(',')?;
            Instr::Fence(before, t.set()?)
        }
        "fence.tso" => Instr::FenceTso,
        "fence.i" => Instr::FenceI,
        _ => return Err(t.tokens.source().refuse(start, format!("the instruction {name} is outside of the surface"))),
    })
}

fn alu(name: &str) -> Alu {
    match name {
        "add" => Alu::Add,
        "sub" => Alu::Sub,
        "and" => Alu::And,
        "or" => Alu::Or,
        _ => Alu::Xor,
    }
}

struct Operands<'a, 'b> {
    tokens: &'a mut Tokens<'b>,
}

impl Operands<'_, '_> {
    fn reg(&mut self) -> Result<Reg, Refusal> {
        let at = self.tokens.at();
        let name = self.tokens.word("a register")?;
        register(&name)
            .ok_or_else(|| self.tokens.source().refuse(at, format!("\"{name}\" stands where a register should")))
    }

    fn comma(&mut self) -> Result<Reg, Refusal> {
        let reg = self.reg()?;
        self.tokens.expect(',')?;
        Ok(reg)
    }

    /// `8(a0)` or `(a0)`.
    fn place(&mut self) -> Result<(i64, Reg), Refusal> {
        let offset = if self.tokens.peek() == Some(&Token::Sign('(')) { 0 } else { self.tokens.int("an offset")? };
        self.tokens.expect('(')?;
        let reg = self.reg()?;
        self.tokens.expect(')')?;
        Ok((offset, reg))
    }

    /// `r`, `w`, `rw`. Device accesses (`i`, `o`) are outside of the surface.
    fn set(&mut self) -> Result<u8, Refusal> {
        let at = self.tokens.at();
        match self.tokens.word("r, w or rw")?.as_str() {
            "r" => Ok(2),
            "w" => Ok(1),
            "rw" => Ok(3),
            other => Err(self.tokens.source().refuse(at, format!("fence {other} is outside of the surface"))),
        }
    }
}
