//! What tracing costs, as ratios within one run: `cargo run --release -p textpoke-attach --example bench_trace`.
//!
//! Everything is measured in this process, on functions and trampolines made for the purpose; the ratio to two `rdtsc` is
//! what carries over to other machines. Each figure is the least of many short runs.

#![allow(unsafe_code, reason = "code made at run time, and the time stamp counter")]

#[path = "../tests/rig/mod.rs"]
mod rig;

use std::arch::{asm, x86_64::_rdtsc};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rig::{Rig, set_gs_base};
use textpoke_attach::trampoline::{self, Copy, Kind};
use textpoke_core::isa::x86_64;
use textpoke_trace::ring::{Holes, Reader};

/// push rbp; mov rbp, rsp; nop; pop rbp; ret, padded so that both sites have five bytes.
const HEAD: [u8; 5] = [0x55, 0x48, 0x89, 0xe5, 0x90];
const TAIL: [u8; 5] = [0x90, 0x90, 0x90, 0x5d, 0xc3];
const CALLS: u64 = 8_000;
const RUNS: usize = 60;

/// A function as it stands in a program, and the same with jumps to trampolines over its entry and exit.
struct Pair {
    plain: u64,
    traced: u64,
}

fn pair(rig: &mut Rig) -> Pair {
    let mut body = HEAD.to_vec();
    body.extend(TAIL);
    let plain = rig.put(&body);
    let traced = rig.put(&[0xcc; 10]);
    let jump = |rig: &mut Rig, site, kind, at: u64, displaced: [u8; 5], back: bool| {
        let relocate = |place: u64| {
            let mut bytes = displaced.to_vec();
            if back {
                bytes.extend(x86_64::jmp(place + 5, at + 5).unwrap());
            }
            Ok(Copy { bytes, at: [0; 5] })
        };
        let to = rig.next();
        let made = trampoline::emit(&rig.image, rig.text(), to, &[site], kind, &relocate).unwrap();
        rig.put(&made.bytes);
        x86_64::jmp(at, to).unwrap()
    };
    let mut patched = jump(rig, 0, Kind::Entry, traced, HEAD, true).to_vec();
    patched.extend(jump(rig, 1, Kind::Exit, traced + 5, TAIL, false));
    rig.overwrite(traced, &patched);
    Pair { plain, traced }
}

/// Least ticks per call in a loop, where `between` runs after each loop.
fn least(function: u64, mut between: impl FnMut()) -> f64 {
    let run = || {
        // SAFETY: the counter, and a loop around a function that keeps all registers but those named.
        unsafe {
            let start = _rdtsc();
            asm!("2:", "call {f}", "dec {n}", "jnz 2b", f = in(reg) function, n = inout(reg) CALLS => _);
            _rdtsc() - start
        }
    };
    let mut best = u64::MAX;
    for _ in 0..RUNS {
        best = best.min(run());
        between();
    }
    best as f64 / CALLS as f64
}

/// Least ticks of two `rdtsc`, made as the probe makes them: both words joined.
fn two_rdtsc() -> f64 {
    let run = || {
        // SAFETY: the counter only.
        unsafe {
            let start = _rdtsc();
            asm!("2:", "rdtsc", "shl rdx, 32", "or rax, rdx", "rdtsc", "shl rdx, 32", "or rax, rdx", "dec {n}", "jnz 2b",
                 n = inout(reg) CALLS => _, out("rax") _, out("rdx") _, options(nomem, nostack));
            _rdtsc() - start
        }
    };
    (0..RUNS).map(|_| run()).min().unwrap_or(0) as f64 / CALLS as f64
}

fn main() {
    for ring_bytes in [1 << 18, 1 << 20, 1 << 22] {
        let mut rig = Rig::new(2, ring_bytes);
        let Pair { plain, traced } = pair(&mut rig);
        let mut reader = Reader::default();
        let (rdtsc, plain) = (two_rdtsc(), least(plain, || {}));
        set_gs_base(0);
        rig::call(traced);
        let alone = least(traced, || drop(rig.drain(&mut reader, 0, Holes::Wait)));
        let lost = reader.lost();
        let full = least(traced, || {});
        rig.drain(&mut reader, 0, Holes::Wait);
        rig.shared.switch_probes_off();
        let off = least(traced, || {});
        rig.shared.switch_probes_on();
        let stop = AtomicBool::new(false);
        let (drained, lost_live) = std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let before = reader.lost();
                while !stop.load(Relaxed) {
                    reader.drain(rig.shared.ring(0), rig.shared.slots(0), Holes::Wait, |_| {});
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                reader.lost() - before
            });
            let drained = least(traced, || {});
            stop.store(true, Relaxed);
            (drained, reading.join().unwrap_or(0))
        });
        println!("ring of {} KiB, in ticks (and over two rdtsc)", ring_bytes >> 10);
        for (what, ticks) in [
            ("two rdtsc", rdtsc),
            ("plain call", plain),
            ("traced call, reader waiting", alone),
            ("traced call, reader on another CPU", drained),
            ("traced call, ring full", full),
            ("traced call, probes switched off", off),
        ] {
            println!("  {what:36} {ticks:8.1}  {:6.2}", ticks / rdtsc);
        }
        println!("  lost {lost} and {lost_live}");
    }
}
