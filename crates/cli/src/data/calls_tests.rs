use proptest::prelude::*;

use super::*;
use crate::data::meta::{End, Function, Site};
use crate::data::record::SITE_LOST;

/// Three kinds of functions: 0..4 patched, 4..6 without exit sites, 6 counted only.
const FUNCTIONS: u32 = 7;
const COUNTED: u32 = 6;

fn entry(function: u32) -> u32 {
    function * 2
}
fn ret(function: u32) -> u32 {
    function * 2 + 1
}

fn tables() -> Meta {
    let exit = |f| match f {
        0..4 => ExitKind::Patched,
        COUNTED => ExitKind::EntryOnly,
        _ => ExitKind::Inferred,
    };
    Meta {
        version: 1,
        command: Vec::new(),
        pid: 1,
        exe: String::new(),
        started_unix_ns: 0,
        tsc_start: 0,
        tsc_end: 0,
        tsc_hz: 1e9,
        functions: (0..FUNCTIONS)
            .map(|f| Function { name: format!("f{f}"), file: String::new(), addr: 0, size: 0, exit: exit(f) })
            .collect(),
        sites: (0..FUNCTIONS * 2)
            .map(|id| Site { function: id / 2, kind: if id % 2 == 0 { SiteKind::Entry } else { SiteKind::Return } })
            .collect(),
        threads: Vec::new(),
        lost: 0,
        refused: Vec::new(),
        end: End::Detached,
        verified: true,
        depth: None,
        min_ns: None,
    }
}

#[derive(Default)]
struct Log(Vec<Event>);
impl Sink for Log {
    fn event(&mut self, event: Event) -> Result<()> {
        self.0.push(event);
        Ok(())
    }
}

fn run(records: &[Record], end: u64) -> Vec<Event> {
    let sites = Sites::new(&tables());
    let mut calls = Calls::new(&sites, Clock::new(0, 1e9));
    let mut log = Log::default();
    for &record in records {
        calls.record(record, &mut log).unwrap();
    }
    calls.finish(end, &mut log).unwrap();
    log.0
}

/// `(function, start, end, how)` of every call in order of entry; panics unless events nest and
/// time never goes back.
fn calls_of(events: &[Event]) -> Vec<(u32, u64, u64, How)> {
    let mut done: Vec<(u32, u64, u64, How)> = Vec::new();
    let mut open = Vec::new();
    let mut last = 0;
    for &event in events {
        assert!(event.ns() >= last, "time went back");
        last = event.ns();
        match event {
            Event::Enter { function, ns } => {
                open.push(done.len());
                done.push((function, ns, ns, How::Unfinished));
            }
            Event::Exit { function, ns, how } => {
                let at = open.pop().expect("an exit without a call");
                assert_eq!(done[at].0, function, "the exit of another call");
                done[at].2 = ns;
                done[at].3 = how;
            }
            Event::Lost { .. } => {}
        }
    }
    assert!(open.is_empty(), "calls left open");
    done
}

/// For every call in order of entry: whether its inferred end left no call open. Such an end is the
/// last moment at which the call was seen, any other the first at which it was seen to be over.
fn left_nobody(events: &[Event]) -> Vec<bool> {
    let (mut all, mut open, mut inferred) = (Vec::new(), Vec::new(), Vec::new());
    for &event in events {
        match event {
            Event::Enter { .. } => {
                inferred.clear();
                open.push(all.len());
                all.push(false);
            }
            Event::Exit { how, .. } => {
                let ended = open.pop().expect("an exit without a call");
                match how {
                    How::Inferred => inferred.push(ended),
                    _ => inferred.clear(),
                }
                if open.is_empty() {
                    inferred.drain(..).for_each(|call| all[call] = true);
                }
            }
            Event::Lost { .. } => {}
        }
    }
    all
}

const SP: u64 = 0x7ffd_0000_0000;

#[test]
fn plain_nesting_is_exact() {
    let records = [
        Record::new(10, SP, entry(0)),
        Record::new(20, SP - 64, entry(1)),
        Record::new(30, SP - 64, ret(1)),
        Record::new(40, SP, ret(0)),
    ];
    let calls = calls_of(&run(&records, 50));
    assert_eq!(calls, [(0, 10, 40, How::Exact), (1, 20, 30, How::Exact)]);
}

#[test]
fn a_missing_exit_ends_at_the_callers_next_event() {
    let records = [
        Record::new(10, SP, entry(0)),
        Record::new(20, SP - 64, entry(4)),
        Record::new(30, SP - 64, entry(1)),
        Record::new(35, SP - 64, ret(1)),
        Record::new(40, SP, ret(0)),
    ];
    let calls = calls_of(&run(&records, 50));
    assert_eq!(calls[1], (4, 20, 30, How::Inferred));
    assert_eq!(calls[0], (0, 10, 40, How::Exact));
}

