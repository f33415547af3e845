//! Seed 004 as it was published, what came before it and after it, and the NMI that meets a trap.
//!
//! Everybody else is parked all the time in these, as under kstop_machine, so that only NMIs execute anything.

use textpoke_core::protocol::nmi_assist;
use textpoke_core::{Direction, Kind, Phase, Step, Unit};

use super::{ALL, Check, Shape, WORDS, X86, custom, scenario, there_and_back, with, without};
use crate::nmi::{Entry, Nesting, Nmi};
use crate::places::{a64, switch, word};
use crate::property::Sometimes::*;
use crate::scenario::{Batch, IsaId, Scenario, Unfenced};

const STORE: Step = Step::Store { phase: Phase::Whole, unit: Unit::Byte };
const PLAIN: &[Step] = &[Step::Open, STORE, Step::Maintain, Step::Close];
const WAITS_BEFORE: &[Step] = &[Step::Open, Step::AwaitNmis, STORE, Step::Maintain, Step::Close];
const NO_WAIT: &[Step] = &[
    Step::Open,
    Step::Record,
    Step::Announce { idle: false },
    STORE,
    Step::Maintain,
    Step::Withdraw,
    Step::AwaitNmis,
    Step::Close,
];
/// Steps 1 to 6 of the commit.
const AS_WRITTEN: &[Step] = &[
    Step::Open,
    Step::Record,
    Step::Announce { idle: false },
    Step::AwaitNmis,
    STORE,
    Step::Maintain,
    Step::Withdraw,
    Step::AwaitNmis,
    Step::Close,
];
/// The form that Linux had later.
const ATOMIC: &[Step] = &[
    Step::Open,
    Step::Record,
    Step::Announce { idle: true },
    STORE,
    Step::Maintain,
    Step::Withdraw,
    Step::AwaitNmis,
    Step::Close,
];

fn parked(s: &Shape, program: &[Step], nmi: Nmi) -> Scenario {
    let places = if s.isa() == IsaId::Arm { word(s, a64::MOV, a64::B) } else { switch(s, 3) };
    with(scenario(s, places, custom(program.to_vec())), |w| {
        w.nmi = Some(nmi);
        w.parked = true;
        w.after_return = false;
    })
}

macro_rules! variant {
    ($name:literal, $title:literal, $program:ident, $nmi:expr) => {
        Check {
            name: $name,
            title: $title,
            built_in: None,
            isas: ALL,
            sometimes: &[Performed],
            build: |s| parked(s, $program, $nmi),
        }
    };
}

