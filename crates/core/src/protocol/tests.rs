use super::*;
use crate::site::Phase;
use crate::step::Step::*;
use crate::step::{Cause, Unit};

const TRAP: Step = Store { phase: Phase::Trap, unit: Unit::Byte };

/// Walks a run; `fail(i)` decides whether the `i`-th performed step fails.
fn walk(mut run: Run<'_>, fail: impl Fn(usize) -> bool) -> (std::vec::Vec<Step>, Verdict) {
    let mut steps = std::vec::Vec::new();
    let mut last = Outcome::Start;
    loop {
        let step = run.next(last);
        if let Done(verdict) = step {
            assert_eq!(run.next(Outcome::Ok), step, "done stays done");
            return (steps, verdict);
        }
        last = if fail(steps.len()) { Outcome::Failed(Cause::Os(5)) } else { Outcome::Ok };
        steps.push(step);
        assert!(steps.len() < 100, "a run ends");
    }
}

extern crate std;

#[test]
fn without_failures_a_run_is_its_program() {
    for kind in Kind::ALL {
        for dir in [Direction::Install, Direction::Remove] {
            let (steps, verdict) = walk(Run::new(kind, dir), |_| false);
            assert_eq!(steps, kind.program(dir));
            assert_eq!(verdict, Verdict::Performed(dir));
        }
    }
}

#[test]
fn the_number_of_synchronisations_is_constant() {
    for (kind, want) in [
        (Kind::Breakpoint, 3),
        (Kind::Displace, 3),
        (Kind::Word, 1),
        (Kind::ShortJump, 3),
        (Kind::Pair, 3),
        (Kind::PreparedPair, 1),
        (Kind::Park, 0),
    ] {
        for dir in [Direction::Install, Direction::Remove] {
            assert_eq!(kind.program(dir).iter().filter(|&&s| s == SyncCores).count(), want);
        }
    }
}

#[test]
fn whichever_step_fails_the_rest_undoes_the_batch() {
    for kind in Kind::ALL {
        for dir in [Direction::Install, Direction::Remove] {
            let program = kind.program(dir);
            for failing in 0..program.len() {
                let (steps, verdict) = walk(Run::new(kind, dir), |i| i == failing);
                let reason = Reason { step: failing as u8, cause: Cause::Os(5) };
                assert_eq!(verdict, Verdict::Undone(reason), "{} {dir:?} step {failing}", kind.name());
                let rest = &steps[failing + 1..];
                let begun = &program[..=failing];
                let changed = begun.iter().any(|s| matches!(s, Store { .. } | Announce { .. }));
                if changed {
                    let wait = program.iter().position(|&s| s == AwaitNoneInside);
                    let early = wait.is_some_and(|wait| failing <= wait) && !kind.retreat().is_empty();
                    let back = if early { kind.retreat() } else { kind.way_back(dir) };
                    assert_eq!(rest[0], Undo(reason));
                    let expected: std::vec::Vec<_> =
                        back.iter().copied().filter(|s| *s != Verify { after: false }).collect();
                    assert_eq!(rest[1..], expected);
                } else {
                    // A failed step may have done its work.
                    let clean = [(Park, Unpark), (Open, Close), (Publish, Retire)];
                    let clean = clean.iter().filter(|(did, _)| begun.contains(did)).map(|(_, undo)| *undo);
                    assert_eq!(rest, clean.collect::<std::vec::Vec<_>>());
                }
            }
        }
    }
}

#[test]
fn nothing_behind_a_live_jump_changes_on_the_way_back() {
    let back = Kind::Displace.way_back(Direction::Remove);
    let sync = back.iter().position(|s| *s == SyncCores).unwrap();
    let stores: std::vec::Vec<_> = back[..sync].iter().filter(|s| matches!(s, Store { .. })).collect();
    assert_eq!(stores, [&Store { phase: Phase::TrapHead, unit: Unit::Byte }]);
}