#[test]
fn a_tail_call_takes_its_callers_place() {
    // The tail jump of 4 has no site: 1 starts with the same stack pointer.
    let records = [
        Record::new(5, SP + 64, entry(0)),
        Record::new(10, SP, entry(4)),
        Record::new(20, SP, entry(1)),
        Record::new(30, SP, ret(1)),
        Record::new(40, SP + 64, ret(0)),
    ];
    let calls = calls_of(&run(&records, 50));
    assert_eq!(calls, [(0, 5, 40, How::Exact), (4, 10, 20, How::Inferred), (1, 20, 30, How::Exact)]);
}

#[test]
fn an_outermost_call_without_an_exit_ends_with_its_last_event() {
    // Nobody knows how long the thread slept before it came back.
    let records = [
        Record::new(10, SP, entry(4)),
        Record::new(20, SP - 64, entry(1)),
        Record::new(30, SP - 64, ret(1)),
        Record::new(900_000, SP, entry(4)),
    ];
    let calls = calls_of(&run(&records, 1_000_000));
    assert_eq!(calls[0], (4, 10, 30, How::Inferred));
    assert_eq!(calls[2], (4, 900_000, 1_000_000, How::Unfinished));
}

#[test]
fn recursion_through_an_unpatched_exit_does_not_end_the_wrong_call() {
    let records = [
        Record::new(10, SP, entry(0)),
        Record::new(20, SP - 128, entry(0)),
        // The inner call left by an exit without a site; this is the outer one's.
        Record::new(40, SP - 16, ret(0)),
    ];
    let calls = calls_of(&run(&records, 50));
    assert_eq!(calls, [(0, 10, 40, How::Exact), (0, 20, 40, How::Inferred)]);
}

#[test]
fn a_handler_on_another_stack_leaves_the_interrupted_calls_open() {
    for alternate in [SP + (64 << 20), SP - (64 << 20)] {
        let records = [
            Record::new(10, SP, entry(0)),
            Record::new(20, alternate, entry(4)),
            Record::new(25, alternate - 64, entry(5)),
            // Back on the old stack without an exit record of the handler.
            Record::new(30, SP - 64, entry(1)),
            Record::new(35, SP - 64, ret(1)),
            Record::new(40, SP, ret(0)),
        ];
        let calls = calls_of(&run(&records, 50));
        assert_eq!(calls[0], (0, 10, 40, How::Exact));
        assert_eq!(calls[1], (4, 20, 30, How::Inferred));
        assert_eq!(calls[3], (1, 30, 35, How::Exact));
    }
}

#[test]
fn returning_over_a_large_frame_still_ends_the_calls_below_it() {
    let records = [
        Record::new(10, SP, entry(0)),
        Record::new(20, SP - (3 << 20), entry(4)),
        Record::new(30, SP - 64, entry(1)),
        Record::new(35, SP - 64, ret(1)),
    ];
    let calls = calls_of(&run(&records, 50));
    assert_eq!(calls[1], (4, 20, 30, How::Inferred));
    assert_eq!(calls[0], (0, 10, 50, How::Unfinished));
}

#[test]
fn an_exit_without_an_entry_counts_nothing() {
    let records = [Record::new(10, SP, ret(0)), Record::new(20, SP - 8, ret(1))];
    assert!(run(&records, 50).is_empty());
}

#[test]
fn an_exit_whose_entry_was_lost_does_not_end_an_older_call() {
    let records = [
        Record::new(10, SP, entry(0)),
        Record::new(20, SP - 64, entry(1)),
        Record::lost(25, 1), // the inner entry(0)
        Record::new(30, SP - 256, ret(0)),
        Record::new(40, SP - 64, ret(1)),
        Record::new(50, SP, ret(0)),
    ];
    let calls = calls_of(&run(&records, 60));
    assert_eq!(calls, [(0, 10, 50, How::Inferred), (1, 20, 40, How::Inferred)]);
}

#[test]
fn counted_functions_never_stay_open() {
    let records = [
        Record::new(10, SP, entry(COUNTED)),
        Record::new(20, SP - (8 << 30), entry(0)),
        Record::new(30, SP - (8 << 30), ret(0)),
    ];
    let calls = calls_of(&run(&records, 60));
    assert_eq!(calls, [(COUNTED, 10, 10, How::Counted), (0, 20, 30, How::Exact)]);
}

#[test]
fn stack_pointers_compare_across_the_end_of_the_kept_bits() {
    let edge = 1 << 43;
    let records = [
        Record::new(10, edge + 32, entry(0)),
        Record::new(20, edge - 32, entry(1)),
        Record::new(30, edge - 32, ret(1)),
        Record::new(40, edge + 32, ret(0)),
    ];
    let calls = calls_of(&run(&records, 50));
    assert_eq!(calls, [(0, 10, 40, How::Exact), (1, 20, 30, How::Exact)]);
}

#[test]
fn time_is_held_back_when_a_signal_came_between_clock_and_slot() {
    let records =
        [Record::new(10, SP, entry(0)), Record::new(30, SP - 64, entry(1)), Record::new(25, SP - 128, entry(2))];
    let calls = calls_of(&run(&records, 50));
    assert_eq!(calls[2].1, 30);
}

