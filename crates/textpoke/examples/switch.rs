//! Two threads call a function while a third switches it between two targets.
//!
//! `cargo run --release --example switch [SWITCHES]` (100,000 unless told otherwise)

#![allow(unsafe_code, reason = "a site is named by its address")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use textpoke::{Patcher, Switch, Target};

// `answer` begins with a jump of five bytes, whose target we change. It is 61 bytes into a cache line, so that no single
// store could change it.
std::arch::global_asm!(
    ".text",
    ".globl answer, one, two",
    ".balign 64",
    ".skip 61, 0xcc",
    "answer: .byte 0xe9; .long one - answer - 5",
    "one: mov eax, 1; ret",
    "two: mov eax, 2; ret",
);
unsafe extern "C" {
    fn answer() -> u32;
    fn one() -> u32;
    fn two() -> u32;
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let switches: u32 = std::env::args().nth(1).map_or(Ok(100_000), |n| n.parse())?;
    let patcher = Patcher::new()?;
    // SAFETY: the assembly above, which nobody else changes.
    let mut switch = unsafe { Switch::from_raw(answer as *const ()) }?;
    // SAFETY: both are functions of `answer`'s type.
    let targets = unsafe { [Target::jump(one as *const ()), Target::jump(two as *const ())] };

    let stop = AtomicBool::new(false);
    let calls = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = [0u64; 2];
                    while !stop.load(Ordering::Relaxed) {
                        // SAFETY: a function without arguments, whatever it is at the moment.
                        match unsafe { answer() } {
                            result @ (1 | 2) => seen[result as usize - 1] += 1,
                            other => panic!("answer() returned {other}"),
                        }
                    }
                    seen
                })
            })
            .collect();

        let start = Instant::now();
        let switched = (0..switches).try_for_each(|i| {
            let next = (i as usize + 1) % 2;
            switch.set(&patcher, targets[next])?;
            // Once `set` has returned there is no old code any more.
            // SAFETY: as above.
            assert_eq!(unsafe { answer() } as usize, next + 1);
            Ok::<(), textpoke::Error>(())
        });
        let took = start.elapsed();
        stop.store(true, Ordering::Relaxed);
        println!("{:.0} switches/s", f64::from(switches) / took.as_secs_f64());
        let seen = callers.into_iter().map(|caller| caller.join().expect("a caller saw a wrong result"));
        switched.map(|()| seen.fold([0; 2], |a, b| [a[0] + b[0], a[1] + b[1]]))
    })?;
    println!("the callers saw 1 {} times and 2 {} times, and nothing else", calls[0], calls[1]);
    Ok(())
}
