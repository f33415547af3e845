//! What is performed on live code is what the checker explored.
//!
//! Threads stand for CPUs and execute functions of their own, while every protocol patches these in both directions, once
//! undisturbed and once with each of its steps failing, before or after its work. NMIs come in all the time, the patcher's
//! own included. A wrapper around the machine records each step; the checker must accept the record as a path of its own
//! graph.

#![allow(unsafe_code, reason = "the tests generate, execute and change machine code")]

#[path = "cpus/code.rs"]
mod code;
#[path = "cpus/mod.rs"]
mod cpus;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use cpus::{CPUS, ENGINE, MEETING, OPEN, Online};
use textpoke_bare::Refused;
use textpoke_core::protocol::{displace, nmi_assist};
use textpoke_core::{Cause, Direction, Kind, Machine, Plan, Run, Site, Step, Verdict};
use textpoke_model::accepts;

const KINDS: [Kind; 6] = [Kind::Breakpoint, Kind::Displace, Kind::Word, Kind::ShortJump, Kind::Park, Kind::NmiAssist];
const DIRECTIONS: [Direction; 2] = [Direction::Install, Direction::Remove];
/// The cause of failures on purpose.
const CAUSE: Cause = Cause::Os(12);

/// Which step fails, counted from 0 over the whole run, and whether its work is done first.
#[derive(Clone, Copy, Debug)]
struct Fault {
    step: usize,
    done: bool,
}

/// The machine, and what it was asked for.
struct Recorder<M> {
    machine: M,
    steps: Vec<Step>,
    fault: Option<Fault>,
}

impl<M: Machine> Machine for Recorder<M> {
    fn perform(&mut self, step: Step) -> Result<(), Cause> {
        let number = self.steps.len();
        self.steps.push(step);
        match self.fault {
            Some(fault) if fault.step == number && !matches!(step, Step::Done(_)) => {
                if fault.done {
                    self.machine.perform(step)?;
                }
                Err(CAUSE)
            }
            _ => self.machine.perform(step),
        }
    }
}

/// Performs a run and returns what was performed.
fn record(sites: &[Site], kind: Kind, dir: Direction, fault: Option<Fault>) -> (Verdict, Vec<Step>) {
    let plan = Plan::new(sites).and_then(|plan| plan.suits(kind)).unwrap();
    let run = Run::new(kind, dir);
    let make = |machine| Recorder { machine, steps: Vec::new(), fault };
    // SAFETY: threads bear both forms of the functions, which stay mapped; traps and NMIs are wired. A broken batch fails
    // the test.
    let (verdict, recorder) = unsafe { ENGINE.run_on(plan, dir, run, make) }.unwrap();
    assert!(!matches!(verdict, Verdict::Broken(..)), "{verdict:?}");
    assert!(!OPEN.load(SeqCst), "text was left open");
    (verdict, recorder.steps)
}

/// Calls `body` while threads execute the code, and NMIs come in.
fn under_way(body: impl FnOnce()) {
    static STOP: AtomicBool = AtomicBool::new(false);
    /// Lets the threads end even if the body panics.
    struct Stop;
    impl Drop for Stop {
        fn drop(&mut self) {
            STOP.store(true, SeqCst);
        }
    }
    STOP.store(false, SeqCst);
    std::thread::scope(|scope| {
        let me = Online::new(0);
        for cpu in 1..CPUS {
            scope.spawn(move || {
                let _me = Online::new(cpu);
                while !STOP.load(SeqCst) {
                    code::look();
                }
            });
        }
        scope.spawn(|| {
            while !STOP.load(SeqCst) {
                cpus::storm();
            }
        });
        let stop = Stop;
        while (0..CPUS).any(|cpu| !MEETING.is_online(cpu)) {
            std::thread::yield_now();
        }
        let before = cpus::nmis();
        body();
        while cpus::nmis() == before {
            std::thread::yield_now();
        }
        drop((stop, me));
    });
}

#[test]
fn runs_are_paths_of_the_model() {
    let _turn = cpus::turn();
    under_way(|| {
        for kind in KINDS {
            let sites = code::sites(kind);
            for dir in DIRECTIONS {
                let (verdict, steps) = record(&sites, kind, dir, None);
                assert_eq!(verdict, Verdict::Performed(dir), "{} {dir:?}", kind.name());
                assert_eq!(steps.len(), kind.program(dir).len() + 1);
                assert_eq!(accepts(kind, dir, &steps), Ok(()), "{} {dir:?} {steps:?}", kind.name());
                code::assert_form(&sites, dir == Direction::Install);
            }
        }
    });
}

#[test]
fn so_are_those_in_which_a_step_fails() {
    let _turn = cpus::turn();
    under_way(|| {
        for kind in KINDS {
            let sites = code::sites(kind);
            for dir in DIRECTIONS {
                let faults =
                    (0..kind.program(dir).len()).flat_map(|step| [false, true].map(|done| Fault { step, done }));
                for fault in faults {
                    let (verdict, steps) = record(&sites, kind, dir, Some(fault));
                    let context = || format!("{} {dir:?} {fault:?} {steps:?}", kind.name());
                    let Verdict::Undone(reason) = verdict else { panic!("{}: {verdict:?}", context()) };
                    assert_eq!((usize::from(reason.step), reason.cause), (fault.step, CAUSE), "{}", context());
                    assert_eq!(accepts(kind, dir, &steps), Ok(()), "{}", context());
                    code::assert_form(&sites, dir == Direction::Remove);
                }
                record(&sites, kind, dir, None);
                code::assert_form(&sites, dir == Direction::Install);
            }
        }
    });
}

