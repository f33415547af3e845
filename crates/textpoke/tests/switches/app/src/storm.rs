//! Eight threads execute branches, four turn the keys. No branch is wrong after the call that turned it has returned.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use textpoke::keys::Changes;
use textpoke::{static_branch_likely, static_branch_unlikely, static_key};

static_key! {
    static KEYS: [bool; 4] = false;
    static SECOND: [bool; 4] = true;
}

/// For each key: even while nobody turns it, and then bit 1 is what it is; odd while somebody does.
static STATES: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
static TURNING: [Mutex<()>; 4] = [const { Mutex::new(()) }; 4];
static SURE: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

macro_rules! reader {
    ($name:ident, $index:literal) => {
        #[inline(never)]
        fn $name() -> [bool; 4] {
            [
                static_branch_unlikely!(KEYS[$index]),
                static_branch_likely!(KEYS[$index]),
                static_branch_unlikely!(SECOND[$index]),
                static_branch_likely!(SECOND[$index]),
            ]
        }
    };
}
reader!(read_0, 0);
reader!(read_1, 1);
reader!(read_2, 2);
reader!(read_3, 3);
const READERS: [fn() -> [bool; 4]; 4] = [read_0, read_1, read_2, read_3];

/// `flips` in each turning thread, or a minute.
pub fn run(flips: Option<u64>) {
    let stop = AtomicBool::new(false);
    let end = Instant::now() + Duration::from_secs(60);
    std::thread::scope(|scope| {
        let mut executing = Vec::new();
        for thread in 0..8usize {
            let stop = &stop;
            executing.push(scope.spawn(move || {
                while !stop.load(SeqCst) {
                    for (i, read) in READERS.iter().enumerate() {
                        let before = STATES[(i + thread) % 4].load(SeqCst);
                        let seen = READERS[(i + thread) % 4]();
                        let after = STATES[(i + thread) % 4].load(SeqCst);
                        let _ = read;
                        // Nobody turned it meanwhile: it must be what the call that returned last made of it.
                        if before == after && before % 2 == 0 {
                            let on = before & 2 != 0;
                            assert_eq!(seen, [on, on, !on, !on], "key {}", (i + thread) % 4);
                            SURE[usize::from(on)].fetch_add(1, SeqCst);
                        }
                    }
                }
            }));
        }
        let mut turning = Vec::new();
        for thread in 0..4u64 {
            turning.push(scope.spawn(move || {
                let mut done = 0;
                while flips.map_or_else(|| Instant::now() < end, |flips| done < flips) {
                    // Shared: each thread turns every key.
                    let i = ((thread + done) % 4) as usize;
                    let _turn = TURNING[i].lock().unwrap();
                    let state = STATES[i].fetch_add(1, SeqCst);
                    let on = state & 2 == 0;
                    if on {
                        Changes::new().enable(&KEYS[i]).disable(&SECOND[i]).apply().unwrap();
                    } else {
                        KEYS[i].dec().unwrap();
                        SECOND[i].inc().unwrap();
                    }
                    STATES[i].fetch_add(1, SeqCst);
                    assert_eq!(READERS[i](), [on, on, !on, !on], "in the thread that turned it");
                    done += 1;
                }
                done
            }));
        }
        let turned: u64 = turning.into_iter().map(|thread| thread.join().unwrap()).sum();
        // Both values are seen for certain, also where the turning threads had the CPUs to themselves.
        for on in [true, false] {
            let before = SURE[usize::from(on)].load(SeqCst);
            for i in 0..4 {
                STATES[i].fetch_add(1, SeqCst);
                KEYS[i].set(on).unwrap();
                SECOND[i].set(!on).unwrap();
                STATES[i].store(STATES[i].load(SeqCst) + 1 & !3 | u64::from(on) << 1, SeqCst);
            }
            while SURE[usize::from(on)].load(SeqCst) < before + 1000 {
                std::thread::yield_now();
            }
        }
        stop.store(true, SeqCst);
        executing.into_iter().for_each(|thread| thread.join().unwrap());
        let sure = [SURE[0].load(SeqCst), SURE[1].load(SeqCst)];
        println!("{turned} turns; {} branches known to be off, {} on", sure[0], sure[1]);
        assert!(sure[0] > 0 && sure[1] > 0);
    });
}
