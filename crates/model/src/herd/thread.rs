//! One process on its way through its code: registers with the loads that they depend on, and what it did so far.

use super::event::{Acquire, Event, Kind, Set};
use super::test::Test;
use super::value::{CodeAddress, Instr, Location, Value};

/// A value and where it came from.
#[derive(Clone, Copy, Debug)]
pub struct Tainted {
    /// The value.
    pub value: Value,
    /// Loads that it depends on.
    pub deps: Set,
    /// Loads that only decided which register a conditional select took.
    pub picks: Set,
}

impl Tainted {
    /// A value that depends on nothing.
    #[must_use]
    pub fn constant(value: Value) -> Self {
        Self { value, deps: 0, picks: 0 }
    }

    /// A value made of two.
    #[must_use]
    pub fn from(value: Value, a: Self, b: Self) -> Self {
        Self { value, deps: a.deps | b.deps, picks: a.picks | b.picks }
    }
}

/// A comparison that conditions look at.
#[derive(Clone, Copy, Debug)]
pub struct Flags {
    /// The left side.
    pub left: Tainted,
    /// The right side.
    pub right: Tainted,
    /// Of 64 bits.
    pub wide: bool,
}

/// One executed instruction.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Where.
    pub at: CodeAddress,
    /// What was fetched there.
    pub instr: Instr,
}

/// A fault that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fault {
    /// Where.
    pub at: CodeAddress,
    /// Its kind, as herd names it.
    pub kind: &'static str,
}

/// What follows an instruction.
#[derive(Clone, Copy, Debug)]
pub enum Flow {
    /// The next one.
    Next,
    /// The one at this address.
    Jump(CodeAddress),
    /// A load must return before it is done.
    Load(Load),
    /// The process ends.
    End,
}

/// A load that waits for its value.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// From where.
    pub at: Location,
    /// The register.
    pub into: u8,
    /// 8 bytes rather than 4.
    pub wide: bool,
    /// Of 4 bytes: sign-extended.
    pub signed: bool,
}

/// The state.
#[derive(Clone, Debug)]
pub struct Thread {
    /// Which process.
    pub process: u8,
    /// Registers by number; what is in the zero register is never looked at.
    pub regs: [Tainted; 32],
    /// The last comparison.
    pub flags: Option<Flags>,
    /// `ELR_EL1`, inside of a handler.
    pub elr: Option<Tainted>,
    /// What comes next.
    pub pc: CodeAddress,
    /// Loads that branches so far depended on.
    pub ctrl: Set,
    /// The same through conditional selects.
    pub pick_ctrl: Set,
    /// What it did.
    pub events: Vec<Event>,
    /// What it executed.
    pub steps: Vec<Step>,
    /// What it took.
    pub faults: Vec<Fault>,
}

