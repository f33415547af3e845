//! Chooses and orders the frames that are drawn.

use super::tree::Tree;

/// A drawn frame. Frames are in depth-first order, widest first among siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Index of the node in the tree.
    pub node: u32,
    /// Distance from the root.
    pub depth: u32,
    /// Where it starts, nanoseconds from the left edge.
    pub start_ns: u64,
}

/// At most `budget` frames, the widest ones; also says how many nodes were left out.
///
/// A call never takes longer than its caller, so dropping all nodes below one width never drops a
/// node and keeps its child.
#[must_use]
pub fn frames(tree: &Tree, budget: usize) -> (Vec<Frame>, usize) {
    let mut widths: Vec<u64> = tree.nodes.iter().map(|n| n.total_ns).collect();
    widths.sort_unstable_by(|a, b| b.cmp(a));
    // Strictly wider than the first that does not fit, so that ties do not break the budget.
    let least = widths.get(budget).map_or(1, |&w| w + 1);

    let mut children: Vec<Vec<u32>> = vec![Vec::new(); tree.nodes.len()];
    for (at, node) in tree.nodes.iter().enumerate().skip(1) {
        if node.total_ns >= least {
            children[node.parent as usize].push(at as u32);
        }
    }
    let mut frames = Vec::new();
    let mut todo = vec![Frame { node: 0, depth: 0, start_ns: 0 }];
    while let Some(frame) = todo.pop() {
        frames.push(frame);
        let list = &mut children[frame.node as usize];
        let width = |at: u32| tree.nodes[at as usize].total_ns;
        list.sort_by_key(|&at| (std::cmp::Reverse(width(at)), at));
        let mut start_ns = frame.start_ns;
        let from = todo.len();
        for &node in list.iter() {
            todo.push(Frame { node, depth: frame.depth + 1, start_ns });
            start_ns += width(node);
        }
        todo[from..].reverse(); // the widest is taken next
    }
    // Functions that are only counted have no width; nobody misses their frames.
    let wide = tree.nodes.iter().skip(1).filter(|n| n.total_ns > 0).count();
    let left_out = wide - (frames.len() - 1);
    (frames, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::event::{Event, How, Sink};

    fn tree(calls: &[(u32, u64)]) -> Tree {
        let mut tree = Tree::default();
        let mut adder = tree.adder(0);
        let mut now = 0;
        for &(function, took) in calls {
            adder.event(Event::Enter { function, ns: now }).unwrap();
            now += took;
            adder.event(Event::Exit { function, ns: now, how: How::Exact }).unwrap();
        }
        tree.finish();
        tree
    }

    #[test]
    fn widest_first_and_side_by_side() {
        let tree = tree(&[(0, 10), (1, 30), (2, 20)]);
        let (frames, left_out) = frames(&tree, 100);
        let shown: Vec<_> = frames.iter().map(|f| (f.node, f.depth, f.start_ns)).collect();
        assert_eq!(shown, [(0, 0, 0), (2, 1, 0), (3, 1, 30), (1, 1, 50)]);
        assert_eq!(left_out, 0);
    }

    #[test]
    fn the_budget_holds_even_with_ties() {
        let tree = tree(&[(0, 10), (1, 10), (2, 10), (3, 40)]);
        let (frames, left_out) = frames(&tree, 3);
        assert_eq!(frames.iter().map(|f| f.node).collect::<Vec<_>>(), [0, 4]);
        assert_eq!(left_out, 3);
    }
}
