//! The tests, in the order in which they run.

mod batches;
mod buffer;
mod control;
mod early;
mod failure;
mod form;
mod gap;
mod keys;
mod nmi;
mod online;
mod park;
mod rounds;
mod several;
mod trace;

pub use early::early;

use kernel::engine::MEETING;
use kernel::{parameters, println};

/// A test: its name, and what it does. It panics when something is wrong, and says in a line what it saw.
type Test = (&'static str, fn());

/// The first ones find CPUs that have not come online yet.
const ALL: &[Test] = &[
    ("early", early::run),
    ("online", online::run),
    ("gap", gap::run),
    ("batches", batches::run),
    ("park", park::run),
    ("nmi", nmi::run),
    ("control", control::run),
    ("failure", failure::run),
    ("several", several::run),
    ("keys", keys::run),
    ("trace", trace::run),
    ("rounds", rounds::run),
];

/// One that is run only when it is asked for: whoever runs this must notice that nothing happens any more.
const HANG: Test = ("hang", || {
    loop {
        core::hint::spin_loop();
    }
});

/// Runs those that are wanted.
pub fn run() {
    let wanted = parameters::get("tests");
    if wanted == Some(HANG.0) {
        HANG.1();
    }
    for (name, test) in ALL {
        if wanted.is_none_or(|wanted| wanted.split(',').any(|wanted| wanted == *name)) {
            println!("begin {name}");
            test();
        }
        if *name == "online" {
            all_online();
        }
    }
}

/// Tells often enough that whoever listens knows that this is no hang.
fn tell(done: u64, of: u64) {
    if done.is_multiple_of((of / 10).clamp(1, 1000)) {
        println!("{done} of {of}");
    }
}

/// Starts the CPUs that are not there yet.
fn all_online() {
    for cpu in 1..parameters::number("cpus", 1) as usize {
        if !MEETING.is_online(cpu) {
            kernel::start_cpu(cpu);
        }
    }
}
