//! The machine: a script, a text, the rules of a world, and the transitions that they allow.

mod patcher;
mod thread;
mod trap;
pub mod x86;

use textpoke_core::{Direction, Step};

use crate::action::Action;
use crate::property::Violation;
use crate::scenario::{Handler, Profile, Scenario, World};
use crate::script::{Node, Script};
use crate::state::{HANDLER, State, Thread};
use crate::text::{Text, TooBig};

/// Who does it: 0 the patcher, `1..` the threads.
pub type Who = u8;

/// Receives the transitions of a state.
pub trait Sink<const N: usize> {
    /// One transition: what it leads to, or what it violates.
    fn take(&mut self, who: Who, action: Action, to: Result<State<N>, Violation>);
}

impl<const N: usize, F: FnMut(Who, Action, Result<State<N>, Violation>)> Sink<N> for F {
    fn take(&mut self, who: Who, action: Action, to: Result<State<N>, Violation>) {
        self(who, action, to);
    }
}

/// A scenario made ready for exploring.
#[derive(Debug)]
pub struct Machine {
    /// The rules.
    pub world: World,
    /// The patcher's steps.
    pub script: Script,
    /// The bytes.
    pub text: Text,
    /// The sites, as `core` is given them.
    pub sites: Vec<textpoke_core::Site>,
    first: Direction,
}

impl Machine {
    /// Prepares a scenario.
    pub fn new(scenario: &Scenario) -> Result<Self, TooBig> {
        let text = Text::new(scenario)?;
        let script = Script::new(scenario, &text).ok_or(TooBig::Bytes)?;
        Ok(Self {
            world: scenario.world.clone(),
            sites: scenario.sites(),
            first: scenario.batches[0].dir(),
            script,
            text,
        })
    }

    /// The state before anything happened.
    pub fn initial<const N: usize>(&self) -> Result<State<N>, Violation> {
        let mut text = self.text.all(self.first);
        if self.world.foreign {
            // A debugger's breakpoint.
            text = text & !3 | u32::from(self.text.trap(0) & 3);
        }
        let fetch = match self.world.profile {
            Profile::Intel => self.text.set(text),
            Profile::Amd => 0,
        };
        let misc = if self.world.handler == Handler::Stays { HANDLER } else { 0 };
        let thread = Thread { fetch, ..Thread::default() };
        let mut state = State { text, node: 0, sub: 0, misc, threads: [thread; N] };
        self.settle(&mut state)?;
        Ok(state)
    }

    /// All transitions of a state.
    pub fn successors<const N: usize>(&self, s: &State<N>, out: &mut impl Sink<N>) {
        self.patcher(s, out);
        for t in 0..N {
            self.thread(s, t, out);
        }
    }

    /// The patcher's next step.
    pub fn node<const N: usize>(&self, s: &State<N>) -> &Node {
        &self.script.nodes[usize::from(s.node)]
    }

    /// Whether the patcher has nothing left to do.
    pub fn is_over<const N: usize>(&self, s: &State<N>) -> bool {
        let node = self.node(s);
        matches!(node.step, Step::Done(_)) && node.ok == crate::script::NONE && s.sub == 1
    }
}
