//! What happens without: programs with something taken out, which must be seen to fail.
//!
//! Only what an emulator can show is here. It keeps its translation of text coherent with memory, so that a missing
//! synchronisation or a missing maintenance of caches does no harm in it; the checker and the litmus runs are for those.

use core::sync::atomic::{AtomicU64, Ordering};

use kernel::arch::sites::{NEW, OLD, run_value, value_site};
use kernel::engine::{self, ENGINE, run as perform};
use kernel::{parameters, println, work};
use textpoke_core::{Direction, Kind, Phase, Step, Unit, Verdict};

use super::buffer;

const STORE: Step = Step::Store { phase: Phase::Whole, unit: Unit::Byte };
const OPEN: Step = Step::Open;
const CLOSE: Step = Step::Close;

/// Everybody keeps running.
const NAIVE: &[Step] = &[OPEN, STORE, Step::Maintain, CLOSE];
/// `park`, where NMIs come in that do not help.
const NO_HELP: &[Step] = &[OPEN, Step::Park, Step::AwaitNmis, STORE, Step::Maintain, Step::Unpark, CLOSE];
/// `nmi_assist` that does not wait for those who came before the announcement.
const NO_WAIT: &[Step] = &[
    OPEN,
    Step::Park,
    Step::Record,
    Step::Announce { idle: false },
    STORE,
    Step::Maintain,
    Step::SyncCores,
    Step::Withdraw,
    Step::AwaitNmis,
    Step::Unpark,
    CLOSE,
];
/// Seed 004 as it was written: the wait is there, but the announcement comes before it.
const AS_WRITTEN: &[Step] = &[
    OPEN,
    Step::Park,
    Step::Record,
    Step::Announce { idle: false },
    Step::AwaitNmis,
    STORE,
    Step::Maintain,
    Step::Withdraw,
    Step::AwaitNmis,
    Step::Unpark,
    CLOSE,
];

const SITES: usize = 8;
static TORN: AtomicU64 = AtomicU64::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);

fn look(_: usize) {
    for i in 0..4 * SITES {
        let value = run_value(i % SITES);
        if value != OLD && value != NEW {
            TORN.fetch_add(1, Ordering::Relaxed);
        }
    }
    CALLS.fetch_add(4 * SITES as u64, Ordering::Relaxed);
}

/// Performs batches until something torn was executed; how many it took.
fn until_torn(program: &[Step], nmis: bool, most: u64) -> Option<u64> {
    let sites = buffer::fill(SITES, value_site);
    TORN.store(0, Ordering::Relaxed);
    if nmis {
        work::begin(|_| core::hint::spin_loop());
        engine::set_nmi_handler(Some(look));
        engine::begin_storm();
    } else {
        work::begin(look);
    }
    let mut took = None;
    for batch in 0..most {
        let dir = if batch % 2 == 0 { Direction::Install } else { Direction::Remove };
        // SAFETY: what is torn here loads a number, whatever its bytes are.
        let verdict = unsafe { perform(sites, Kind::NmiAssist, dir, program, program) };
        assert_eq!(verdict, Ok(Verdict::Performed(dir)));
        if TORN.load(Ordering::Relaxed) > 0 && batch % 2 == 1 {
            took = Some(batch + 1);
            break;
        }
    }
    if nmis {
        engine::end_storm();
        engine::set_nmi_handler(None);
    }
    work::end();
    took
}

/// Each of them, and the right one in their place.
pub fn run() {
    let most = parameters::number("control", 20_000);
    for (name, program, nmis, must) in [
        ("stores without a trap", NAIVE, false, true),
        ("park, and NMIs do not help", NO_HELP, true, true),
        ("nmi_assist without the first wait", NO_WAIT, true, true),
        ("seed 004 as written", AS_WRITTEN, true, false),
    ] {
        match until_torn(program, nmis, most) {
            Some(batches) => {
                println!("row control: {name}: torn instructions were executed within {batches} batches, as they must")
            }
            None if must => panic!("{name}: nothing torn was executed in {most} batches, so that this run shows nothing"),
            None => println!("row control: {name}: nothing torn was executed in {most} batches; the checker shows it"),
        }
    }
    let right = Kind::NmiAssist.program(Direction::Install);
    let before = ENGINE.counts();
    assert_eq!(until_torn(right, true, most.min(1000)), None, "nmi_assist tears");
    let writes = ENGINE.counts().nmi_writes - before.nmi_writes;
    println!("row control: nmi_assist whole: nothing torn in {} batches, {writes} NMIs wrote", most.min(1000));
}
