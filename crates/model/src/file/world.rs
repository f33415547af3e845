//! The rules of a world as lines: every knob, its phrases, and what they mean. The first phrase of each is the default.

use crate::nmi::{Entry, Nesting, Nmi};
use crate::scenario::{
    Fetch, Grain, Handler, Inside, IsaId, Maintenance, OneByte, Order, Profile, Repairer, RetireRule, Unfenced, World,
};

/// One way to set a knob.
pub(super) struct Phrase {
    /// The line.
    pub words: &'static str,
    /// What it says.
    pub about: &'static str,
    pub set: fn(&mut World),
    pub is: fn(&World) -> bool,
}

/// One thing that can be chosen; exactly one phrase holds.
pub(super) struct Knob {
    pub phrases: &'static [Phrase],
    /// The profiles under which it means anything.
    pub applies: fn(Profile) -> bool,
    /// Who they are, in an error.
    pub whom: &'static str,
}

impl Knob {
    /// The phrase that holds; none if the default does.
    pub fn said(&self, world: &World) -> Option<&'static Phrase> {
        self.phrases[1..].iter().find(|p| (p.is)(world))
    }
}

/// A knob whose phrases set one field to one value each.
macro_rules! knob {
    ($field:ident: $($words:literal => $value:expr, $about:literal;)+) => {
        knob!($field for |_| true, "everybody": $($words => $value, $about;)+)
    };
    ($field:ident for $applies:expr, $whom:literal: $($words:literal => $value:expr, $about:literal;)+) => {
        Knob {
            applies: $applies,
            whom: $whom,
            phrases: &[$(Phrase {
                words: $words,
                about: $about,
                set: |w| w.$field = $value,
                is: |w| w.$field == $value,
            }),+],
        }
    };
}

/// A knob of the NMIs. Whoever turns one wants NMIs.
macro_rules! nmi {
    ($field:ident: $($words:literal => $value:expr, $about:literal;)+) => {
        nmi!($field for |_| true, "everybody": $($words => $value, $about;)+)
    };
    ($field:ident for $applies:expr, $whom:literal: $($words:literal => $value:expr, $about:literal;)+) => {
        Knob {
            applies: $applies,
            whom: $whom,
            phrases: &[$(Phrase {
                words: $words,
                about: $about,
                set: |w| nmis(w).$field = $value,
                is: |w| w.nmi.is_some_and(|nmi| nmi.$field == $value),
            }),+],
        }
    };
}

fn nmis(w: &mut World) -> &mut Nmi {
    w.nmi.get_or_insert(Nmi::new(Entry::Plain))
}

fn on(w: &mut World, own: bool, others: bool) {
    let nmi = nmis(w);
    (nmi.own, nmi.others) = (own, others);
}

fn are_on(w: &World, own: bool, others: bool) -> bool {
    w.nmi.is_some_and(|nmi| (nmi.own, nmi.others) == (own, others))
}

fn killed(w: &mut World, repairer: Repairer) {
    (w.killed, w.repairer) = (true, repairer);
}

