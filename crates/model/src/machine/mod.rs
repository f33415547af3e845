//! The machine: a script, a text, the rules of a world, and the transitions that they allow.

pub mod fetch;
mod nmi;
mod patcher;
mod store;
mod thread;
mod trap;

use textpoke_core::{Direction, Step};

use crate::action::Action;
use crate::nmi::Entry;
use crate::property::Violation;
use crate::scenario::{Fetch, Handler, IsaId, Profile, Scenario, World};
use crate::script::{Node, Script};
use crate::state::{HANDLER, PARKED, PATCHER, State, TWO_BUFFERS, Thread};
use crate::text::{Text, TooBig};

/// Who does it: 0 the patcher, `1..` the other CPUs.
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
    /// The sets of sites, as `core` is given them.
    pub sites: Vec<Vec<textpoke_core::Site>>,
    pub(crate) fetch: Fetch,
    first: Direction,
    cpus: u8,
}

impl Machine {
    /// Prepares a scenario.
    pub fn new(scenario: &Scenario) -> Result<Self, TooBig> {
        let text = Text::new(scenario)?;
        let script = Script::new(scenario, &text).ok_or(TooBig::Bytes)?;
        Ok(Self {
            world: scenario.world.clone(),
            sites: (0..scenario.sets.len()).map(|set| scenario.sites(set)).collect(),
            fetch: scenario.world.profile.fetch(),
            script,
            text,
            first: scenario.batches[0].dir,
            cpus: scenario.cpus,
        })
    }

    /// The instruction set.
    pub fn isa(&self) -> IsaId {
        self.text.isa
    }

    /// How many CPUs a state has besides the patcher: the others, and the patcher's own if it takes NMIs.
    pub fn slots(&self) -> usize {
        usize::from(self.cpus.clamp(2, 5)) - 1 + usize::from(self.world.nmi.is_some_and(|nmi| nmi.own))
    }

    /// The state before anything happened.
    pub fn initial<const N: usize>(&self) -> Result<State<N>, Violation> {
        let mut text = self.text.all(0, self.first);
        if self.world.foreign {
            // A debugger's breakpoint.
            text = text & !3 | u32::from(self.text.trap(0) & 3);
        }
        let fetch = match self.fetch {
            Fetch::Set => self.text.set(text),
            Fetch::Caches => self.text.set(text) | self.text.set(text) << 32,
            Fetch::Queue(_) => 0,
        };
        let mut thread = Thread { fetch, ..Thread::default() };
        if let Some(nmi) = self.world.nmi.filter(|nmi| nmi.others) {
            thread = thread.with_nmis(nmi.each);
        }
        if self.world.parked {
            thread = thread.with(PARKED);
        }
        let mut misc = if self.world.handler == Handler::Stays { HANDLER } else { 0 };
        if self.world.nmi.is_some_and(|nmi| nmi.entry == Entry::Visit) {
            misc |= TWO_BUFFERS;
        }
        let mut state = State { text, node: 0, sub: 0, misc, threads: [thread; N] };
        if N + 1 > usize::from(self.cpus.clamp(2, 5)) {
            let each = self.world.nmi.map_or(0, |nmi| nmi.each);
            state.threads[N - 1] = thread.with_nmis(each).with(PATCHER).without(PARKED);
        }
        if self.world.profile == Profile::Arm {
            state.set_unified(self.text.set(text));
        }
        self.await_those_that_run(&mut state);
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
