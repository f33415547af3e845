//! All ways through each process: every choice of what a fetch and a load may have returned.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Event, Kind};
use super::source::Refusal;
use super::test::{Arch, Test};
use super::thread::{Fault, Flow, Step, Thread};
use super::value::{CodeAddress, Instr, Location, Value};
use super::{a64, riscv};

/// What a process did, from its beginning to its end.
#[derive(Clone, Debug)]
pub struct Path {
    /// Its events, in program order.
    pub events: Vec<Event>,
    /// Its instructions.
    pub steps: Vec<Step>,
    /// Its registers at the end.
    pub regs: [Value; 32],
    /// The faults that it took.
    pub faults: Vec<Fault>,
    /// Why the path ends where it does, if what comes next is not modelled.
    pub refused: Option<Refusal>,
}

/// What may stand at each location: what stood there first and everything that any path stores.
pub struct Values {
    known: BTreeMap<Location, BTreeSet<Value>>,
}

/// Longer runs are loops, which are outside of the surface.
const STEPS: usize = 100;
/// More paths of one process than this are no litmus test.
const PATHS: usize = 20_000;
/// Values are passed on from store to load to store no more often than this.
const ROUNDS: usize = 10;

impl Values {
    fn at(&self, test: &Test, at: Location) -> BTreeSet<Value> {
        let mut all = self.known.get(&at).cloned().unwrap_or_default();
        all.insert(test.initially(at));
        all
    }
}

/// All paths of all processes, by process.
///
/// A fetch is an event only where some path stores: elsewhere it returns what stood there first, and any order that it
/// would take part in is already there between what comes before and after it (`docs/herd.md` has the argument).
///
/// # Errors
/// There are too many.
pub fn all(test: &Test) -> Result<Vec<Vec<Path>>, Refusal> {
    let mut values = Values { known: BTreeMap::new() };
    for _ in 0..ROUNDS {
        let mut paths = Vec::new();
        for process in 0..test.processes {
            paths.push(of(test, process, &values)?);
        }
        let mut more = false;
        for event in paths.iter().flatten().flat_map(|path| &path.events) {
            if let (Kind::Write(_), Some(at)) = (event.kind, event.at) {
                more |= values.known.entry(at).or_default().insert(event.value);
            }
        }
        if !more {
            return sizes(test, &values, &paths).map(|()| paths);
        }
    }
    Err(whole(test, format!("values are passed on between loads and stores more than {ROUNDS} times")))
}

/// A store of 4 bytes leaves half of a value of 8, which is not modelled.
fn sizes(test: &Test, values: &Values, paths: &[Vec<Path>]) -> Result<(), Refusal> {
    for event in paths.iter().flatten().flat_map(|path| &path.events) {
        if let (true, Some(at)) = (event.narrow, event.at)
            && values.at(test, at).iter().any(|value| !value.fits_word())
        {
            let what = format!("stores of 4 bytes and values of 8 meet in {}", test.name_of(at));
            return Err(whole(test, what));
        }
    }
    Ok(())
}

/// A refusal that is about the whole program.
pub(super) fn whole(test: &Test, what: String) -> Refusal {
    let (line, column) = test.columns.iter().find_map(|c| c.slots.first()).map_or((1, 1), |slot| slot.place);
    Refusal { line, column, what }
}

fn of(test: &Test, process: u8, values: &Values) -> Result<Vec<Path>, Refusal> {
    let mut paths = Paths { done: Vec::new(), open: vec![Thread::new(test, process)] };
    while let Some(thread) = paths.open.pop() {
        if paths.done.len() + paths.open.len() > PATHS {
            return Err(whole(test, format!("P{process} has more than {PATHS} ways through its code")));
        }
        advance(test, values, thread, &mut paths);
    }
    Ok(paths.done)
}

struct Paths {
    done: Vec<Path>,
    open: Vec<Thread>,
}

impl Paths {
    fn end(&mut self, thread: Thread, refused: Option<Refusal>) {
        self.done.push(Path {
            events: thread.events,
            steps: thread.steps,
            regs: thread.regs.map(|reg| reg.value),
            faults: thread.faults,
            refused,
        });
    }

    fn refuse(&mut self, test: &Test, at: CodeAddress, thread: Thread, what: String) {
        let (line, column) = test.slot(at).map_or((1, 1), |slot| slot.place);
        self.end(thread, Some(Refusal { line, column, what }));
    }

    fn go(&mut self, mut thread: Thread, to: CodeAddress) {
        thread.pc = to;
        self.open.push(thread);
    }
}

/// Fetches and executes one instruction, in every way that it can go.
fn advance(test: &Test, values: &Values, thread: Thread, paths: &mut Paths) {
    let at = thread.pc;
    let Some(slot) = test.slot(at) else { return paths.end(thread, None) };
    if thread.steps.len() == STEPS {
        let what = format!("more than {STEPS} instructions are executed; loops are outside of the surface");
        return paths.refuse(test, at, thread, what);
    }
    // Two events at most belong to one instruction; sets of events are words of 64 bits.
    if thread.events.len() > 60 {
        return paths.refuse(test, at, thread, "more than 60 events in a process are outside of the surface".into());
    }
    let place = Location::Code(at);
    let modified = values.known.contains_key(&place);
    for word in values.at(test, place) {
        let mut thread = thread.clone();
        let instr = instruction(test, word);
        if let Ok(instr) = instr {
            thread.steps.push(Step { at, instr });
        }
        if modified {
            thread.record(Kind::Fetch, Some(place), word);
        }
        let (instr, flow) = match instr {
            Ok(instr @ Instr::A64(i)) => (instr, a64::run::execute(&mut thread, test, i)),
            Ok(instr @ Instr::Riscv(i)) => (instr, riscv::run::execute(&mut thread, test, i)),
            Err(what) => {
                paths.refuse(test, at, thread, what);
                continue;
            }
        };
        let name = if instr == slot.instr { slot.text.clone() } else { test.show(Value::Instr(instr)) };
        let next = CodeAddress { index: at.index + 1, ..at };
        match flow {
            Ok(Flow::End) => paths.end(thread, None),
            Ok(Flow::Next) => paths.go(thread, next),
            Ok(Flow::Jump(to)) => paths.go(thread, to),
            Err(what) => paths.refuse(test, at, thread, format!("{name} {what}")),
            Ok(Flow::Load(load)) => {
                for value in values.at(test, load.at) {
                    let mut thread = thread.clone();
                    match thread.loaded(load, value) {
                        Ok(()) => paths.go(thread, next),
                        Err(what) => paths.refuse(test, at, thread, format!("{name} {what}")),
                    }
                }
            }
        }
    }
}

/// The instruction that a word is.
fn instruction(test: &Test, word: Value) -> Result<Instr, String> {
    match word {
        Value::Instr(instr) => Ok(instr),
        Value::Int(n) => match u16::try_from(n) {
            Ok(n) if test.arch == Arch::AArch64 => Ok(Instr::A64(a64::Instr::Udf(n))),
            _ => Err(format!("{n} is fetched here as an instruction, and is none of the surface")),
        },
        Value::Address(at) => Err(format!("the address {} is fetched here as an instruction", test.name_of(at))),
    }
}
