//! A child process: it maps code, lets one thread run through it and changes it from the other.
//!
//! Reading order: [`main`], [`text`], [`executor`], [`flips`], [`limits`].

pub mod executor;
pub mod flips;
pub mod limits;
pub mod text;

use std::os::fd::AsFd;

use crate::shared::{Mapping, Shared};
use crate::spec::Spec;
use crate::subject;
use crate::variant::{By, Variant};

/// The exit code of a child whose executor hangs in torn code; another child may go on.
pub const HUNG: u8 = 99;

/// Runs a child that was started with these orders, and returns its exit code. Standard input is the shared memory.
///
/// To be called before there are threads, signal handlers or anything else that matters: the process is given up to
/// code that may do anything.
pub fn main(orders: &str) -> u8 {
    let Ok(spec) = serde_json::from_str::<Spec>(orders) else { return 2 };
    let Ok(shared) = Mapping::open(std::io::stdin().as_fd()) else { return 2 };
    // Signal handlers keep looking at it.
    let shared: &'static Mapping = Box::leak(Box::new(shared));
    match run(&spec, shared) {
        Ok(code) => code,
        Err(why) => {
            shared.refuse(&why);
            0
        }
    }
}

fn run(spec: &Spec, shared: &'static Shared) -> Result<u8, String> {
    limits::be_a_child(spec.parent)?;
    limits::wake_in_time();
    textpoke_linux::sync::register().map_err(|e| {
        format!("membarrier, which every protocol needs, is refused ({e}); a seccomp filter may do that")
    })?;
    if spec.variant.is_empty() {
        text::can_map()?;
        return limits::bind_to(spec.cpus.map(|cpus| cpus[0])).map(|()| 0);
    }
    let variant = Variant::find(&spec.variant).ok_or("no such variant")?;
    let scenario = subject::scenario(variant, spec.place, spec.book.into()).ok_or("no such check")?;
    let raw = matches!(variant.by, By::Raw(_));
    let text = text::Text::map(&scenario, spec.place, raw)?;
    let executor = executor::Executor::start(&text.subject, spec.cpus, raw, shared)?;
    flips::flip(spec, variant, text, &executor, shared)
}