#[test]
fn nmis_meet_changes() {
    let _turn = cpus::turn();
    let before = ENGINE.counts();
    under_way(|| {
        let sites = code::sites(Kind::NmiAssist);
        // An NMI that writes is one that comes in while a change is announced: sooner or later there is one.
        while ENGINE.counts().nmi_writes < before.nmi_writes + 3 {
            for dir in DIRECTIONS {
                let (verdict, _) = record(&sites, Kind::NmiAssist, dir, None);
                assert_eq!(verdict, Verdict::Performed(dir));
            }
        }
        let sites = code::sites(Kind::Breakpoint);
        while ENGINE.counts().traps < before.traps + 3 {
            for dir in DIRECTIONS {
                record(&sites, Kind::Breakpoint, dir, None);
            }
        }
    });
}

/// What the machine cannot do it says before anything changes.
#[test]
fn no_word_is_stored_across_words() {
    let _turn = cpus::turn();
    let me = Online::new(0);
    let sites = code::sites(Kind::Breakpoint);
    assert!(!sites.iter().all(Site::in_one_word));
    let plan = Plan::new(&sites).and_then(|plan| plan.suits(Kind::Word)).unwrap();
    for dir in DIRECTIONS {
        // SAFETY: nobody executes the functions.
        let verdict = unsafe { ENGINE.patch(plan, dir) };
        let Ok(Verdict::Undone(reason)) = verdict else { panic!("{verdict:?}") };
        assert_eq!((reason.step, reason.cause), (0, Cause::Unsupported));
    }
    code::assert_form(&sites, false);
    drop(me);
}

/// What breaks can be finished, and nothing else is begun before. Meanwhile NMIs write what is announced.
#[test]
fn a_broken_batch_is_finished_first() {
    let _turn = cpus::turn();
    let sites = code::sites(Kind::NmiAssist);
    let plan = Plan::new(&sites).and_then(|plan| plan.suits(Kind::NmiAssist)).unwrap();
    let store = nmi_assist::PROGRAM.iter().position(|step| matches!(step, Step::Store { .. })).unwrap();
    under_way(|| {
        // The way back fails, too.
        let run = Run::custom(nmi_assist::PROGRAM, &[Step::AwaitNoneInside], Direction::Install);
        let fault = Some(Fault { step: store, done: true });
        let make = |machine| Breaks(Recorder { machine, steps: Vec::new(), fault });
        // SAFETY: threads bear both forms of the functions, and the sites stay.
        unsafe {
            let (verdict, _) = ENGINE.run_on(plan, Direction::Install, run, make).unwrap();
            assert!(matches!(verdict, Verdict::Broken(..)), "{verdict:?}");
            assert!(OPEN.load(SeqCst), "NMIs write what is announced");
            assert_eq!(ENGINE.patch(plan, Direction::Remove), Err(Refused::Broken));
            assert_eq!(ENGINE.finish(plan, Direction::Remove), Ok(Verdict::Performed(Direction::Remove)));
            assert_eq!(ENGINE.finish(plan, Direction::Remove), Err(Refused::Whole));
        }
        code::assert_form(&sites, false);
        assert!(!OPEN.load(SeqCst));
    });
}

/// A machine on which nobody can be waited for.
struct Breaks<M>(M);

impl<M: Machine> Machine for Breaks<M> {
    fn perform(&mut self, step: Step) -> Result<(), Cause> {
        if step == Step::AwaitNoneInside { Err(CAUSE) } else { self.0.perform(step) }
    }
}

/// A batch in a batch: an interrupt, or an NMI, must not patch.
#[test]
fn one_batch_at_a_time() {
    struct Nested;
    impl Machine for Nested {
        fn perform(&mut self, step: Step) -> Result<(), Cause> {
            let sites = code::sites(Kind::Word);
            let plan = Plan::new(&sites).and_then(|plan| plan.suits(Kind::Word)).unwrap();
            // SAFETY: refused.
            assert_eq!(unsafe { ENGINE.patch(plan, Direction::Install) }, Err(Refused::Busy), "{step:?}");
            Ok(())
        }
    }
    let _turn = cpus::turn();
    let sites = code::sites(Kind::Displace);
    let plan = Plan::new(&sites).and_then(|plan| plan.suits(Kind::Displace)).unwrap();
    let run = Run::custom(displace::INSTALL, &[], Direction::Install);
    // SAFETY: nothing is performed.
    let done = unsafe { ENGINE.run_on(plan, Direction::Install, run, |_| Nested) };
    assert!(matches!(done, Ok((Verdict::Performed(_), Nested))));
    code::assert_form(&sites, false);
}
