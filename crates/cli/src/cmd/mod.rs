//! One module per verb: its arguments, its examples, and `run`.

pub mod check;
pub mod demo;
pub mod export;
pub mod flame;
pub mod info;
pub mod keys;
pub mod litmus;
pub mod record;
pub mod repair;
pub mod report;
pub mod sites;
