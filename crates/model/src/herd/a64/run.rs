//! What an A64 instruction does to a thread.

use super::{Alu, Cond, Instr, Offset, Operand, Reg};
use crate::herd::event::{Acquire, Kind};
use crate::herd::test::Test;
use crate::herd::thread::{Fault, Flags, Flow, Load, Tainted, Thread, destination, inside, location};
use crate::herd::value::{CodeAddress, Location, Target, Value};

/// Executes one instruction; the program counter is the caller's.
///
/// # Errors
/// What it does is not modelled; the text follows the instruction's name.
pub fn execute(thread: &mut Thread, test: &Test, instr: Instr) -> Result<Flow, String> {
    match instr {
        Instr::Nop => {}
        Instr::Udf(_) => return enter(thread, test, "UndefinedInstruction"),
        Instr::Svc(_) => return enter(thread, test, "SupervisorCall"),
        Instr::Mov { rd, from } => {
            let value = operand(thread, from);
            write(thread, rd, value)?;
        }
        Instr::Alu { op, rd, rn, rm } => {
            let (a, b) = (read(thread, rn), operand(thread, rm));
            let value = calculate(op, a.value, b.value)?;
            write(thread, rd, Tainted::from(value, a, b))?;
        }
        Instr::Cmp { rn, rm } => {
            thread.flags = Some(Flags { left: read(thread, rn), right: operand(thread, rm), wide: rn.wide });
        }
        Instr::Csel { rd, rn, rm, cond, inc } => {
            let decided = condition(thread, cond)?;
            let mut taken = read(thread, if decided.value == Value::ZERO { rm } else { rn });
            if inc && decided.value == Value::ZERO {
                taken.value = taken.value.plus(1)?;
            }
            taken.picks |= decided.deps | decided.picks;
            write(thread, rd, taken)?;
        }
        Instr::Adr { rd, to } => {
            let at = to.from(thread.pc).ok_or("makes an address before the code")?;
            let moved = test.slot(thread.pc).is_none_or(|s| s.instr != crate::herd::value::Instr::A64(instr));
            if moved && test.label_at(at).is_none() {
                return Err("was copied here, and makes an address that no label names".into());
            }
            write(thread, rd, Tainted::constant(Value::Address(Location::Code(at))))?;
        }
        Instr::B { to, link } => {
            if link {
                link_register(thread);
            }
            return jump(thread, test, to);
        }
        Instr::Bcond { cond, to } => {
            let decided = condition(thread, cond)?;
            thread.branch_on(decided);
            if decided.value != Value::ZERO {
                return jump(thread, test, to);
            }
        }
        Instr::Cbz { rt, to, nonzero } => {
            let tested = read(thread, rt);
            thread.branch_on(tested);
            if tested.value.same(Value::ZERO)? != nonzero {
                return jump(thread, test, to);
            }
        }
        Instr::Br { rn, link, .. } => {
            let to = read(thread, rn);
            thread.branch_on(to);
            if link {
                link_register(thread);
            }
            return Ok(Flow::Jump(destination(test, to.value)?));
        }
        Instr::Load { rt, rn, offset, acquire } => {
            let (base, at) = address(thread, rn, offset)?;
            return load(thread, test, base, at, rt, acquire);
        }
        Instr::Store { rt, rn, offset, release } => {
            let (base, at) = address(thread, rn, offset)?;
            let value = read_full(thread, rt);
            thread.store(test, base, at, value, rt.wide, release)?;
        }
        Instr::Dc { rt, .. } => maintain(thread, Kind::Dc, rt)?,
        Instr::Ic { rt } => maintain(thread, Kind::Ic, rt)?,
        Instr::IcAll { .. } => {
            thread.record(Kind::Ic, None, Value::ZERO);
        }
        Instr::Dmb(kind) => {
            thread.record(Kind::Dmb(kind.into()), None, Value::ZERO);
        }
        Instr::Dsb(kind) => {
            thread.record(Kind::Dsb(kind.into()), None, Value::ZERO);
        }
        Instr::Isb => {
            thread.record(Kind::Context, None, Value::ZERO);
        }
        Instr::MsrElr { rt } => {
            if thread.elr.is_none() {
                return Err("outside of a handler is not modelled".into());
            }
            thread.elr = Some(read(thread, rt));
        }
        Instr::Eret => {
            let Some(elr) = thread.elr.take() else { return Err("outside of a handler is not modelled".into()) };
            thread.branch_on(elr);
            if !test.options.exs || test.options.eos {
                thread.record(Kind::Context, None, Value::ZERO);
            }
            return Ok(Flow::Jump(destination(test, elr.value)?));
        }
    }
    Ok(Flow::Next)
}

/// Takes an exception. Its entry synchronises the context, unless FEAT_ExS says otherwise for a supervisor call.
fn enter(thread: &mut Thread, test: &Test, kind: &'static str) -> Result<Flow, String> {
    let call = kind == "SupervisorCall";
    let handler = test.columns.iter().position(|c| c.process == thread.process && c.handler);
    if thread.elr.is_some() {
        return Err("inside of a handler is not modelled".into());
    }
    if call && handler.is_none() {
        return Err(format!("needs a handler: a column P{}.F", thread.process));
    }
    thread.faults.push(Fault { at: thread.pc, kind });
    if !call || !test.options.exs || test.options.eis {
        thread.record(Kind::Context, None, Value::ZERO);
    }
    let Some(handler) = handler.filter(|_| call || !test.options.fatal) else { return Ok(Flow::End) };
    let back = CodeAddress { index: thread.pc.index + u8::from(call), ..thread.pc };
    thread.elr = Some(Tainted::constant(Value::Address(Location::Code(back))));
    Ok(Flow::Jump(CodeAddress { column: handler as u8, index: 0 }))
}

