//! The tests, in the order in which they run.

mod form;
mod rounds;

use kernel::{parameters, println};

/// A test: its name and what it does. It panics when something is wrong, and says in a few words what it saw.
type Test = (&'static str, fn());

const ALL: &[Test] = &[("rounds", rounds::run)];

/// Runs those that are wanted.
pub fn run() {
    let wanted = parameters::get("tests");
    for (name, test) in ALL {
        if wanted.is_none_or(|wanted| wanted.split(',').any(|wanted| wanted == *name)) {
            println!("begin {name}");
            test();
        }
    }
}