/// All of them.
pub(super) const KNOBS: &[Knob] = &[
    knob!(handler:
        "handler stays" => Handler::Stays, "somebody answers traps before, during and after every batch";
        "handler leaves" => Handler::Leaves, "somebody answers traps from `publish` to `retire` only";
    ),
    knob!(table_first:
        "handler reads trap first" => false, "the trap handler looks at the trap instruction, then at the table";
        "handler reads table first" => true, "the trap handler looks at the table, then at the trap instruction";
    ),
    knob!(looks_again:
        "handler looks again" => true, "the trap handler begins again if the table changed between its two reads";
        "handler looks once" => false, "the trap handler does not notice that the table changed between its two reads";
    ),
    knob!(retire:
        "retiring waits for all traps" => RetireRule::Contract, "`retire` waits for handlers and for pending traps";
        "retiring waits for handlers" => RetireRule::RunningOnly, "`retire` does not wait for pending traps";
    ),
    knob!(inside:
        "inside by contract" => Inside::Contract,
        "`await none inside`: a thread without an answer to its trap stands at the trap instruction";
        "inside by counter" => Inside::ByCounter,
        "`await none inside` believes the program counter, which is behind the trap instruction";
        "inside by counter and moved" => Inside::ByCounterAndMove,
        "the same, and whoever's program counter is on an inner boundary is moved to the copy";
    ),
    knob!(writable:
        "text protected" => false, "text can be written from `open` to `close` only, by NMIs as well";
        "text writable" => true, "text can be written at any time";
    ),
    knob!(signals:
        "signals come" => true, "a signal may catch a thread between the instructions of a site";
        "signals never come" => false, "no signal catches a thread between the instructions of a site";
    ),
    knob!(own_traps:
        "own traps none" => false, "the program executes no trap instruction of its own";
        "own traps executed" => true, "the program executes trap instructions of its own, and must get them";
    ),
    knob!(foreign:
        "foreign changes none" => false, "nobody else changes the sites";
        "foreign changes before" => true, "somebody else changed the sites before, and the batch must leave them alone";
    ),
    knob!(parked:
        "everybody runs" => false, "the other CPUs execute the sites";
        "everybody parked" => true, "the other CPUs are stopped all the time, so that only NMIs execute the sites";
    ),
    knob!(unpark_synchronises:
        "unparking synchronises" => true, "whoever is unparked passes a context synchronising point";
        "unparking forgets" => false, "whoever is unparked goes on without a context synchronising point";
    ),
    Knob {
        applies: |_| true,
        whom: "everybody",
        phrases: &[
            Phrase { words: "nmis none", about: "there are no NMIs", set: |w| w.nmi = None, is: |w| w.nmi.is_none() },
            Phrase {
                words: "nmis on every CPU",
                about: "every CPU takes NMIs, and each may execute the sites",
                set: |w| on(w, true, true),
                is: |w| are_on(w, true, true),
            },
            Phrase {
                words: "nmis on other CPUs",
                about: "every CPU but the patcher's takes NMIs, and each may execute the sites",
                set: |w| on(w, false, true),
                is: |w| are_on(w, false, true),
            },
            Phrase {
                words: "nmis on the patcher",
                about: "the patcher's CPU alone takes NMIs, and each may execute the sites",
                set: |w| on(w, true, false),
                is: |w| are_on(w, true, false),
            },
        ],
    },
    nmi!(each:
        "nmis each 1" => 1, "each of these CPUs takes one at most";
        "nmis each 2" => 2, "each of these CPUs takes two at most";
        "nmis each 3" => 3, "each of these CPUs takes three at most";
    ),
    nmi!(entry:
        "nmi entry plain" => Entry::Plain, "an NMI does nothing before its work";
        "nmi entry counts" => Entry::Counts, "an NMI counts itself, so that it can be waited for";
        "nmi entry as-written" => Entry::AsWritten, "an NMI counts itself, then reads the flag, and writes the record if that is set";
        "nmi entry atomic" => Entry::Atomic, "an NMI counts itself and reads the flag in one atomic step, and writes if that is set";
        "nmi entry visit" => Entry::Visit, "as `atomic`, and an NMI that wrote maintains caches and synchronises";
    ),
    nmi!(acquires for |p| p.isa() != IsaId::X86, "aarch64 and riscv64":
        "nmi reads in order" => true, "an NMI reads the announcement, and behind it the record";
        "nmi reads early" => false, "an NMI may have read the record before the announcement";
    ),
    nmi!(nests:
        "nmi nested waits" => Nesting::Waits, "an NMI that comes while another runs on its CPU is remembered until that is over";
        "nmi nested runs" => Nesting::Runs, "it interrupts the first, at any moment after its entry; two deep";
        "nmi nested kills" => Nesting::Kills, "it is the end, if a trap in the first returned, which is what lets it in";
    ),
    knob!(failures:
        "failures 0" => 0, "no step fails";
        "failures 1" => 1, "any step may fail, after any part of its work";
        "failures 2" => 2, "any two steps may fail, each after any part of its work";
    ),
    knob!(gives_up:
        "undone batches tried again" => false, "the caller performs a batch again that was undone";
        "undone batch given up" => true,
        "the caller goes on with the second batch when the first was undone, and only then";
    ),
    Knob {
        applies: |_| true,
        whom: "everybody",
        phrases: &[
            Phrase {
                words: "killed never",
                about: "nobody kills the patcher",
                set: |w| w.killed = false,
                is: |w| !w.killed,
            },
            Phrase {
                words: "killed then restored",
                about: "the patcher may be killed at any moment; another one brings the old form back",
                set: |w| killed(w, Repairer::Thorough),
                is: |w| w.killed && w.repairer == Repairer::Thorough,
            },
            Phrase {
                words: "killed then finished",
                about: "the patcher may be killed at any moment; another one goes on to the new form",
                set: |w| killed(w, Repairer::Onward),
                is: |w| w.killed && w.repairer == Repairer::Onward,
            },
            Phrase {
                words: "killed then restored unless clean",
                about: "as `restored`, but whoever finds the old bytes everywhere leaves at once",
                set: |w| killed(w, Repairer::SkipsClean),
                is: |w| w.killed && w.repairer == Repairer::SkipsClean,
            },
        ],
    },
    Knob {
        applies: |_| true,
        whom: "everybody",
        phrases: &[
            Phrase {
                words: "stale code forbidden",
                about: "a form that is gone when the call returns is not executed afterwards",
                set: |w| (w.after_return, w.begun_ends) = (true, false),
                is: |w| w.after_return && !w.begun_ends,
            },
            Phrase {
                words: "stale code ended",
                about: "the same, but a thread that was inside of it may go on to its end",
                set: |w| (w.after_return, w.begun_ends) = (true, true),
                is: |w| w.after_return && w.begun_ends,
            },
            Phrase {
                words: "stale code allowed",
                about: "a form that is gone when the call returns may be executed afterwards",
                set: |w| w.after_return = false,
                is: |w| !w.after_return,
            },
        ],
    },
    knob!(grain:
        "stores by unit" => Grain::Unit, "what a store's unit keeps whole appears at once, one unit after the other";
        "stores by write" => Grain::Write, "each contiguous write appears at once";
    ),
    knob!(order:
        "stores in order" => Order::Ascending, "the units of a store appear by site and offset";
        "stores in any order" => Order::Any, "the units of a store appear in any order";
    ),
    knob!(unfenced:
        "barriers everywhere" => None, "data stores are visible when their step has ended";
        "barriers missing behind publish" => Some(Unfenced::Publish), "the trap table is visible some time after `publish`";
        "barriers missing behind record" => Some(Unfenced::Record), "the record for NMIs is visible some time after `record`";
        "barriers missing behind announce" => Some(Unfenced::Announce), "the announcement to NMIs is visible some time after `announce`";
    ),
    knob!(maintenance for |p| p.isa() == IsaId::Arm, "arm64, arm64-idc and arm64-dic":
        "maintenance reaches all" => Maintenance::Everywhere, "cache maintenance cleans data, and invalidates every CPU's instruction cache";
        "maintenance stays local" => Maintenance::Local, "cache maintenance invalidates the instruction cache alone of the CPU that asks for it";
        "maintenance only cleans" => Maintenance::Cleans, "cache maintenance cleans data and invalidates no instruction cache";
        "maintenance only invalidates" => Maintenance::Invalidates, "cache maintenance invalidates instruction caches and cleans no data";
    ),
    knob!(queue for |p| matches!(p.fetch(), Fetch::Queue(_)), "amd and ziccid":
        "fetch ahead 2" => 2, "up to two instructions are fetched before they are executed";
        "fetch ahead 1" => 1, "one instruction is fetched before it is executed";
    ),
    knob!(bounded_staleness:
        "assume nothing of pauses" => false, "`pause` promises nothing";
        "assume pauses long enough" => true, "after a `pause` every CPU has fetched anew; no vendor says so";
    ),
    knob!(cmodx for |p| p.isa() == IsaId::Arm, "arm64, arm64-idc and arm64-dic":
        "assume listed changes live" => true, "only instructions in the architecture's list may change while executed";
        "assume any change live" => false, "any instruction may change while executed";
    ),
    knob!(one_byte for |p| p == Profile::Intel, "intel":
        "assume one-byte traps whole" => OneByte::Traps, "one byte of INT3 stored over code, or code over it, shows the old or the new; Intel's engineers say so, its manual does not";
        "assume one-byte stores whole" => OneByte::Any, "any one byte stored over code shows the old or the new; nobody says so";
        "assume nothing of one-byte stores" => OneByte::Nothing, "one byte stored over code may show anything";
    ),
    knob!(at_once for |p| p == Profile::Intel, "intel":
        "assume 1 byte at once" => 1, "bytes are fetched one by one";
        "assume 2 bytes at once" => 2, "2 aligned bytes are fetched at once; Intel's manual does not say so";
        "assume 8 bytes at once" => 8, "8 aligned bytes are fetched at once; Intel's manual does not say so";
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever adds a field finds here that files must be able to say it.
    #[test]
    fn every_field_has_a_knob() {
        let World {
            profile,
            at_once: _,
            one_byte: _,
            queue: _,
            maintenance: _,
            cmodx: _,
            bounded_staleness: _,
            unfenced: _,
            table_first: _,
            looks_again: _,
            nmi,
            parked: _,
            handler: _,
            inside: _,
            retire: _,
            writable: _,
            signals: _,
            own_traps: _,
            foreign: _,
            failures: _,
            gives_up: _,
            // Of these two one knob, and the steps by `repair`.
            killed: _,
            repairer: _,
            repair: _,
            grain: _,
            order: _,
            // Of these two one knob.
            after_return: _,
            begun_ends: _,
            unpark_synchronises: _,
        } = World::new(Profile::Amd);
        let Nmi { each: _, own: _, others: _, entry: _, acquires: _, nests: _ } = nmi.unwrap_or(Nmi::new(Entry::Plain));
        assert_eq!(profile, Profile::Amd);
        // 23 fields of one knob each, `nmi` with one and four more, killed and repairer with one.
        assert_eq!(KNOBS.len(), 23 + 5 + 1);
    }

    #[test]
    fn exactly_what_was_said_holds_and_nothing_is_said_of_the_defaults() {
        for (i, knob) in KNOBS.iter().enumerate() {
            for (n, phrase) in knob.phrases.iter().enumerate() {
                let mut world = World::new(Profile::Amd);
                (phrase.set)(&mut world);
                let holding = knob.phrases.iter().filter(|p| (p.is)(&world)).count();
                assert_eq!((holding, (phrase.is)(&world)), (1, true), "{}", phrase.words);
                assert_eq!(knob.said(&world).is_some(), n > 0, "{}", phrase.words);
                // An NMI of any kind is one on every CPU.
                let others = KNOBS.iter().enumerate().filter(|(j, k)| *j != i && k.said(&world).is_some());
                let nmi = phrase.words.starts_with("nmi ") || phrase.words.starts_with("nmis each");
                assert_eq!(others.count(), usize::from(nmi), "{}", phrase.words);
            }
        }
        assert!(KNOBS.iter().all(|k| k.said(&World::new(Profile::Intel)).is_none()));
    }
}
