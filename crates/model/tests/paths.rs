//! What a machine performs is a path of the model, and nothing else is.

use textpoke_core::{Cause, Direction, Kind, Machine, Run, Step, drive};
use textpoke_model::accepts;

/// Records the steps and fails one of them.
struct Recorder {
    steps: Vec<Step>,
    failing: usize,
}

impl Machine for Recorder {
    fn perform(&mut self, step: Step) -> Result<(), Cause> {
        self.steps.push(step);
        if self.steps.len() == self.failing { Err(Cause::Os(12)) } else { Ok(()) }
    }
}

#[test]
fn recorded_steps_are_accepted_whatever_fails() {
    for kind in Kind::ALL {
        for dir in [Direction::Install, Direction::Remove] {
            for failing in 0..=kind.program(dir).len() {
                let mut machine = Recorder { steps: Vec::new(), failing };
                drive(Run::new(kind, dir), &mut machine);
                assert_eq!(accepts(kind, dir, &machine.steps), Ok(()), "{} {dir:?} {failing}", kind.name());
            }
        }
    }
}

#[test]
fn other_orders_are_not() {
    for kind in Kind::ALL {
        let mut machine = Recorder { steps: Vec::new(), failing: 0 };
        drive(Run::new(kind, Direction::Install), &mut machine);
        for i in 0..machine.steps.len() - 1 {
            let mut steps = machine.steps.clone();
            steps.swap(i, i + 1);
            assert_eq!(accepts(kind, Direction::Install, &steps), Err(i), "{} {i}", kind.name());
            let mut steps = machine.steps.clone();
            steps.remove(i);
            assert_eq!(accepts(kind, Direction::Install, &steps), Err(i), "{} {i}", kind.name());
        }
    }
}
