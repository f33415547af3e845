//! What switches cost, as ratios within one run: `cargo xtask bench keys`.
//!
//! Off-branches are compared with no branch, with a relaxed load and a branch, and with two other crates; each figure is
//! the least of many short runs, taken in turns. Flips are the median of short runs, taken in turns, alone and while a
//! thread keeps another CPU busy. The ratios are to the synchronisations that they need, each of them behind a write, and to
//! all their system calls: open, writes, synchronisations, close. The file is opened for each flip because a descriptor that
//! is kept may be closed by the program, and its number be another file's when it is written to.

#![allow(unsafe_code, reason = "what it is compared with is unsafe to call, and ten thousand sites are assembly")]

use std::arch::asm;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use textpoke::keys::{Protocol, use_protocol};

textpoke::static_key! {
    static OURS: bool = false;
    static FLIPPED: bool = false;
    static MANY: bool = false;
}
static ATOMIC: AtomicBool = AtomicBool::new(false);
static_keys::define_static_key_false!(THEIRS);
static_key::static_key!(OTHERS: bool = false);

/// What the busy thread has done, so that runs are left out during which something else was on its CPU.
static BUSY: AtomicU64 = AtomicU64::new(0);

const ROUNDS: usize = 1_000;
const TIMES: u32 = 20;
const TURNS: u64 = 2_000;

/// Ten thousand sites of one key, one behind the other, written by hand to the layout of docs/keys.md.
const SITES: usize = 10_000;
std::arch::global_asm!(
    ".pushsection .text.bench_many, \"ax\", @progbits",
    ".balign 64",
    "bench_many:",
    ".rept {sites}",
    "771: .byte 0x0f, 0x1f, 0x44",
    "jmp 773f",
    ".pushsection textpoke_sites, \"ao\", @progbits, bench_many",
    ".balign 4",
    ".long 771b - ., 773f - .",
    ".long {key}@GOTPCREL",
    ".byte 0, 5",
    ".short 0",
    ".popsection",
    "773:",
    ".endr",
    "ret",
    ".popsection",
    sites = const SITES,
    key = sym MANY,
);
unsafe extern "C" {
    safe fn bench_many();
}

/// The work between two branches: four additions that do not wait for one another, so that the loop is limited by how many
/// instructions a cycle takes, and one more of them shows.
#[inline(always)]
fn work(sums: &mut [u64; 4]) {
    let [a, b, c, d] = sums;
    // SAFETY: adds numbers.
    unsafe {
        asm!(
            "add {0}, 1",
            "add {1}, 1",
            "add {2}, 1",
            "add {3}, 1",
            inout(reg) * a,
            inout(reg) * b,
            inout(reg) * c,
            inout(reg) * d,
            options(pure, nomem, nostack)
        );
    };
}

macro_rules! loop_with {
    ($name:ident, $branch:expr) => {
        #[inline(never)]
        fn $name(turns: u64) -> u64 {
            let mut sums = [turns; 4];
            for _ in 0..turns / 4 {
                loop_with!(@ sums, $branch);
                loop_with!(@ sums, $branch);
                loop_with!(@ sums, $branch);
                loop_with!(@ sums, $branch);
            }
            sums.iter().sum()
        }
    };
    (@ $sums:ident, $branch:expr) => {
        work(&mut $sums);
        if $branch {
            $sums[0] = cold($sums[0]);
        }
    };
}
loop_with!(no_branch, false);
loop_with!(ours, textpoke::static_branch_unlikely!(OURS));
loop_with!(atomic, ATOMIC.load(Relaxed));
loop_with!(theirs, static_keys::static_branch_unlikely!(THEIRS));
loop_with!(others, static_key::static_if!(OTHERS, unlikely));

/// What the busy thread does: a function with a site of the key that is flipped.
#[inline(never)]
fn flipped(sum: u64) -> u64 {
    if textpoke::static_branch_unlikely!(FLIPPED) { cold(sum) } else { sum + 1 }
}