/// All of them.
pub(super) const CHECKS: &[Check] = &[
    variant!("nmi-ignored", "everybody parked, but not NMIs", PLAIN, Nmi::new(Entry::Plain)),
    variant!(
        "nmi-ignored-own",
        "everybody parked, and NMIs on the patcher's own CPU alone",
        PLAIN,
        Nmi { others: false, ..Nmi::new(Entry::Plain) }
    ),
    variant!(
        "nmi-waits",
        "waiting for NMIs to end before the store; they do not help",
        WAITS_BEFORE,
        Nmi::new(Entry::Counts)
    ),
    variant!("nmi-no-wait", "NMIs help, and nobody waits for those that do not", NO_WAIT, Nmi::new(Entry::AsWritten)),
    variant!(
        "nmi-as-written-one",
        "seed 004 as written, one NMI on the other CPU",
        AS_WRITTEN,
        Nmi { own: false, ..Nmi::new(Entry::AsWritten) }
    ),
    variant!("nmi-as-written", "seed 004 as written, an NMI on each CPU", AS_WRITTEN, Nmi::new(Entry::AsWritten)),
    variant!("nmi-atomic", "the later form: flag and count are one word", ATOMIC, Nmi::new(Entry::Atomic)),
    variant!("nmi-atomic-syncs", "the later form, where NMIs that helped synchronise", ATOMIC, Nmi::new(Entry::Visit)),
    Check {
        name: "nmi-two-records",
        title: "the later form, two changes without a wait in between",
        built_in: None,
        isas: ALL,
        sometimes: &[Performed],
        build: |s| {
            let program = without(ATOMIC, Step::AwaitNmis, 1);
            let mut both = parked(s, &program, Nmi::new(Entry::Atomic));
            // As text was then; now the NMI would fault on it.
            both.world.writable = true;
            both.batches.push(Batch::custom(program.clone(), program, Direction::Remove));
            both
        },
    },
    Check {
        name: "nmi-no-barrier",
        title: "seed 004 as written, one NMI, and no barrier between setting the flag and looking for NMIs",
        built_in: None,
        isas: ALL,
        sometimes: &[Performed],
        build: |s| {
            let one = Nmi { own: false, ..Nmi::new(Entry::AsWritten) };
            with(parked(s, AS_WRITTEN, one), |w| w.unfenced = Some(Unfenced::Announce))
        },
    },
    Check {
        name: "nmi-record-no-barrier",
        title: "the live protocol, where the announcement may be visible before the record",
        built_in: None,
        isas: ALL,
        sometimes: &[Performed],
        build: |s| {
            let all =
                scenario(s, parked(s, PLAIN, Nmi::new(Entry::Visit)).sets.remove(0), there_and_back(Kind::NmiAssist));
            with(all, |w| {
                w.nmi = Some(Nmi::new(Entry::Visit));
                w.unfenced = Some(Unfenced::Record);
            })
        },
    },
    Check {
        name: "nmi-reads-early",
        title: "the live protocol, where an NMI may read the record before the announcement",
        built_in: None,
        isas: WORDS,
        sometimes: &[Performed],
        build: |s| {
            let places = parked(s, PLAIN, Nmi::new(Entry::Visit)).sets.remove(0);
            let all = scenario(s, places, there_and_back(Kind::NmiAssist));
            with(all, |w| w.nmi = Some(Nmi { acquires: false, ..Nmi::new(Entry::Visit) }))
        },
    },
    Check {
        name: "nmi_assist-no-sync",
        title: "nmi_assist where the parked CPUs do not synchronise before the announcement is withdrawn",
        built_in: None,
        isas: ALL,
        sometimes: &[Performed],
        build: |s| {
            let program = without(nmi_assist::PROGRAM, Step::SyncCores, 1);
            let places = parked(s, PLAIN, Nmi::new(Entry::Visit)).sets.remove(0);
            with(scenario(s, places, custom(program)), |w| w.nmi = Some(Nmi::new(Entry::Visit)))
        },
    },
    Check {
        name: "nmi_assist-nested",
        title: "nmi_assist where NMIs interrupt NMIs",
        built_in: None,
        isas: ALL,
        sometimes: &[OldRan, NewRan, NmiHelped, NmiOnPatcher, NmiNested, Performed],
        build: |s| {
            let all = Check::of(Kind::NmiAssist).scenario(s);
            with(all, |w| w.nmi = Some(Nmi { each: 2, nests: Nesting::Runs, ..Nmi::new(Entry::Visit) }))
        },
    },
    Check {
        name: "nmi-as-written-nested",
        title: "seed 004 as written, two NMIs on the other CPU, one of which may interrupt the other",
        built_in: None,
        isas: ALL,
        sometimes: &[Performed],
        build: |s| {
            let two = Nmi { each: 2, own: false, nests: Nesting::Runs, ..Nmi::new(Entry::AsWritten) };
            parked(s, AS_WRITTEN, two)
        },
    },
    Check {
        name: "nmi-nested-in-trap",
        title: "breakpoint where NMIs execute the site and interrupt each other",
        built_in: None,
        isas: ALL,
        sometimes: &[OldRan, NewRan, HeadTrap, NmiCame, Performed],
        build: |s| {
            let all = scenario(s, switch(s, 3), there_and_back(Kind::Breakpoint));
            with(all, |w| w.nmi = Some(Nmi { each: 2, nests: Nesting::Runs, ..Nmi::new(Entry::Plain) }))
        },
    },
    Check {
        name: "nmi-meets-trap",
        title: "breakpoint where NMIs execute the site, and may be interrupted by NMIs",
        built_in: None,
        isas: ALL,
        sometimes: &[OldRan, NewRan, HeadTrap, NmiCame, Performed],
        build: |s| {
            let all = scenario(s, switch(s, 3), there_and_back(Kind::Breakpoint));
            with(all, |w| w.nmi = Some(Nmi::new(Entry::Plain)))
        },
    },
    Check {
        name: "nmi-meets-trap-fragile",
        title: "breakpoint where NMIs execute the site, and an NMI that interrupts an NMI is the end",
        built_in: None,
        isas: X86,
        sometimes: &[OldRan, HeadTrap, NmiCame, Performed],
        build: |s| {
            let all = scenario(s, switch(s, 3), there_and_back(Kind::Breakpoint));
            with(all, |w| w.nmi = Some(Nmi { each: 2, nests: Nesting::Kills, ..Nmi::new(Entry::Plain) }))
        },
    },
];
