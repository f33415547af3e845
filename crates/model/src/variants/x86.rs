//! Wrong variants on x86-64, and other assumptions about it.

use textpoke_core::protocol::{breakpoint, displace};
use textpoke_core::{Direction, Kind, Phase, Step, Unit};

use super::{Check, FORTH, Shape, X86, as_digest, custom, scenario, there_and_back, without};
use crate::places::{CALL, CALLS, ENTRY, JMP, NOP5, NOPS, address, entry, single, site};
use crate::property::Sometimes::*;
use crate::scenario::{Batch, Handler, Inside, OneByte, Place, Repairer, RetireRule, Scenario};

fn int3_without(shape: &Shape, syncs: &[usize]) -> Scenario {
    let mut program = breakpoint::PROGRAM.to_vec();
    for &n in syncs.iter().rev() {
        program = without(&program, Step::SyncCores, n);
    }
    as_digest(scenario(shape, single(shape, 3, &NOP5, &CALL), custom(program)))
}

/// All of them.
pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "short_jump-half",
        title: "short_jump where two aligned bytes are assumed to be fetched at once",
        built_in: None,
        isas: X86,
        sometimes: &[OldRan, NewRan, HopRan, Performed],
        build: |s| {
            let mut s = scenario(s, single(s, 2, &NOP5, &JMP), there_and_back(Kind::ShortJump));
            s.world.at_once = 2;
            s
        },
    },
    Check {
        name: "word-eight",
        title: "one aligned store where eight aligned bytes are assumed to be fetched at once",
        built_in: None,
        isas: X86,
        sometimes: &[OldRan, NewRan, Performed],
        build: |s| {
            let mut s = scenario(s, single(s, 0, &NOP5, &JMP), there_and_back(Kind::Word));
            s.world.at_once = 8;
            s
        },
    },
    Check {
        name: "breakpoint-not-exempt",
        title: "breakpoint where not even a one-byte store over code is assumed to be harmless",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| {
            let mut s = scenario(s, single(s, 3, &NOP5, &CALL), there_and_back(Kind::Breakpoint));
            s.world.one_byte = OneByte::Nothing;
            s
        },
    },
    Check {
        name: "naive-copy",
        title: "the bytes copied over running code",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| {
            let store = Step::Store { phase: Phase::Whole, unit: Unit::Byte };
            scenario(s, single(s, 0, &NOP5, &CALL), custom(vec![Step::Open, store, Step::SyncCores, Step::Close]))
        },
    },
    Check {
        name: "straddling-store",
        title: "one 8-byte store over a site that crosses an 8-byte boundary",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| scenario(s, single(s, 3, &NOP5, &CALL), there_and_back(Kind::Word)),
    },
    Check {
        name: "int3-no-sync",
        title: "trap, tail, head, and no synchronisation at all",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| int3_without(s, &[1, 2, 3]),
    },
    Check {
        name: "int3-no-sync-1",
        title: "no synchronisation between trap and tail",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| int3_without(s, &[1]),
    },
    Check {
        name: "int3-no-sync-2",
        title: "no synchronisation between tail and head",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| int3_without(s, &[2]),
    },
    Check {
        name: "int3-no-sync-3",
        title: "no synchronisation behind the head, and the handler leaves",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| int3_without(s, &[3]),
    },
    Check {
        name: "int3-no-sync-3-stays",
        title: "no synchronisation behind the head, but the handler stays and executes again where the trap has gone",
        built_in: None,
        isas: X86,
        sometimes: &[OldRan, Again, Performed],
        build: |s| {
            let mut s = int3_without(s, &[3]);
            s.world.handler = Handler::Stays;
            s
        },
    },
    Check {
        name: "int3-full",
        title: "breakpoint with a handler that leaves with the batch",
        built_in: None,
        isas: X86,
        sometimes: &[OldRan, NewRan, HeadTrap, ActedNew, Performed],
        build: |s| {
            let mut s = int3_without(s, &[]);
            s.world.after_return = true;
            s
        },
    },
    Check {
        name: "handler-leaves-early",
        title: "the handler is withdrawn when none runs, though a trap is pending",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| {
            let mut s = int3_without(s, &[]);
            s.world.retire = RetireRule::RunningOnly;
            s
        },
    },
    Check {
        name: "five-nops",
        title: "five one-byte NOPs treated as one instruction",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| {
            let mut places = single(s, 3, &NOPS, &CALL);
            places.iter_mut().for_each(|p| p.old_begins = 0b1_1111);
            as_digest(scenario(s, places, custom(breakpoint::PROGRAM.to_vec())))
        },
    },
    Check {
        name: "five-nops-wait",
        title: "five one-byte NOPs, waiting until nobody is inside before the tail changes",
        built_in: None,
        isas: X86,
        sometimes: &[OldRan, NewRan, HeadTrap, Caught, Performed],
        build: |s| {
            let mut places = single(s, 3, &NOPS, &CALL);
            places.iter_mut().for_each(|p| p.old_begins = 0b1_1111);
            as_digest(scenario(s, places, custom(without_inner_traps())))
        },
    },
    Check {
        name: "jump-no-sync",
        title: "short jump, tail, head, and no synchronisation",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| {
            let syncs = |s: &Step| *s != Step::SyncCores;
            let program = textpoke_core::protocol::short_jump::PROGRAM.iter().copied().filter(syncs).collect();
            as_digest(scenario(s, single(s, 2, &NOP5, &JMP), custom(program)))
        },
    },
    Check {
        name: "displace-no-wait",
        title: "displace without waiting until nobody is inside",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| scenario(s, entry(s), custom(without(displace::INSTALL, Step::AwaitNoneInside, 1))),
    },
    Check {
        name: "displace-head-only",
        title: "displace without traps on the inner boundaries and without the wait",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| scenario(s, entry(s), custom(breakpoint_head_only())),
    },
    Check {
        name: "displace-no-inner-traps",
        title: "displace without traps on the inner boundaries, but with the wait",
        built_in: None,
        isas: X86,
        sometimes: &[OldRan, NewRan, HeadTrap, Caught, Performed],
        build: |s| scenario(s, entry(s), custom(without_inner_traps())),
    },
    Check {
        name: "displace-turns-blindly",
        title: "a failed removal undone by the plain installation, inner traps at once",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| {
            let remove = displace::REMOVE.to_vec();
            let blind = Batch::custom(remove, displace::INSTALL.to_vec(), Direction::Remove);
            let mut s = scenario(s, entry(s), vec![blind]);
            s.world.failures = 1;
            s
        },
    },
    Check {
        name: "inside-by-counter",
        title: "displace that looks for threads by the reported program counter alone",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| {
            let mut s = scenario(s, entry(s), there_and_back(Kind::Displace));
            s.world.inside = Inside::ByCounter;
            s
        },
    },
    Check {
        name: "moved-while-pending",
        title: "displace that moves a thread to the copy though its trap is pending",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| {
            let mut s = scenario(s, entry(s), there_and_back(Kind::Displace));
            s.world.inside = Inside::ByCounterAndMove;
            s
        },
    },
    Check {
        name: "displace-over-call",
        title: "displace over a CALL that returns to an inner boundary",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| {
            let mut site = site(address(s, 3, 0), &CALLS, &JMP);
            (site.inner, site.copy, site.copy_at) = (0b1_1010, 0x9000, [0, 1, 0, 3, 4, 0, 0, 0]);
            let place = Place { calls: 0b10, ..Place::new(site) };
            scenario(s, vec![place], there_and_back(Kind::Displace))
        },
    },
    Check {
        name: "several-new",
        title: "a new form of several instructions, removed by breakpoint",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| {
            let mut site = site(address(s, 3, 0), &JMP, &ENTRY);
            site.stand_in = 0x9000;
            let place = Place { new_begins: 0b1_0011, ..Place::new(site) };
            scenario(s, vec![place], there_and_back(Kind::Breakpoint))
        },
    },
    Check {
        name: "repair-skips-clean",
        title: "a killed removal's repairer that leaves at once when it finds the old bytes everywhere",
        built_in: None,
        isas: X86,
        sometimes: FORTH,
        build: |s| {
            let removal = vec![Batch::built_in(Kind::Breakpoint, Direction::Remove)];
            let mut s = scenario(s, single(s, 3, &NOP5, &CALL), removal);
            (s.world.killed, s.world.repairer, s.world.handler) = (true, Repairer::SkipsClean, Handler::Leaves);
            s
        },
    },
];

fn without_inner_traps() -> Vec<Step> {
    let mut program = breakpoint_head_only();
    let at = program.iter().position(|s| *s == Step::SyncCores).map_or(0, |i| i + 1);
    program.insert(at, Step::AwaitNoneInside);
    program
}

fn breakpoint_head_only() -> Vec<Step> {
    let head_only = |s: &Step| match *s {
        Step::Store { phase: Phase::Trap, unit } => Step::Store { phase: Phase::TrapHead, unit },
        other => other,
    };
    breakpoint::PROGRAM.iter().map(head_only).collect()
}