#[cold]
#[inline(never)]
fn cold(sum: u64) -> u64 {
    black_box(sum)
}

fn main() {
    let contender = std::env::args().nth(1);
    // Changes text on its own account, which is not to be taken for ours.
    if contender.as_deref().is_none_or(|contender| contender == "static-keys") {
        static_keys::global_init();
    }
    if let Some(contender) = contender {
        return alone_and_busy(&contender);
    }
    branches();
    println!("\n{:44}{:>10}{:>12}{:>12}", "flips", "1/s", "its syncs", "its calls");
    // Each in a process of its own: the other crates remap the text, or leave it writable.
    for contender in ["textpoke", "static-keys", "static-key"] {
        let me = std::env::current_exe().expect("a path");
        let status = std::process::Command::new(me).arg(contender).status().expect("it can be started");
        assert!(status.success(), "{contender}: {status}");
    }
    many();
}

fn branches() {
    type Loop = fn(u64) -> u64;
    let all: [(&str, Loop); 5] = [
        ("no branch", no_branch),
        ("textpoke, off", ours),
        ("relaxed load and branch", atomic),
        ("static-keys 0.8, off", theirs),
        ("static-key 0.1, off", others),
    ];
    let mut least = [f64::MAX; 5];
    for _ in 0..ROUNDS {
        for (least, (_, run)) in least.iter_mut().zip(all) {
            let start = Instant::now();
            black_box(run(black_box(TURNS)));
            *least = least.min(start.elapsed().as_secs_f64() * 1e9 / TURNS as f64);
        }
    }
    println!("{:44}{:>10}{:>12}", "a turn of a loop with", "ns", "no branch");
    for ((what, _), ns) in all.iter().zip(least) {
        println!("{what:44}{ns:10.3}{:12.2}", ns / least[0]);
    }
}

fn alone_and_busy(contender: &str) {
    let before = writable_text();
    let _ = textpoke::linux::sys::set_affinity(0, &[1]);
    for what in ["alone", "a busy thread", "a thread on the site"] {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            if what != "alone" {
                scope.spawn(|| {
                    let _ = textpoke::linux::sys::set_affinity(0, &[2]);
                    let mut done = BUSY.load(Relaxed);
                    while !stop.load(Relaxed) {
                        black_box(if what == "a busy thread" { no_branch(64) } else { flipped(64) });
                        done += 1;
                        BUSY.store(done, Relaxed);
                    }
                });
            }
            flips(contender, what);
            stop.store(true, Relaxed);
        });
        if contender != "textpoke" && what == "a busy thread" {
            // Nothing of theirs is on the third one's way.
            break;
        }
    }
    // What another one did before main is not this one's doing.
    let left = if contender == "static-key" { writable_text() } else { writable_text().saturating_sub(before) };
    println!("{:44}{left:10} bytes", format!("{contender}, text that it left writable"));
}

/// Bytes of this program that can be written and executed, although nobody flips anything.
fn writable_text() -> u64 {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc");
    let size = |line: &str| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        Some(u64::from_str_radix(end, 16).ok()? - u64::from_str_radix(start, 16).ok()?)
    };
    maps.lines().filter(|line| line.contains(" rwx")).filter_map(size).sum()
}