fn load(
    thread: &mut Thread,
    test: &Test,
    base: Tainted,
    at: Location,
    rt: Reg,
    acquire: Acquire,
) -> Result<Flow, String> {
    thread.load(test, base, acquire, Load { at, into: rt.number, wide: rt.wide, signed: false })
}

fn maintain(thread: &mut Thread, kind: Kind, rt: Reg) -> Result<(), String> {
    let base = read(thread, rt);
    // A pointer that holds no address yet: what is there, if anything, is in no line that the test looks at.
    let at = if matches!(base.value, Value::Int(_)) { Location::Elsewhere } else { location(base.value)? };
    thread.record_at(kind, at, base, Tainted::constant(Value::ZERO));
    Ok(())
}

fn address(thread: &Thread, rn: Reg, offset: Offset) -> Result<(Tainted, Location), String> {
    let base = read(thread, rn);
    let whole = match offset {
        Offset::Imm(n) => Tainted { value: base.value.plus(n)?, ..base },
        Offset::Reg(reg, signed) => {
            let index = read(thread, reg);
            let Value::Int(mut n) = index.value else { return Err("is indexed by what is no number".into()) };
            if signed {
                n = i64::from(n as u32 as i32);
            }
            Tainted::from(base.value.plus(n)?, base, index)
        }
    };
    Ok((whole, location(whole.value)?))
}

fn jump(thread: &Thread, test: &Test, to: Target) -> Result<Flow, String> {
    inside(test, to.from(thread.pc)).map(Flow::Jump)
}

fn link_register(thread: &mut Thread) {
    let back = CodeAddress { index: thread.pc.index + 1, ..thread.pc };
    thread.regs[30] = Tainted::constant(Value::Address(Location::Code(back)));
}

/// All of a register, for what looks at its size itself.
fn read_full(thread: &Thread, reg: Reg) -> Tainted {
    if reg.number == 31 { Tainted::constant(Value::ZERO) } else { thread.regs[usize::from(reg.number)] }
}

/// A register; of a W register the low half, of an address that is in it all.
fn read(thread: &Thread, reg: Reg) -> Tainted {
    let full = read_full(thread, reg);
    if reg.wide { full } else { Tainted { value: full.value.word().unwrap_or(full.value), ..full } }
}

fn operand(thread: &Thread, operand: Operand) -> Tainted {
    match operand {
        Operand::Reg(reg) => read(thread, reg),
        Operand::Imm(n) => Tainted::constant(Value::Int(n)),
    }
}

fn write(thread: &mut Thread, reg: Reg, mut value: Tainted) -> Result<(), String> {
    if reg.number == 31 {
        return Ok(());
    }
    if !reg.wide {
        value.value = value.value.word()?;
    }
    thread.regs[usize::from(reg.number)] = value;
    Ok(())
}

fn calculate(op: Alu, a: Value, b: Value) -> Result<Value, String> {
    if let (Value::Int(a), Value::Int(b)) = (a, b) {
        return Ok(Value::Int(match op {
            Alu::Add => a.wrapping_add(b),
            Alu::Sub => a.wrapping_sub(b),
            Alu::And => a & b,
            Alu::Eor => a ^ b,
            Alu::Orr => a | b,
        }));
    }
    match (op, a, b) {
        (Alu::Eor | Alu::Sub, a, b) if a == b => Ok(Value::ZERO),
        (Alu::And | Alu::Orr, a, b) if a == b => Ok(a),
        (Alu::Add, a, Value::Int(n)) | (Alu::Add, Value::Int(n), a) => a.plus(n),
        (Alu::Sub, a, Value::Int(n)) => a.plus(n.wrapping_neg()),
        (Alu::And, _, Value::ZERO) | (Alu::And, Value::ZERO, _) => Ok(Value::ZERO),
        (Alu::Eor | Alu::Orr, a, Value::ZERO) | (Alu::Eor | Alu::Orr, Value::ZERO, a) => Ok(a),
        _ => Err("calculates with the bits of an address or an instruction".into()),
    }
}

/// 1 or 0, and what it depends on.
fn condition(thread: &Thread, cond: Cond) -> Result<Tainted, String> {
    let flags = thread.flags.ok_or("looks at flags that no instruction has set")?;
    let holds = match (cond.0, flags.left.value, flags.right.value) {
        (14, _, _) => true,
        (0 | 1, a, b) => a.same(narrow(b, flags.wide))? != (cond.0 == 1),
        (_, Value::Int(a), Value::Int(b)) => ordered(cond, a, b, flags.wide),
        _ => return Err("orders addresses or instructions, whose bits are not modelled".into()),
    };
    Ok(Tainted::from(Value::Int(i64::from(holds)), flags.left, flags.right))
}

fn narrow(value: Value, wide: bool) -> Value {
    if wide { value } else { value.word().unwrap_or(value) }
}

fn ordered(cond: Cond, a: i64, b: i64, wide: bool) -> bool {
    let (a, b) = if wide { (a, b) } else { (i64::from(a as u32 as i32), i64::from(b as u32 as i32)) };
    let (difference, mut overflow) = a.overflowing_sub(b);
    let negative = if wide {
        difference < 0
    } else {
        overflow = i32::try_from(difference).is_err();
        (difference as i32) < 0
    };
    let holds = match cond.0 & !1 {
        2 => a.cast_unsigned() >= b.cast_unsigned(),
        4 => negative,
        6 => overflow,
        8 => a.cast_unsigned() > b.cast_unsigned(),
        10 => a >= b,
        _ => a > b,
    };
    holds != (cond.0 & 1 == 1)
}
