//! Wrong variants that more than one instruction set has.

use textpoke_core::protocol::{breakpoint, pair as two, park, prepared_pair, word as one};
use textpoke_core::{Direction, Kind, Phase, Step, Unit};

use super::{ALL, ARM, Check, FORTH, Shape, WORDS, X86, as_digest, custom, scenario, there_and_back, with, without};
use crate::places::{a64, entry, pair, switch, traced, word, words};
use crate::scenario::{Batch, IsaId, Scenario, Unfenced};

/// Somebody waits for threads that cannot leave.
const WAITING_WHILE_PARKED: &[Step] = &[
    Step::Open,
    Step::Publish,
    Step::Park,
    Step::Store { phase: Phase::TrapHead, unit: Unit::Byte },
    Step::Maintain,
    Step::AwaitNoneInside,
    Step::Store { phase: Phase::Whole, unit: Unit::Byte },
    Step::Maintain,
    Step::Unpark,
    Step::Close,
    Step::Retire,
];

/// Each word in turn, and cache maintenance, and nothing else.
const WORD_BY_WORD: &[Step] = &[Step::Open, HEAD, Step::Maintain, TAIL, Step::Maintain, Step::Close];
const HEAD: Step = Step::Store { phase: Phase::Head, unit: Unit::Word };
const TAIL: Step = Step::Store { phase: Phase::Tail, unit: Unit::Word };
const BYTEWISE_TAIL: Step = Step::Store { phase: Phase::Tail, unit: Unit::Byte };

/// Two words that do nothing become two of which the second counts on the first: one after the other.
fn one_by_one(s: &Shape, between: &[Step]) -> Scenario {
    let [nothing, planted, active] = traced(s);
    let store = |step| {
        let begin = [Step::Open, step, Step::Maintain];
        let program: Vec<Step> = begin.iter().chain(between).chain(&[Step::Close]).copied().collect();
        Batch::custom(program.clone(), program, Direction::Install)
    };
    let mut both = scenario(s, words(s, nothing, planted), vec![store(HEAD), store(TAIL).on(1)]);
    both.sets.push(words(s, planted, active));
    as_digest(both)
}

/// The first two synchronisations replaced by a while of waiting.
fn timed() -> Vec<Step> {
    let mut left = 2;
    let slow = |s: &Step| match s {
        Step::SyncCores if left > 0 => {
            left -= 1;
            Step::Pause
        }
        other => *other,
    };
    breakpoint::PROGRAM.iter().map(slow).collect()
}

