//! Flame graphs: the tree of call stacks ([`tree`]), what is drawn of it ([`layout`]), its colours
//! ([`colour`]) and the SVG ([`svg`], with `flame.css` and `flame.js` inside).

pub mod colour;
pub mod layout;
pub mod svg;
pub mod tree;
