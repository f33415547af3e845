//! What happens without: programs with something taken out, which must be seen to fail.
//!
//! Only what an emulator can show is here. It keeps its translation of text coherent with memory, so that a missing
//! synchronisation or a missing maintenance of caches does no harm in it; the checker and the litmus runs are for those.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kernel::arch::sites::{NEW, OLD, run_value, value_site};
use kernel::arch::{nmi, smp};
use kernel::engine::{self, ENGINE, run as perform};
use kernel::{CPUS, parameters, println, work};
use textpoke_core::{Direction, Kind, Phase, Step, Unit, Verdict};

use super::buffer;

/// What [`Step::Store`] may do: the bytes in two halves, with time in between.
const FIRST: Step = Step::Store { phase: Phase::HopTail, unit: Unit::Byte };
const SECOND: Step = Step::Store { phase: Phase::HopHead, unit: Unit::Byte };
/// Time passes in it: see [`between`].
const TIME: Step = Step::SyncCores;

/// In the place of a step that is taken out.
const NOTHING: Step = Step::Maintain;

/// Everybody keeps running.
const NAIVE: &[Step] = &[Step::Open, FIRST, TIME, SECOND, Step::Maintain, Step::Close];
/// `park`, and NMIs do not help.
const NO_HELP: &[Step] =
    &[Step::Open, Step::Park, Step::AwaitNmis, FIRST, TIME, SECOND, Step::Maintain, Step::Unpark, Step::Close];
/// `nmi_assist` that does not wait for those who came before the announcement.
const NO_WAIT: &[Step] = &assist([Step::Announce { idle: false }, NOTHING]);
/// Seed 004 as it was written: it waits, but behind the announcement.
const AS_WRITTEN: &[Step] = &assist([Step::Announce { idle: false }, Step::AwaitNmis]);
/// The corrected one.
const WHOLE: &[Step] = &assist([NOTHING, Step::Announce { idle: true }]);

const fn assist(announce: [Step; 2]) -> [Step; 16] {
    [
        Step::Open,
        Step::Park,
        Step::Record,
        // So that the announcement comes in the middle of an NMI, which goes on until the patcher waits.
        TIME,
        announce[0],
        announce[1],
        FIRST,
        Step::Pause,
        TIME,
        SECOND,
        Step::Maintain,
        Step::SyncCores,
        Step::Withdraw,
        Step::AwaitNmis,
        Step::Unpark,
        Step::Close,
    ]
}

const SITES: usize = 8;
/// Calls of one NMI, if it may end.
const LOOKS: usize = 128 * SITES;
static TORN: AtomicU64 = AtomicU64::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Whether NMIs on other CPUs than the patcher's go on and on.
static HOLD: AtomicBool = AtomicBool::new(false);
/// Whether they shall at the next [`TIME`].
static HOLD_NEXT: AtomicBool = AtomicBool::new(false);

