//! What can be asked for, and what of it is written down with a counterexample so that it can be walked again.

use serde::{Deserialize, Serialize};
use textpoke_core::Step;

use crate::explore::Limits;
use crate::nmi::{Entry, Nmi};
use crate::report::{Unknown, step_names};
use crate::scenario::{Batch, Grain, Handler, Order, Profile, Repairer, Scenario, Steps};
use crate::variants::{Check, Shape};

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Profile, processors, sites and where an 8-byte boundary cuts them.
    pub shape: Shape,
    /// A step to leave out of every batch that has it, named as in `--print`, for instance `sync cores 2`.
    #[serde(default)]
    pub without: Option<String>,
    /// Whether the trap handler leaves with each batch; as the check has it if not given.
    #[serde(default)]
    pub handler: Option<Handler>,
    /// So many steps may fail, 0 to 2; as the check has it if not given.
    #[serde(default)]
    pub failures: Option<u8>,
    /// Whether the patcher may be killed.
    #[serde(default)]
    pub killed: bool,
    /// Whether the one who comes then goes on to the new form; else it restores the old one.
    #[serde(default)]
    pub onward: bool,
    /// Whether the pieces of a store may appear in any order.
    #[serde(default)]
    pub any_order: bool,
    /// Whether each contiguous write is one transition, as the digest of the literature counts.
    #[serde(default)]
    pub whole_writes: bool,
    /// Whether old code after the call returned counts; as the check has it if not given.
    #[serde(default)]
    pub after_return: Option<bool>,
    /// AMD and Ziccid only: how many instructions are fetched ahead, 1 or 2.
    #[serde(default = "two")]
    pub queue: u8,
    /// Whether the program takes traps of its own.
    #[serde(default)]
    pub own_traps: bool,
    /// Whether somebody else changed the sites before.
    #[serde(default)]
    pub foreign: bool,
    /// So many NMIs come on each CPU that has any, 0 to 3, and on every CPU if the check has none; as the check has it if
    /// not given.
    #[serde(default)]
    pub nmis: Option<u8>,
    /// Bounds. They change no way through the states.
    #[serde(skip)]
    pub limits: Limits,
}

const fn two() -> u8 {
    2
}

impl Options {
    /// The smallest interesting exploration with this profile.
    pub fn new(profile: Profile) -> Self {
        Self {
            shape: Shape::new(profile),
            without: None,
            handler: None,
            failures: None,
            killed: false,
            onward: false,
            any_order: false,
            whole_writes: false,
            after_return: None,
            queue: two(),
            own_traps: false,
            foreign: false,
            nmis: None,
            limits: Limits::default(),
        }
    }

    /// The same with so many processors.
    pub fn cpus(mut self, cpus: u8) -> Self {
        self.shape.cpus = cpus;
        self
    }

    /// The same with so many sites.
    pub fn sites(mut self, sites: u8) -> Self {
        self.shape.sites = sites;
        self
    }

    /// The first number that is out of its range, with the range; for options that somebody wrote.
    pub fn out_of_range(&self) -> Option<String> {
        let numbers = [
            ("cpus", Some(self.shape.cpus), 2..=5),
            ("sites", Some(self.shape.sites), 1..=3),
            ("cut", self.shape.cut, 0..=7),
            ("failures", self.failures, 0..=2),
            ("nmis", self.nmis, 0..=3),
            ("queue", Some(self.queue), 1..=2),
        ];
        let wrong = numbers.into_iter().find(|(_, n, range)| n.is_some_and(|n| !range.contains(&n)));
        wrong.map(|(name, n, range)| {
            format!("\"{name}\" is {}, not {} to {}", n.unwrap_or(0), range.start(), range.end())
        })
    }

    /// The scenario of a check under these options, with all steps: see [`Options::prepare`].
    pub fn scenario(&self, check: &Check) -> Scenario {
        let mut s = check.scenario(&self.shape);
        let w = &mut s.world;
        w.handler = self.handler.unwrap_or(w.handler);
        w.failures = self.failures.unwrap_or(w.failures).min(2);
        w.after_return = self.after_return.unwrap_or(w.after_return);
        w.killed |= self.killed;
        if self.onward {
            w.repairer = Repairer::Onward;
        }
        w.own_traps |= self.own_traps;
        w.foreign |= self.foreign;
        w.queue = self.queue;
        if self.any_order {
            w.order = Order::Any;
        }
        if self.whole_writes {
            w.grain = Grain::Write;
        }
        if let Some(each) = self.nmis {
            // Where the check has none, they do nothing but execute the sites.
            let nmi = Nmi { each, ..w.nmi.unwrap_or(Nmi::new(Entry::Plain)) };
            w.nmi = (each > 0).then_some(nmi);
        }
        s
    }

    /// What a check is under these options, with the step that is left out.
    pub fn title(&self, check: &Check) -> String {
        match &self.without {
            Some(step) => format!("without \"{step}\": {}", check.title),
            None => check.title.into(),
        }
    }

    /// The check with this name and its scenario under these options, the step to be left out left out.
    pub fn prepare(&self, name: &str) -> Result<(&'static Check, Scenario), Unknown> {
        let check = Check::find(name).ok_or_else(|| Unknown::Check(name.into()))?;
        let profile = self.shape.profile;
        if !check.isas.contains(&profile.isa()) {
            return Err(Unknown::Profile(name.into(), profile));
        }
        let mut scenario = self.scenario(check);
        if let Some(step) = &self.without {
            scenario = scenario.opened();
            leave_out(&mut scenario.batches, step)?;
        }
        Ok((check, scenario))
    }
}

/// Leaves a step out of every batch of one's own steps that has it.
pub(crate) fn leave_out(batches: &mut [Batch], step: &str) -> Result<(), Unknown> {
    let mut found = false;
    for batch in batches {
        if let Steps::Custom { forth, .. } = &mut batch.steps
            && let Some(at) = position(forth, step)
        {
            found = true;
            forth.remove(at);
        }
    }
    if found { Ok(()) } else { Err(Unknown::Step(step.into())) }
}

fn position(program: &[Step], wanted: &str) -> Option<usize> {
    let wanted = wanted.trim().to_lowercase().replace(['-', '_'], " ");
    step_names(program).iter().position(|n| *n == wanted || *n == format!("{wanted} 1"))
}
