//! Keys of a running process, for people and programs: which are meant, and how they are shown.

pub mod json;
pub mod select;
pub mod table;
pub mod targets;
