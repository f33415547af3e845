//! Every offset in a cache line, every way across a page boundary, every pair of instructions, in one batch.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};

use textpoke::core::{Direction, Kind, Site};
use textpoke::linux::process::{self, Extras};

use crate::arena::{Arena, PAGE, Text};
use crate::forms::{BEFORE, BEHIND, Form, Function};
use crate::tools::{self, call, times, turn};

/// Flips of each site, each way, at least.
const FLIPS: u32 = times(1000);
/// Traps at each site, each way, at least.
const TRAPS: u32 = times(100);
/// Flips after which a storm that has not seen everything has failed.
const LIMIT: u32 = 50 * FLIPS;

/// Functions for all pairs of forms of all lengths. Install goes from one form to the other and remove goes back, so
/// that ordered pairs are covered by unordered ones.
fn functions(straddles: bool) -> (Vec<Function>, Text) {
    const STRIDE: u64 = 192;
    let mut plans = Vec::new();
    for len in 1..=8 {
        let forms = Form::of_len(len);
        let pairs = forms.iter().enumerate().flat_map(|(i, &a)| forms[i + 1..].iter().map(move |&b| (a, b)));
        plans.extend(pairs.map(|(a, b)| (len, a, b)));
    }
    let lines = plans.len() as u64 * 64 * STRIDE;
    let pages = if straddles { plans.len() as u64 * 8 * PAGE } else { 0 };
    let mut arena = Arena::new(lines + pages + 2 * PAGE);
    let (mut functions, mut block) = (Vec::new(), arena.start());
    let mut boundary = (arena.start() + lines).next_multiple_of(PAGE);
    for (len, a, b) in plans {
        for offset in 0..64 {
            let site = block + 64 + offset;
            assert!(BEFORE <= 64 && site + BEHIND <= block + STRIDE);
            functions.push(Function::place(&mut arena, site, functions.len() as u32, len, a, b));
            block += STRIDE;
        }
        for split in 1..len as u64 * u64::from(straddles) {
            boundary += PAGE;
            functions.push(Function::place(&mut arena, boundary - split, functions.len() as u32, len, a, b));
        }
    }
    functions.sort_by_key(|f| f.site.addr);
    (functions, arena.seal())
}

struct Storm {
    functions: Vec<Function>,
    sites: Vec<Site>,
    /// Per site: bit 0 old seen, bit 1 new seen, by executors.
    seen: Vec<AtomicU8>,
    /// Per direction and site.
    traps: [&'static [AtomicU32]; 2],
    stop: AtomicBool,
    wrong: Mutex<Option<String>>,
}

impl Storm {
    fn new(functions: Vec<Function>) -> Self {
        let counts = || &*(0..functions.len()).map(|_| AtomicU32::new(0)).collect::<Vec<_>>().leak();
        Self {
            sites: functions.iter().map(|f| f.site).collect(),
            seen: functions.iter().map(|f| AtomicU8::new(if f.tells() { 0 } else { 3 })).collect(),
            traps: [counts(), counts()],
            functions,
            stop: AtomicBool::new(false),
            wrong: Mutex::new(None),
        }
    }

    /// Calls all functions again and again; those that still lack traps more often.
    fn execute(&self, need: u32) {
        for pass in 0u32.. {
            for (i, f) in self.functions.iter().enumerate() {
                let lacking = self.traps.iter().any(|t| t[i].load(Relaxed) < need);
                if !lacking && !(pass + i as u32).is_multiple_of(64) {
                    continue;
                }
                if self.stop.load(Relaxed) {
                    return;
                }
                // Both arguments come by, also where only every 64th pass calls.
                let arg = (pass ^ (pass >> 6) ^ i as u32) & 1;
                let out = call(f.entry, arg);
                let (old, new) = (f.when_old(arg), f.when_new(arg));
                let bits = u8::from(out == old) | u8::from(out == new) << 1;
                if bits == 0 {
                    *self.wrong.lock().unwrap() = Some(format!("{out:x?} of {f:x?}, argument {arg}"));
                    self.stop.store(true, Relaxed);
                } else if old != new && self.seen[i].load(Relaxed) & bits == 0 {
                    self.seen[i].fetch_or(bits, Relaxed);
                }
            }
        }
    }

    fn flip(&self, kind: Kind, dir: Direction, round: u32) {
        let counts = self.traps[usize::from(dir == Direction::Remove)];
        // SAFETY: generated functions that can bear both forms; see `forms`.
        unsafe { process::apply_with(&self.sites, kind, dir, &Extras::counting(counts)) }.unwrap();
        // This thread must see the new form of every site at once.
        for f in self.functions.iter().skip(round as usize % 97).step_by(97) {
            let expected = if dir == Direction::Install { f.when_new(0) } else { f.when_old(0) };
            assert_eq!(call(f.entry, 0), expected, "{f:x?}");
        }
    }

    fn complete(&self, need: u32) -> bool {
        self.seen.iter().all(|s| s.load(Relaxed) == 3)
            && self.traps.iter().all(|t| t.iter().all(|n| n.load(Relaxed) >= need))
    }

    fn run(&self, kind: Kind, need: u32) -> u32 {
        std::thread::scope(|scope| {
            // Two executors on the other CPU also preempt each other, inside sites and trap handlers.
            for _ in 0..2 {
                scope.spawn(|| {
                    tools::pin(1);
                    self.execute(need);
                });
            }
            let patcher = scope.spawn(|| {
                tools::pin(0);
                let mut flips = 0;
                while !self.stop.load(Relaxed) && flips < LIMIT && (flips < FLIPS || !self.complete(need)) {
                    self.flip(kind, Direction::Install, flips);
                    self.flip(kind, Direction::Remove, flips);
                    flips += 1;
                }
                flips
            });
            let flips = patcher.join();
            self.stop.store(true, Relaxed);
            flips.unwrap()
        })
    }

    fn assert_complete(&self, need: u32) {
        assert_eq!(*self.wrong.lock().unwrap(), None);
        let lacking =
            self.functions.iter().enumerate().find(|(i, _)| {
                self.seen[*i].load(Relaxed) != 3 || self.traps.iter().any(|t| t[*i].load(Relaxed) < need)
            });
        assert!(self.complete(need), "not everything was seen, for example {lacking:x?}");
    }
}

#[test]
fn breakpoint_at_every_offset_and_for_every_pair() {
    let _turn = turn();
    process::prepare().unwrap();
    let (functions, text) = functions(true);
    let storm = Storm::new(functions);
    let flips = storm.run(Kind::Breakpoint, TRAPS);
    storm.assert_complete(TRAPS);
    text.assert_untouched();
    text.assert_protected();
    let traps: u64 = storm.traps.iter().flat_map(|t| t.iter()).map(|n| u64::from(n.load(Relaxed))).sum();
    println!("{} sites, {flips} flips each way, {traps} traps", storm.sites.len());
}

/// Intel documents nothing about this one; that it holds on the CPU of the test is what is tested.
#[test]
fn word_at_every_offset_that_one_store_covers() {
    let _turn = turn();
    process::prepare().unwrap();
    let (functions, text) = functions(false);
    let storm = Storm::new(functions.into_iter().filter(|f| f.site.in_one_word()).collect());
    let flips = storm.run(Kind::Word, 0);
    storm.assert_complete(0);
    text.assert_untouched();
    text.assert_protected();
    println!("{} sites, {flips} flips each way", storm.sites.len());
}
