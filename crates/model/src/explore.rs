//! Breadth first over all states: the first violation met is one of the shortest.
//!
//! States are kept whole, one after the other; a table of their numbers finds them by hash. So the set is exact, a verdict
//! carries no probability of a collision, and the parent of a state gives the way back to the start.

use std::time::Instant;

use crate::action::Action;
use crate::machine::{Machine, Who};
use crate::property::Violation;
use crate::reduce::canonical;
use crate::state::State;

/// Bounds of one exploration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory that states may take.
    pub memory: usize,
    /// Whether to prove that the patcher can finish from every state, up to [`LIVENESS`] states.
    pub liveness: bool,
}

/// The most states for which the proof that the patcher can finish is attempted.
pub const LIVENESS: usize = 400_000;

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 4 << 30, liveness: true }
    }
}

/// Called every now and then with the number of states found and the number still to be looked at.
pub type Progress<'a> = &'a mut dyn FnMut(usize, usize);

/// What an exploration found.
#[derive(Debug)]
pub struct Explored<const N: usize> {
    /// Different states.
    pub states: usize,
    /// Transitions taken.
    pub transitions: u64,
    /// The longest shortest way from the start, in transitions.
    pub depth: usize,
    /// What happened at least once, as a set of [`Sometimes`](crate::property::Sometimes).
    pub happened: u32,
    /// How it ended.
    pub end: End<N>,
    /// Seconds.
    pub seconds: f64,
}

/// How an exploration ended.
#[derive(Debug)]
pub enum End<const N: usize> {
    /// No state violates anything. Whether it was proven that the patcher can always finish.
    Holds {
        /// See above.
        live: bool,
    },
    /// A violation, with the states before it, from the start on.
    Violated {
        /// What.
        violation: Violation,
        /// The stored states on the way; the violating transition leaves the last one.
        path: Vec<State<N>>,
    },
    /// The states need more memory than allowed.
    OutOfMemory,
}

struct Set<const N: usize> {
    states: Vec<State<N>>,
    parents: Vec<u32>,
    /// High half: part of the hash; low half: number of the state plus one; 0 is free.
    table: Vec<u64>,
}

impl<const N: usize> Set<N> {
    fn new() -> Self {
        Self { states: Vec::new(), parents: Vec::new(), table: vec![0; 1 << 12] }
    }

