//! Storms: code that is patched while other threads execute it as fast as they can, with every result checked.
//!
//! A wrong result, a crash or a missing trap is a bug of the engine until its cause is known. Nothing here depends on
//! how long something takes: a storm ends when it has seen what it must see, and fails when that does not come.

#![allow(unsafe_code, reason = "the tests generate, execute and change machine code")]

mod arena;
mod batches;
mod displaced;
mod faults;
mod forks;
mod forms;
mod hot;
mod instructions;
mod signals;
mod tools;
