//! Merges calls with the same stack into one node.

use std::collections::HashMap;

use crate::data::event::{Event, How, Sink};
use crate::error::Result;

/// Marks a node that stands for a thread (or for everything) instead of a function.
pub const NO_FUNCTION: u32 = u32::MAX;

/// Calls of one function with one stack above it.
#[derive(Clone, Debug)]
pub struct Node {
    /// Index of the function in the meta, or [`NO_FUNCTION`].
    pub function: u32,
    /// Index of the calling node; the root is its own parent.
    pub parent: u32,
    /// Number of calls.
    pub calls: u64,
    /// Calls whose end was inferred: their times are estimates.
    pub inferred: u64,
    /// Nanoseconds with everything called.
    pub total_ns: u64,
    /// Nanoseconds without the calls below.
    pub self_ns: u64,
}

/// The tree; node 0 is the root.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Nodes; a parent comes before its children.
    pub nodes: Vec<Node>,
    index: HashMap<(u32, u32), u32>,
}

impl Default for Tree {
    fn default() -> Self {
        let root = Node { function: NO_FUNCTION, parent: 0, calls: 0, inferred: 0, total_ns: 0, self_ns: 0 };
        Self { nodes: vec![root], index: HashMap::new() }
    }
}

impl Tree {
    /// A node directly below the root that stands for a thread.
    pub fn add_group(&mut self) -> u32 {
        self.push(0, NO_FUNCTION)
    }

    /// A sink that adds the calls of one thread below `base` (0 or a group).
    pub fn adder(&mut self, base: u32) -> Adder<'_> {
        Adder { tree: self, base, stack: Vec::new() }
    }

    /// Gives the groups and the root the sum of what is below them. Call once, at the end.
    pub fn finish(&mut self) {
        for at in (1..self.nodes.len()).rev() {
            let Node { parent, total_ns, calls, .. } = self.nodes[at];
            let parent = &mut self.nodes[parent as usize];
            if parent.function == NO_FUNCTION {
                parent.total_ns += total_ns;
                parent.calls += calls;
            }
        }
    }

    fn push(&mut self, parent: u32, function: u32) -> u32 {
        let at = self.nodes.len() as u32;
        self.nodes.push(Node { function, parent, calls: 0, inferred: 0, total_ns: 0, self_ns: 0 });
        at
    }

    fn child(&mut self, parent: u32, function: u32) -> u32 {
        if let Some(&at) = self.index.get(&(parent, function)) {
            return at;
        }
        let at = self.push(parent, function);
        self.index.insert((parent, function), at);
        at
    }
}

/// Adds the calls of one thread to a [`Tree`].
#[derive(Debug)]
pub struct Adder<'a> {
    tree: &'a mut Tree,
    base: u32,
    /// Open calls: node, time of entry, time spent in calls below.
    stack: Vec<(u32, u64, u64)>,
}

impl Sink for Adder<'_> {
    fn event(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Enter { function, ns } => {
                let parent = self.stack.last().map_or(self.base, |&(node, ..)| node);
                let node = self.tree.child(parent, function);
                self.tree.nodes[node as usize].calls += 1;
                self.stack.push((node, ns, 0));
            }
            Event::Exit { ns, how, .. } => {
                let Some((node, since, below)) = self.stack.pop() else { return Ok(()) };
                let took = ns - since;
                let node = &mut self.tree.nodes[node as usize];
                node.inferred += u64::from(how == How::Inferred);
                node.total_ns += took;
                node.self_ns += took - below.min(took);
                if let Some((_, _, callers)) = self.stack.last_mut() {
                    *callers += took;
                }
            }
            Event::Lost { .. } => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_stacks_merge_and_times_add_up() {
        let mut tree = Tree::default();
        let group = tree.add_group();
        let mut adder = tree.adder(group);
        let enter = |function, ns| Event::Enter { function, ns };
        let exit = |function, ns| Event::Exit { function, ns, how: How::Exact };
        for event in [
            enter(0, 0),
            enter(1, 10),
            exit(1, 20),
            enter(1, 30),
            exit(1, 50),
            exit(0, 100),
            enter(1, 100),
            exit(1, 105),
        ] {
            adder.event(event).unwrap();
        }
        tree.finish();
        let shown: Vec<_> = tree.nodes.iter().map(|n| (n.function, n.parent, n.calls, n.total_ns, n.self_ns)).collect();
        assert_eq!(
            shown,
            [
                (NO_FUNCTION, 0, 2, 105, 0),
                (NO_FUNCTION, 0, 2, 105, 0),
                (0, 1, 1, 100, 70),
                (1, 2, 2, 30, 30),
                (1, 1, 1, 5, 5),
            ]
        );
    }
}
