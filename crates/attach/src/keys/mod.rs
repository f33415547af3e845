//! Keys of other processes: finding, reading and flipping them.
//!
//! Nothing has to be prepared in the process but the keys themselves. Reading ([`read`]) does not stop it. Flipping
//! ([`flip`]) takes the lock by which the program's own flips exclude each other, changes the code by a protocol of the
//! core, and publishes the new values in the order that `docs/keys.md` demands; if this process is killed meanwhile, whoever
//! flips next, inside or outside, puts things in order.
//!
//! Reading order: [`tables`], [`flip`], then `outside.rs`, `hand.rs`, `lock.rs`, `order.rs`.

mod decide;
mod flip;
mod hand;
mod holder;
mod lock;
mod memory;
mod order;
mod outside;
pub mod tables;
mod words;

use std::fs::File;
use std::io;

use crate::error::Error;
use crate::inject::Embryo;
use crate::keeper::Keeper;
use crate::preflight;
use crate::proc::{self, Mapping};
use hand::Hand;
use words::Words;

pub use decide::Operation;
pub use flip::{Flipped, Wanted, Way, flip};
pub use tables::{Key, Object, Tables};

/// Reads the keys of a process, which is not stopped.
///
/// # Errors
/// There is no such process, or it may not be looked into.
pub fn read(pid: i32) -> Result<Tables, Error> {
    preflight::exists(pid)?;
    preflight::program(pid)?;
    let memory = File::open(format!("/proc/{pid}/mem")).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::NoSuchProcess(pid),
        io::ErrorKind::PermissionDenied => Error::Denied(pid),
        _ => Error::Io("opening the process's memory", e),
    })?;
    let maps = proc::maps(pid).map_err(|e| match e.kind() {
        io::ErrorKind::PermissionDenied => Error::Denied(pid),
        _ => Error::Gone(pid),
    })?;
    Ok(Tables::read(&mut memory::Pages::new(&memory), &maps))
}

/// Whether somebody may have died who was changing keys: changes are listed, or somebody from outside has the lock. One
/// that is just dying looks alive; whoever takes the lock finds out.
pub(crate) fn may_need_order(pid: i32, maps: &[Mapping]) -> bool {
    let Ok(memory) = File::open(format!("/proc/{pid}/mem")) else { return false };
    let Some(words) = Words::find(pid, &memory, maps) else { return false };
    let holder = words::half(&memory, words.lock()).unwrap_or_default();
    let started = words::word(&memory, words.started()).unwrap_or_default();
    words.has_changes(&memory) || (holder != 0 && started != 0)
}

/// Puts the keys in order, and answers how many sites were changed for it. The newborn sidecar is lent for that; a page at
/// `code` is free.
pub(crate) fn put_in_order(keeper: &mut Keeper, embryo: Embryo, code: u64) -> Result<(Embryo, usize), Error> {
    let mut hand = Hand::around(keeper, embryo, code)?;
    let words = hand.words(keeper)?;
    lock::take(keeper, &mut hand, words)?;
    let done = order::put(keeper, &mut hand, words);
    lock::give_back(keeper, &mut hand, words)?;
    Ok((hand.into_embryo(keeper)?, done?))
}