/// All of them.
pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "park-several",
        title: "several instructions replaced in one parking",
        built_in: None,
        isas: ALL,
        sometimes: FORTH,
        build: |s| {
            let places = if s.isa() == IsaId::X86 { entry(s) } else { pair(s) };
            as_digest(scenario(s, places, custom(park::PROGRAM.to_vec())))
        },
    },
    Check {
        name: "park-wait",
        title: "waiting until nobody is inside while everybody is parked",
        built_in: None,
        isas: ALL,
        sometimes: FORTH,
        build: |s| scenario(s, pair(s), custom(WAITING_WHILE_PARKED.to_vec())),
    },
    Check {
        name: "park-no-sync",
        title: "parking where nobody synchronises before going on",
        built_in: None,
        isas: ALL,
        sometimes: FORTH,
        build: |s| {
            let places = if s.isa() == IsaId::Arm { word(s, a64::MOV, a64::B) } else { switch(s, 3) };
            let all = scenario(s, places, custom(park::PROGRAM.to_vec()));
            with(all, |w| w.unpark_synchronises = false)
        },
    },
    Check {
        name: "park-killed",
        title: "parking by a patcher that may be killed, which releases everybody",
        built_in: None,
        isas: ALL,
        sometimes: FORTH,
        build: |s| with(scenario(s, switch(s, 3), there_and_back(Kind::Park)), |w| w.killed = true),
    },
    Check {
        name: "two-nops",
        title: "two live NOPs into two instructions, one after the other, cache maintenance after each",
        built_in: None,
        isas: WORDS,
        sometimes: FORTH,
        build: |s| one_by_one(s, &[]),
    },
    Check {
        name: "two-nops-any",
        title: "two live NOPs one after the other, if any instruction might change live",
        built_in: None,
        isas: ARM,
        sometimes: FORTH,
        build: |s| with(one_by_one(s, &[]), |w| w.cmodx = false),
    },
    Check {
        name: "two-nops-barriers",
        title: "two live NOPs one after the other, every CPU made to synchronise after each",
        built_in: None,
        isas: WORDS,
        sometimes: FORTH,
        build: |s| one_by_one(s, &[Step::SyncCores]),
    },
    Check {
        name: "two-nops-barriers-any",
        title: "two live NOPs, a synchronisation after each, if any instruction might change live",
        built_in: None,
        isas: ARM,
        sometimes: FORTH,
        build: |s| with(one_by_one(s, &[Step::SyncCores]), |w| w.cmodx = false),
    },
    Check {
        name: "two-nops-wait",
        title: "two live NOPs one after the other, waiting after each until every thread has been seen outside",
        built_in: None,
        isas: WORDS,
        sometimes: FORTH,
        build: |s| one_by_one(s, &[Step::SyncCores, Step::AwaitNoneInside]),
    },
    Check {
        name: "two-nops-wait-any",
        title: "two live NOPs, waiting after each for every thread, if any instruction might change live",
        built_in: None,
        isas: ARM,
        sometimes: FORTH,
        build: |s| with(one_by_one(s, &[Step::SyncCores, Step::AwaitNoneInside]), |w| w.cmodx = false),
    },
    Check {
        name: "word-by-word",
        title: "two words that may change live stored one after the other, no synchronisation",
        built_in: None,
        isas: ARM,
        sometimes: FORTH,
        build: |s| as_digest(scenario(s, pair(s), custom(WORD_BY_WORD.to_vec()))),
    },
    Check {
        name: "word-no-sync",
        title: "one word stored, caches maintained, but no CPU made to synchronise",
        built_in: None,
        isas: WORDS,
        sometimes: FORTH,
        build: |s| scenario(s, switch(s, 0), custom(without(one::PROGRAM, Step::SyncCores, 1))),
    },
    Check {
        name: "pair-no-wait",
        title: "two words, trap first, without waiting until nobody is inside",
        built_in: None,
        isas: WORDS,
        sometimes: FORTH,
        build: |s| {
            let mut program = without(two::PROGRAM, Step::AwaitNoneInside, 1);
            // Whole words, so that the words are what goes wrong.
            program.iter_mut().filter(|p| **p == BYTEWISE_TAIL).for_each(|p| *p = TAIL);
            as_digest(scenario(s, pair(s), custom(program)))
        },
    },
    Check {
        name: "prepared_pair-no-sync",
        title: "the second of a planted pair toggles and nobody is made to synchronise",
        built_in: None,
        isas: WORDS,
        sometimes: FORTH,
        build: |s| {
            let [_, planted, active] = traced(s);
            let toggle = without(prepared_pair::TOGGLE, Step::SyncCores, 1);
            scenario(s, words(s, planted, active), custom(toggle))
        },
    },
    Check {
        name: "plant-no-wait",
        title: "the first of a pair is planted and the second toggled without waiting for threads between them",
        built_in: None,
        isas: WORDS,
        sometimes: FORTH,
        build: |s| {
            let [nothing, planted, active] = traced(s);
            let plant = without(prepared_pair::PLANT, Step::AwaitNoneInside, 1);
            let mut both = scenario(s, words(s, nothing, planted), custom(plant));
            both.batches.push(Batch::built_in(Kind::PreparedPair, Direction::Install).on(1));
            both.sets.push(words(s, planted, active));
            both
        },
    },
    Check {
        name: "timed-waits",
        title: "breakpoint that waits a while instead of making CPUs synchronise",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| as_digest(scenario(s, switch(s, 3), custom(timed()))),
    },
    Check {
        name: "timed-waits-bounded",
        title: "breakpoint that waits a while, where every CPU is assumed to have fetched anew by then",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| {
            let all = as_digest(scenario(s, switch(s, 3), custom(timed())));
            with(all, |w| w.bounded_staleness = true)
        },
    },
    Check {
        name: "publish-no-barrier",
        title: "breakpoint whose trap table is not made visible before the first trap",
        built_in: None,
        isas: ALL,
        sometimes: FORTH,
        build: |s| {
            let all = scenario(s, switch(s, 3), there_and_back(Kind::Breakpoint));
            with(all, |w| w.unfenced = Some(Unfenced::Publish))
        },
    },
    Check {
        name: "table-first",
        title: "breakpoint whose handler reads the table before it looks at the trap instruction",
        built_in: None,
        isas: ALL,
        sometimes: FORTH,
        build: |s| {
            let all = scenario(s, switch(s, 3), there_and_back(Kind::Breakpoint));
            with(all, |w| w.table_first = true)
        },
    },
    Check {
        name: "looks-once",
        title: "breakpoint whose handler does not notice that the table changed between its two reads",
        built_in: None,
        isas: ALL,
        sometimes: FORTH,
        build: |s| {
            let all = scenario(s, switch(s, 3), there_and_back(Kind::Breakpoint));
            with(all, |w| w.looks_again = false)
        },
    },
];