impl Thread {
    /// At the first instruction of a process.
    #[must_use]
    pub fn new(test: &Test, process: u8) -> Self {
        let mut regs = [Tainted::constant(Value::ZERO); 32];
        for (register, value) in &test.registers {
            if register.process == process {
                regs[usize::from(register.number)].value = *value;
            }
        }
        let column = test.columns.iter().position(|c| c.process == process && !c.handler).unwrap_or(0);
        Self {
            process,
            regs,
            flags: None,
            elr: None,
            pc: CodeAddress { column: column as u8, index: 0 },
            ctrl: 0,
            pick_ctrl: 0,
            events: Vec::new(),
            steps: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Records an event without an address; its set of one.
    pub fn record(&mut self, kind: Kind, at: Option<Location>, value: Value) -> Set {
        let number = self.events.len();
        let pick = [0, 0, self.pick_ctrl];
        let step = self.steps.len().saturating_sub(1);
        self.events.push(Event { kind, at, value, narrow: false, step, addr: 0, data: 0, ctrl: self.ctrl, pick });
        1u64.checked_shl(number as u32).unwrap_or(0)
    }

    /// Records an event whose address, and value if it is a store, depend on registers.
    pub fn record_at(&mut self, kind: Kind, at: Location, base: Tainted, value: Tainted) -> Set {
        let set = self.record(kind, Some(at), value.value);
        if let Some(event) = self.events.last_mut() {
            event.addr = base.deps;
            event.data = value.deps;
            event.pick[0] = base.picks;
            event.pick[1] = value.picks;
        }
        set
    }

    /// From here on everything is decided by this.
    pub fn branch_on(&mut self, decided: Tainted) {
        self.ctrl |= decided.deps;
        self.pick_ctrl |= decided.picks;
    }

    /// A store.
    ///
    /// # Errors
    /// It is of another size than what it overwrites, or stores over no instruction.
    pub fn store(
        &mut self,
        test: &Test,
        base: Tainted,
        at: Location,
        from: Tainted,
        wide: bool,
        release: bool,
    ) -> Result<(), String> {
        accessible(test, at, wide, "stores")?;
        let mut value = if wide { from.value } else { from.value.word()? };
        if let (Location::Code(at), Value::Instr(instr)) = (at, value) {
            value = Value::Instr(instr.placed(at));
        }
        self.record_at(Kind::Write(release), at, base, Tainted { value, ..from });
        if let Some(event) = self.events.last_mut() {
            event.narrow = !wide;
        }
        Ok(())
    }

    /// Begins a load: records it, for the path to choose its value.
    ///
    /// # Errors
    /// It is of another size than what is there, or there is no instruction.
    pub fn load(&mut self, test: &Test, base: Tainted, acquire: Acquire, load: Load) -> Result<Flow, String> {
        accessible(test, load.at, load.wide, "loads")?;
        self.record_at(Kind::Read(acquire), load.at, base, Tainted::constant(Value::ZERO));
        Ok(Flow::Load(load))
    }

    /// Ends a load with this value.
    ///
    /// # Errors
    /// It is an address, and the load of 4 bytes.
    pub fn loaded(&mut self, load: Load, value: Value) -> Result<(), String> {
        let set = 1u64.checked_shl(self.events.len() as u32 - 1).unwrap_or(0);
        if let Some(event) = self.events.last_mut() {
            event.value = value;
        }
        let mut value = if load.wide { value } else { value.word()? };
        if let (true, Value::Int(n)) = (load.signed, value) {
            value = Value::Int(i64::from(n as u32 as i32));
        }
        self.regs[usize::from(load.into)] = Tainted { value, deps: set, picks: 0 };
        Ok(())
    }
}

/// An address that can be loaded from, stored to or maintained.
///
/// # Errors
/// It is none.
pub fn location(value: Value) -> Result<Location, String> {
    match value {
        Value::Address(at) => Ok(at),
        Value::Int(n) => Err(format!("accesses the address {n}, which is no variable's and no label's")),
        Value::Instr(_) => Err("uses an instruction as an address".into()),
    }
}

/// An address that can be jumped to.
///
/// # Errors
/// It is none, or lies outside of the code.
pub fn destination(test: &Test, value: Value) -> Result<CodeAddress, String> {
    match value {
        Value::Address(Location::Code(at)) => inside(test, Some(at)),
        Value::Address(at) => Err(format!("jumps to the variable {}, which is no code", test.name_of(at))),
        Value::Int(n) => Err(format!("jumps to {n}, which is no address of code")),
        Value::Instr(_) => Err(format!("jumps to the instruction {}, which is no address", test.show(value))),
    }
}

/// The address, if it is an instruction's or the end of a column.
///
/// # Errors
/// It is neither.
pub fn inside(test: &Test, at: Option<CodeAddress>) -> Result<CodeAddress, String> {
    at.filter(|at| usize::from(at.index) <= test.columns[usize::from(at.column)].slots.len())
        .ok_or_else(|| "jumps outside of the code".into())
}

fn accessible(test: &Test, at: Location, wide: bool, what: &str) -> Result<(), String> {
    let Location::Code(code) = at else { return Ok(()) };
    let column = &test.columns[usize::from(code.column)];
    if test.slot(code).is_none() {
        Err(format!("{what} at {}, the end of {}: no instruction stands there", test.name_of(at), column.name))
    } else if column.handler {
        Err(format!("{what} in the code of the handler {}", column.name))
    } else if wide {
        Err(format!("{what} 8 bytes at an instruction of 4"))
    } else {
        Ok(())
    }
}