#[test]
fn whoever_would_not_leave_is_not_waited_for_again() {
    for kind in [Kind::Pair, Kind::ParkTwice] {
        for dir in [Direction::Install, Direction::Remove] {
            let wait = kind.program(dir).iter().position(|&s| s == AwaitNoneInside).unwrap();
            for failing in 0..kind.program(dir).len() {
                let (steps, _) = walk(Run::new(kind, dir), |i| i == failing);
                let again = steps[failing + 1..].contains(&AwaitNoneInside);
                assert_eq!(again, failing > wait, "{} step {failing}", kind.name());
            }
        }
    }
}

#[test]
fn what_is_announced_is_withdrawn_only_when_the_text_is_whole_and_waited_for() {
    for steps in [nmi_assist::PROGRAM, nmi_assist::BACK] {
        let at = |step| steps.iter().position(|&s| s == step).unwrap();
        let announce = at(Announce { idle: true });
        assert!(at(Record) < announce && announce < at(Withdraw));
        assert!(steps[announce..at(Withdraw)].iter().any(|s| matches!(s, Store { .. })));
        assert!(steps[announce..at(Withdraw)].ends_with(&[Maintain, SyncCores]));
        assert_eq!(steps[at(Withdraw) + 1], AwaitNmis);
    }
}

#[test]
fn everybody_who_is_parked_is_released() {
    for kind in Kind::ALL {
        for dir in [Direction::Install, Direction::Remove] {
            for program in [kind.program(dir), kind.way_back(dir), kind.retreat()] {
                let count = |step| program.iter().filter(|&&s| s == step).count();
                assert_eq!(count(Park), count(Unpark), "{}", kind.name());
                assert_eq!(kind.parks(), kind.program(dir).contains(&Park));
                assert_eq!(kind.traps(), kind.program(dir).contains(&Publish));
            }
        }
    }
}

#[test]
fn a_second_failure_is_told_with_both_reasons() {
    let program = Kind::Breakpoint.program(Direction::Install);
    let first_store = program.iter().position(|&s| s == TRAP).unwrap();
    for second in first_store + 2..first_store + 8 {
        let (_, verdict) = walk(Run::new(Kind::Breakpoint, Direction::Install), |i| i == first_store || i == second);
        assert!(matches!(verdict, Verdict::Broken(a, _) if usize::from(a.step) == first_store), "{verdict:?}");
    }
    let (steps, verdict) = walk(Run::new(Kind::Breakpoint, Direction::Install), |i| i == 1 || i == 2);
    assert_eq!(steps, [Open, Verify { after: false }, Close]);
    assert!(matches!(verdict, Verdict::Broken(..)));
}

#[test]
fn the_trap_table_follows_the_direction() {
    let mut run = Run::new(Kind::Displace, Direction::Install);
    let mut last = Outcome::Start;
    loop {
        let step = run.next(last);
        last = if step == AwaitNoneInside { Outcome::Failed(Cause::TimedOut) } else { Outcome::Ok };
        match step {
            Undo(_) => break,
            _ => assert_eq!(run.direction(), Direction::Install),
        }
    }
    assert_eq!(run.direction(), Direction::Remove);
}

#[test]
fn an_unfinished_batch_is_finished_like_a_way_back_without_the_first_look() {
    for kind in Kind::ALL {
        assert_eq!(Run::repair(kind), Run::finish(kind, Direction::Remove));
        for to in [Direction::Install, Direction::Remove] {
            let (steps, verdict) = walk(Run::finish(kind, to), |_| false);
            let program = kind.way_back(to.opposite());
            let expected: std::vec::Vec<_> =
                program.iter().copied().filter(|s| *s != Verify { after: false }).collect();
            assert_eq!((steps, verdict), (expected, Verdict::Performed(to)));
        }
        let (steps, verdict) = walk(Run::repair(kind), |i| i == 1);
        assert_eq!(steps.len(), 2);
        assert!(matches!(verdict, Verdict::Broken(..)));
    }
}