fn look(cpu: usize) {
    let mut i = 0;
    while i < LOOKS || cpu != 0 && HOLD.load(Ordering::Relaxed) {
        let value = run_value(i % SITES);
        i += 1;
        if value != OLD && value != NEW {
            TORN.fetch_add(1, Ordering::Relaxed);
        }
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
}

/// How long [`between`] waits, in turns.
static PATIENCE: AtomicU64 = AtomicU64::new(0);

/// Until another CPU has looked at all sites once more. Then that one is in the middle of looking, because each looks for
/// longer. Where several NMIs are under way, such a moment may be long in coming, and any other will do.
fn between() {
    if HOLD_NEXT.swap(false, Ordering::Relaxed) {
        HOLD.store(true, Ordering::Relaxed);
    }
    let here = || (nmi::ended(smp::this()), CALLS.load(Ordering::Relaxed));
    let (mut own, mut before) = here();
    for _ in 0..PATIENCE.load(Ordering::Relaxed) {
        let (now, calls) = here();
        if now != own {
            (own, before) = (now, calls);
        }
        if calls >= before + SITES as u64 {
            break;
        }
        core::hint::spin_loop();
    }
}

/// When the patcher waits, NMIs that are under way see what there is now. Then one comes in on the patcher's own CPU, and when
/// they have seen that, too, they may end.
fn waiting() {
    seen_by_others();
    let own = nmi::ended(smp::this());
    nmi::send(smp::this());
    while nmi::ended(smp::this()) == own {
        core::hint::spin_loop();
    }
    seen_by_others();
    HOLD.store(false, Ordering::Relaxed);
}

/// Returns when others have looked at all sites, or when none does.
fn seen_by_others() {
    let before = CALLS.load(Ordering::Relaxed);
    for _ in 0..PATIENCE.load(Ordering::Relaxed).min(10_000_000) {
        if CALLS.load(Ordering::Relaxed) > before + 4 * SITES as u64 || !HOLD.load(Ordering::Relaxed) {
            return;
        }
        core::hint::spin_loop();
    }
}

/// Performs batches until something torn was executed; how many it took. `nmis` is how many are under way at a time: if it
/// is one, it is not on the CPU of the patcher whenever the patcher gets on.
fn until_torn(program: &[Step], nmis: usize, most: u64) -> Option<u64> {
    let sites = buffer::fill(SITES, value_site);
    TORN.store(0, Ordering::Relaxed);
    PATIENCE.store(if nmis > 1 { 100_000 } else { u64::MAX }, Ordering::Relaxed);
    if nmis > 0 {
        work::begin(|_| core::hint::spin_loop());
        engine::set_nmi_handler(Some(look));
        engine::begin_storm(nmis);
    } else {
        work::begin(look);
    }
    let mut took = None;
    for batch in 0..most {
        let dir = if batch % 2 == 0 { Direction::Install } else { Direction::Remove };
        HOLD_NEXT.store(program.contains(&Step::Record), Ordering::Relaxed);
        // SAFETY: what is torn here loads a number, whatever its bytes are.
        let verdict = unsafe { perform(sites, Kind::NmiAssist, dir, program, program) };
        assert_eq!(verdict, Ok(Verdict::Performed(dir)));
        if TORN.load(Ordering::Relaxed) > 0 && batch % 2 == 1 {
            took = Some(batch + 1);
            break;
        }
    }
    if nmis > 0 {
        engine::end_storm();
        engine::set_nmi_handler(None);
    }
    work::end();
    took
}

/// Each of them, and the right one in their place.
pub fn run() {
    let most = parameters::number("control", 200);
    let few = most / 10;
    engine::set_between(Some(between));
    engine::set_waiting(Some(waiting));
    for (name, program, nmis, must) in [
        ("stores while all run", NAIVE, 0, true),
        ("park, and NMIs do not help", NO_HELP, 1, true),
        ("nmi_assist without the first wait", NO_WAIT, 1, true),
        ("seed 004 as written", AS_WRITTEN, 1, false),
    ] {
        let most = if must { most } else { most / 2 };
        match until_torn(program, nmis, most) {
            Some(batches) => {
                println!("row control: {name}: torn instructions within {batches} batches, as there must be")
            }
            None if must => panic!("{name}: nothing torn in {most} batches, so that this run shows nothing"),
            None => println!("row control: {name}: nothing torn in {most} batches; the checker shows how"),
        }
    }
    let before = ENGINE.counts();
    for nmis in [1, CPUS] {
        assert_eq!(until_torn(WHOLE, nmis, few), None, "nmi_assist tears");
    }
    engine::set_between(None);
    engine::set_waiting(None);
    let counts = ENGINE.counts();
    println!(
        "row control: as corrected: nothing torn in {} batches, {} NMIs wrote, {} waits",
        2 * few,
        counts.nmi_writes - before.nmi_writes,
        counts.nmi_waits - before.nmi_waits
    );
}
