//! What `check` prints for people. Start reading at [`report`].

pub mod cells;
pub mod interleaving;
pub mod program;
pub mod report;
pub mod table;
