//! What `check` prints for people. Start reading at [`report`].

pub mod cells;
pub mod choice;
pub mod file;
pub mod interleaving;
pub mod list;
pub mod litmus;
pub mod program;
pub mod replay;
pub mod report;
pub mod table;
