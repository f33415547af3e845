//! Every step of every protocol fails once, at each possible depth, while threads execute the sites.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use textpoke::core::{Direction, Kind, Outcome, Run, Step, Verdict};
use textpoke::linux::fault::{CAUSE, Fault};
use textpoke::linux::process::{self, Error, Extras};

use crate::arena::Arena;
use crate::displaced;
use crate::forms::{Form, Function};
use crate::tools::{self, call, turn};

/// What a batch is performed on: its sites, and what their functions may return.
pub struct Subject {
    pub kind: Kind,
    pub sites: Vec<textpoke::core::Site>,
    pub check: Box<dyn Fn() + Sync>,
}

fn singles(kind: Kind) -> Subject {
    let mut arena = Arena::new(8192);
    let first = arena.start() + 4096 - 256;
    let functions: Vec<_> = (0..8)
        .map(|i| {
            // For `word` inside an aligned word, else anywhere, across the page boundary too.
            let addr = first + 64 * i + if kind == Kind::Word { 0 } else { 61 };
            Function::place(&mut arena, addr, i as u32, 5, Form::Call, Form::Jmp32)
        })
        .collect();
    arena.seal();
    let sites = functions.iter().map(|f| f.site).collect();
    let check = move || {
        for f in &functions {
            let out = call(f.entry, 0);
            assert!(out == f.when_old(0) || out == f.when_new(0), "{out:x?} of {f:x?}");
        }
    };
    Subject { kind, sites, check: Box::new(check) }
}

fn bytes(sites: &[textpoke::core::Site]) -> Vec<Vec<u8>> {
    let read = |addr: u64| {
        // SAFETY: mapped readable for good.
        unsafe { (addr as *const u8).read_volatile() }
    };
    sites.iter().map(|site| (site.addr..site.end()).map(read).collect()).collect()
}

/// The steps of a run that does not fail.
fn steps(kind: Kind, dir: Direction) -> Vec<Step> {
    let mut run = Run::new(kind, dir);
    let mut steps = Vec::new();
    loop {
        match run.next(if steps.is_empty() { Outcome::Start } else { Outcome::Ok }) {
            Step::Done(_) => return steps,
            step => steps.push(step),
        }
    }
}

#[test]
fn whatever_fails_is_undone() {
    let _turn = turn();
    process::prepare().unwrap();
    for subject in [singles(Kind::Breakpoint), singles(Kind::Word), displaced::subject()] {
        let Subject { kind, sites, check } = &subject;
        let apply = |dir, extras: &Extras| {
            // SAFETY: generated functions that can bear both forms.
            unsafe { process::apply_with(sites, *kind, dir, extras) }
        };
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    tools::pin(1);
                    while !stop.load(Relaxed) {
                        check();
                    }
                });
            }
            tools::pin(0);
            for dir in [Direction::Install, Direction::Remove] {
                let before = bytes(sites);
                for (step, what) in steps(*kind, dir).into_iter().enumerate() {
                    let depths = if matches!(what, Step::Store { .. }) { 0..=sites.len() } else { 0..=1 };
                    for done in depths {
                        let fault = Fault { step, done };
                        let result = apply(dir, &Extras::failing(fault));
                        let Err(Error::Failed(Verdict::Undone(reason))) = result else {
                            panic!("{kind:?} {dir:?} {what:?} {fault:?}: {result:?}")
                        };
                        assert_eq!((usize::from(reason.step), reason.cause), (step, CAUSE));
                        assert_eq!(bytes(sites), before, "{kind:?} {dir:?} {what:?} {fault:?}");
                        check();
                    }
                }
                apply(dir, &Extras::default()).unwrap();
                check();
            }
            stop.store(true, Relaxed);
        });
    }
}
