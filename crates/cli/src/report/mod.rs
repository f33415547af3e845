//! Statistics per function: computing ([`stats`], [`histogram`]) and showing ([`table`], [`json`]).

pub mod histogram;
pub mod json;
pub mod stats;
pub mod table;
