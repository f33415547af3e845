//! What `litmus` prints for people.

pub mod table;