    /// The number of a state, and whether it is new.
    fn insert(&mut self, s: &State<N>, parent: u32) -> (u32, bool) {
        if self.states.len() * 2 >= self.table.len() {
            self.grow();
        }
        let hash = hash(s);
        let mask = self.table.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let entry = self.table[at];
            if entry == 0 {
                let id = self.states.len() as u32;
                self.table[at] = hash & 0xffff_ffff_0000_0000 | u64::from(id + 1);
                self.states.push(*s);
                self.parents.push(parent);
                return (id, true);
            }
            if (entry ^ hash) >> 32 == 0 {
                let id = entry as u32 - 1;
                if self.states[id as usize] == *s {
                    return (id, false);
                }
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let size = self.table.len() * 2;
        self.table.clear();
        self.table.resize(size, 0);
        let mask = size - 1;
        for (id, s) in self.states.iter().enumerate() {
            let hash = hash(s);
            let mut at = hash as usize & mask;
            while self.table[at] != 0 {
                at = (at + 1) & mask;
            }
            self.table[at] = hash & 0xffff_ffff_0000_0000 | (id as u64 + 1);
        }
    }

    fn bytes(&self) -> usize {
        self.states.capacity() * (size_of::<State<N>>() + 4) + self.table.len() * 8
    }

    fn path(&self, mut id: u32) -> Vec<State<N>> {
        let mut path = vec![self.states[id as usize]];
        while self.parents[id as usize] != id {
            id = self.parents[id as usize];
            path.push(self.states[id as usize]);
        }
        path.reverse();
        path
    }
}

/// Multiplies and folds: the states differ in few bits, so that every word must reach every bit.
fn hash<const N: usize>(s: &State<N>) -> u64 {
    let mix = |h: u64, w: u64| {
        let product = u128::from(h ^ w) * 0x9e37_79b9_7f4a_7c15_u128;
        (product as u64) ^ (product >> 64) as u64
    };
    let head = u64::from(s.text) << 32 | u64::from(s.node) << 16 | u64::from(s.sub);
    let mut h = mix(mix(0x243f_6a88_85a3_08d3, head), s.misc);
    for th in &s.threads {
        let [a, b] = th.words();
        h = mix(mix(h, a), b);
    }
    h
}

/// Explores everything.
pub fn explore<const N: usize>(machine: &Machine, limits: Limits, progress: Progress<'_>) -> Explored<N> {
    let start = Instant::now();
    let mut set = Set::<N>::new();
    let mut found =
        Explored { states: 0, transitions: 0, depth: 0, happened: 0, end: End::Holds { live: false }, seconds: 0.0 };
    let done = |mut found: Explored<N>, end| {
        found.end = end;
        found.seconds = start.elapsed().as_secs_f64();
        found
    };
    match machine.initial() {
        Ok(s) => set.insert(&canonical(s), 0),
        Err(violation) => return done(found, End::Violated { violation, path: Vec::new() }),
    };
    let mut edges: Vec<(u32, u32)> = Vec::new();
    let mut keep_edges = limits.liveness;
    let mut next = 0;
    let mut level_end = 1;
    while next < set.states.len() {
        if next == level_end {
            found.depth += 1;
            level_end = set.states.len();
        }
        let s = set.states[next];
        found.happened |= machine.node(&s).happened;
        let from = next as u32;
        let mut violated = None;
        machine.successors(&s, &mut |who: Who, action: Action, to: Result<State<N>, Violation>| {
            found.transitions += 1;
            found.happened |= action.happened(who);
            match to {
                Ok(to) if violated.is_none() => {
                    let (id, _) = set.insert(&canonical(to), from);
                    if keep_edges && id != from {
                        edges.push((id, from));
                    }
                }
                Ok(_) => {}
                Err(v) => violated = violated.or(Some(v)),
            }
        });
        next += 1;
        found.states = set.states.len();
        if let Some(violation) = violated {
            let path = set.path(from);
            return done(found, End::Violated { violation, path });
        }
        if next.is_multiple_of(1 << 16) {
            progress(set.states.len(), set.states.len() - next);
            if set.bytes() + edges.capacity() * 8 > limits.memory || set.states.len() > u32::MAX as usize / 2 {
                return done(found, End::OutOfMemory);
            }
        }
        if keep_edges && set.states.len() > LIVENESS {
            keep_edges = false;
            edges = Vec::new();
        }
    }
    if keep_edges && let Some(stuck) = cannot_finish(machine, &set, edges) {
        let path = set.path(stuck);
        return done(found, End::Violated { violation: Violation::Deadlock, path });
    }
    done(found, End::Holds { live: keep_edges })
}

/// The first state from which no way leads to the end of the patcher's work.
fn cannot_finish<const N: usize>(machine: &Machine, set: &Set<N>, mut edges: Vec<(u32, u32)>) -> Option<u32> {
    edges.sort_unstable();
    let mut can = vec![false; set.states.len()];
    let mut todo: Vec<u32> = Vec::new();
    for (id, s) in set.states.iter().enumerate() {
        if machine.is_over(s) {
            can[id] = true;
            todo.push(id as u32);
        }
    }
    while let Some(id) = todo.pop() {
        let first = edges.partition_point(|&(to, _)| to < id);
        for &(_, from) in edges[first..].iter().take_while(|&&(to, _)| to == id) {
            if !can[from as usize] {
                can[from as usize] = true;
                todo.push(from);
            }
        }
    }
    can.iter().position(|&c| !c).map(|id| id as u32)
}
