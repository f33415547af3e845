//! Flame graphs: the tree of call stacks ([`tree`]), its colours ([`colour`]) and the SVG ([`svg`]).

pub mod tree;