/// A step of a made-up thread.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Call a function with this frame size (units of 16 bytes).
    Call(u32, u64),
    /// Return from the innermost call.
    Return,
    /// Leave this many calls at once, without any exit record, as `longjmp` and panics do.
    Unwind(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..FUNCTIONS, 1u64..2000).prop_map(|(f, size)| Step::Call(f, size)),
        5 => Just(Step::Return),
        1 => (1usize..6).prop_map(Step::Unwind),
    ]
}

/// What really happened, and its records.
struct Truth {
    /// `(function, start, end)` in order of entry; end 0 for a call that never returned normally.
    calls: Vec<(u32, u64, u64)>,
    records: Vec<Record>,
    /// For each record the call it is about.
    about: Vec<usize>,
}

/// Performs the steps on a made-up stack. Functions 4 and 5 leave no exit record.
fn perform(steps: &[Step]) -> Truth {
    let mut truth = Truth { calls: Vec::new(), records: Vec::new(), about: Vec::new() };
    let mut stack: Vec<(usize, u64, u64)> = Vec::new(); // (call, sp at entry, sp in its body)
    let mut now = 0;
    for &step in steps {
        now += 10;
        match step {
            Step::Call(function, size) => {
                let sp = stack.last().map_or(SP, |&(_, _, body)| body - 8);
                truth.about.push(truth.calls.len());
                truth.records.push(Record::new(now, sp, entry(function)));
                stack.push((truth.calls.len(), sp, sp - size * 16));
                truth.calls.push((function, now, 0));
            }
            Step::Return => {
                let Some((call, sp, body)) = stack.pop() else { continue };
                let function = truth.calls[call].0;
                truth.calls[call].2 = now;
                if function < 4 {
                    // Some exit sites start before the frame is given back, some after.
                    let at = if now % 20 == 0 { sp } else { body };
                    truth.about.push(call);
                    truth.records.push(Record::new(now, at, ret(function)));
                }
            }
            Step::Unwind(count) => stack.truncate(stack.len().saturating_sub(count)),
        }
    }
    truth
}

proptest! {
    #[test]
    fn without_loss_every_call_is_there_and_exact_means_exact(
        steps in prop::collection::vec(step(), 0..300)
    ) {
        let truth = perform(&steps);
        let events = run(&truth.records, 1 << 20);
        let found = calls_of(&events);
        prop_assert_eq!(found.len(), truth.calls.len());
        let loose = left_nobody(&events);
        for ((found, loose), &(function, start, end)) in found.iter().zip(loose).zip(&truth.calls) {
            prop_assert_eq!((found.0, found.1), (function, start));
            match found.3 {
                How::Exact => prop_assert_eq!(found.2, end),
                // The latest possible end; with nobody left the earliest possible, so that sleep does not count.
                How::Inferred if loose => prop_assert!(found.2 <= end || end == 0),
                How::Inferred => prop_assert!(found.2 >= end),
                How::Counted => prop_assert_eq!(function, COUNTED),
                How::Unfinished => {}
            }
            let has_exit_record = end != 0 && function < 4;
            prop_assert_eq!(found.3 == How::Exact, has_exit_record);
        }
    }

    #[test]
    fn with_losses_it_nests_counts_what_is_there_and_exact_means_exact(
        steps in prop::collection::vec(step(), 0..300),
        holes in prop::collection::vec((0usize..300, 1usize..20), 0..5),
    ) {
        let truth = perform(&steps);
        let mut keep = vec![true; truth.records.len()];
        for &(at, len) in &holes {
            keep.iter_mut().skip(at).take(len).for_each(|k| *k = false);
        }
        let (mut records, mut entries) = (Vec::new(), Vec::new());
        let mut missing = 0;
        for (i, &record) in truth.records.iter().enumerate() {
            if !keep[i] {
                missing += 1;
                continue;
            }
            if missing > 0 {
                records.push(Record::lost(record.tsc, missing));
                missing = 0;
            }
            if record.site % 2 == 0 {
                entries.push(truth.about[i]);
            }
            records.push(record);
        }
        let found = calls_of(&run(&records, 1 << 20));
        prop_assert_eq!(found.len(), entries.len());
        for (found, &call) in found.iter().zip(&entries) {
            let (function, start, end) = truth.calls[call];
            prop_assert_eq!((found.0, found.1), (function, start));
            if found.3 == How::Exact {
                prop_assert_eq!(found.2, end);
            }
        }
    }

    #[test]
    fn arbitrary_records_never_break_nesting(
        raw in prop::collection::vec((1u64..1 << 40, any::<u64>(), 0u32..20), 0..400)
    ) {
        let records: Vec<_> =
            raw.iter().map(|&(tsc, sp, site)| {
                let site = if site == 19 { SITE_LOST } else { site };
                Record::new(tsc, sp & 0xff_ffff_fff8, site)
            }).collect();
        calls_of(&run(&records, 1 << 41));
    }
}
