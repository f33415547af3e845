//! What a RISC-V instruction does to a thread.

use super::{Alu, Instr, Reg};
use crate::herd::event::{Acquire, Kind};
use crate::herd::test::Test;
use crate::herd::thread::{Flow, Load, Tainted, Thread, destination, inside, location};
use crate::herd::value::{CodeAddress, Location, Value};

/// Executes one instruction; the program counter is the caller's.
///
/// # Errors
/// What it does is not modelled; the text follows the instruction's name.
pub fn execute(thread: &mut Thread, test: &Test, instr: Instr) -> Result<Flow, String> {
    match instr {
        Instr::Imm { op, rd, rs1, imm } => {
            let (a, b) = (read(thread, rs1), Tainted::constant(Value::Int(imm)));
            let value = calculate(op, a.value, b.value)?;
            write(thread, rd, Tainted::from(value, a, b));
        }
        Instr::Alu { op, rd, rs1, rs2 } => {
            let (a, b) = (read(thread, rs1), read(thread, rs2));
            let value = calculate(op, a.value, b.value)?;
            write(thread, rd, Tainted::from(value, a, b));
        }
        Instr::Load { rd, rs1, offset, wide, unsigned } => {
            let (base, at) = address(thread, rs1, offset)?;
            return thread.load(test, base, Acquire::No, Load { at, into: rd.0, wide, signed: !unsigned });
        }
        Instr::Store { rs2, rs1, offset, wide } => {
            let (base, at) = address(thread, rs1, offset)?;
            let value = read(thread, rs2);
            thread.store(test, base, at, value, wide, false)?;
        }
        Instr::Branch { rs1, rs2, ne, to } => {
            let (a, b) = (read(thread, rs1), read(thread, rs2));
            thread.branch_on(a);
            thread.branch_on(b);
            if a.value.same(b.value)? != ne {
                return inside(test, to.from(thread.pc)).map(Flow::Jump);
            }
        }
        Instr::Jal { rd, to } => {
            let to = inside(test, to.from(thread.pc))?;
            link(thread, rd);
            return Ok(Flow::Jump(to));
        }
        Instr::Jalr { rd, rs1, offset } => {
            let to = read(thread, rs1);
            thread.branch_on(to);
            let to = destination(test, to.value.plus(offset)?)?;
            link(thread, rd);
            return Ok(Flow::Jump(to));
        }
        Instr::Fence(before, after) => {
            thread.record(Kind::Fence(before, after), None, Value::ZERO);
        }
        Instr::FenceTso => {
            thread.record(Kind::FenceTso, None, Value::ZERO);
        }
        Instr::FenceI => {
            thread.record(Kind::FenceI, None, Value::ZERO);
        }
    }
    Ok(Flow::Next)
}

fn address(thread: &Thread, rs1: Reg, offset: i64) -> Result<(Tainted, Location), String> {
    let base = read(thread, rs1);
    Ok((base, location(base.value.plus(offset)?)?))
}

fn link(thread: &mut Thread, rd: Reg) {
    let back = CodeAddress { index: thread.pc.index + 1, ..thread.pc };
    write(thread, rd, Tainted::constant(Value::Address(Location::Code(back))));
}

fn read(thread: &Thread, reg: Reg) -> Tainted {
    if reg.0 == 0 { Tainted::constant(Value::ZERO) } else { thread.regs[usize::from(reg.0)] }
}

fn write(thread: &mut Thread, reg: Reg, value: Tainted) {
    thread.regs[usize::from(reg.0)] = value;
}

fn calculate(op: Alu, a: Value, b: Value) -> Result<Value, String> {
    if let (Value::Int(a), Value::Int(b)) = (a, b) {
        return Ok(Value::Int(match op {
            Alu::Add => a.wrapping_add(b),
            Alu::Sub => a.wrapping_sub(b),
            Alu::And => a & b,
            Alu::Or => a | b,
            Alu::Xor => a ^ b,
        }));
    }
    match (op, a, b) {
        (Alu::Xor | Alu::Sub, a, b) if a == b => Ok(Value::ZERO),
        (Alu::And | Alu::Or, a, b) if a == b => Ok(a),
        (Alu::Add, a, Value::Int(n)) | (Alu::Add, Value::Int(n), a) => a.plus(n),
        (Alu::Sub, a, Value::Int(n)) => a.plus(n.wrapping_neg()),
        (Alu::And, _, Value::ZERO) | (Alu::And, Value::ZERO, _) => Ok(Value::ZERO),
        (Alu::Or | Alu::Xor, a, Value::ZERO) | (Alu::Or | Alu::Xor, Value::ZERO, a) => Ok(a),
        _ => Err("calculates with the bits of an address or an instruction".into()),
    }
}