fn flips(contender: &str, what: &str) {
    let mut on = false;
    let mut turn = move || {
        on = !on;
        on
    };
    match contender {
        "static-keys" => {
            // By its contract no other thread may run, so that these are its figures at best.
            // SAFETY: the busy thread executes no site of this key.
            let [seconds] = medians([&mut || unsafe { if turn() { THEIRS.enable() } else { THEIRS.disable() } }]);
            println!("{:44}{:10.0}", format!("static-keys 0.8 (unsafe), {what}"), 1.0 / seconds);
        }
        "static-key" => {
            let [seconds] = medians([&mut || OTHERS.set(turn())]);
            println!("{:44}{:10.0}", format!("static-key 0.1 (text stays writable), {what}"), 1.0 / seconds);
        }
        _ => {
            FLIPPED.enable().expect("the process can be patched");
            FLIPPED.disable().expect("the process can be patched");
            let flip = |protocol| {
                move || {
                    use_protocol(protocol);
                    FLIPPED.set(turn()).expect("the process can be patched");
                }
            };
            let [sync, once, thrice, writes, word, breakpoint, short_jump] = medians([
                &mut || textpoke::linux::sync::cores().expect("registered"),
                &mut || bare(1, true),
                &mut || bare(3, true),
                &mut || bare(3, false),
                &mut flip(Protocol::Word),
                &mut flip(Protocol::Breakpoint),
                &mut flip(Protocol::ShortJump),
            ]);
            // Right behind a write the same synchronisation takes longer than in a loop of its own: what it costs a flip.
            let behind = (thrice - writes) / 3.0;
            println!("{:44}{:10.0}", format!("one synchronisation, {what}"), 1.0 / sync);
            println!("{:44}{:10.0}", format!("one behind a write, {what}"), 1.0 / behind);
            for (name, seconds, syncs, bare) in [
                ("word", word, 1.0, once),
                ("breakpoint", breakpoint, 3.0, thrice),
                ("short_jump", short_jump, 3.0, f64::NAN),
            ] {
                let (ratio, of_bare) = (seconds / (syncs * behind), seconds / bare);
                let of_bare = if of_bare.is_nan() { String::new() } else { format!("{of_bare:11.2}x") };
                println!("{:44}{:10.0}{ratio:11.2}x{of_bare}", format!("textpoke, {name}, {what}"), 1.0 / seconds);
            }
        }
    }
}

/// The system calls of a flip and nothing else: text is written, the same byte again, so many times, and synchronised.
fn bare(times: u32, synchronised: bool) {
    let mem = textpoke::linux::text::ProcMem::open().expect("/proc");
    let at = bench_many as *const () as u64;
    for _ in 0..times {
        // SAFETY: what stands there already.
        unsafe { mem.store(at, &[0x0f]) }.expect("text can be written");
        if synchronised {
            textpoke::linux::sync::cores().expect("registered");
        }
    }
}

/// The median time that each takes, in seconds, measured in turns in short runs: of those during which the busy thread, if
/// there is one, had its CPU for itself.
fn medians<const N: usize>(mut all: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut runs = [const { Vec::new() }; N];
    let begun = Instant::now();
    // Long enough for a busy thread to get its CPU also where others want it.
    while runs[0].len() < ROUNDS || begun.elapsed().as_millis() < 1500 {
        for (runs, what) in runs.iter_mut().zip(&mut all) {
            let (busy, start) = (BUSY.load(Relaxed), Instant::now());
            (0..TIMES).for_each(|_| what());
            let seconds = start.elapsed().as_secs_f64();
            runs.push((seconds / f64::from(TIMES), (BUSY.load(Relaxed) - busy) as f64 / seconds));
        }
    }
    runs.map(|runs| {
        let mut speeds: Vec<f64> = runs.iter().map(|run| run.1).collect();
        speeds.sort_by(f64::total_cmp);
        let usual = speeds[speeds.len() * 97 / 100] / 2.0;
        let mut times: Vec<f64> = runs.iter().filter(|run| run.1 >= usual).map(|run| run.0).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

fn many() {
    println!("\n{:44}{:>10}", format!("{SITES} warm sites in one flip"), "ms");
    for (name, protocol) in [("word", Protocol::Word), ("breakpoint", Protocol::Breakpoint)] {
        use_protocol(protocol);
        bench_many();
        let mut least = f64::MAX;
        for i in 0..40 {
            let start = Instant::now();
            MANY.set(i % 2 == 0).expect("the process can be patched");
            least = least.min(start.elapsed().as_secs_f64() * 1e3);
            bench_many();
        }
        println!("{name:44}{least:10.2}");
    }
    let found = textpoke::keys::all().expect("readable");
    assert!(found.iter().any(|key| key.name.ends_with("::MANY") && key.sites.len() == SITES), "all sites were flipped");
}
