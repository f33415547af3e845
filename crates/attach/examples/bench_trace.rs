//! What tracing costs, as ratios within one run: `cargo run --release -p textpoke-attach --example bench_trace`.
//!
//! Everything is measured in this process, on functions made for the purpose that are patched like any others; the ratios
//! to two `rdtsc` and to the plain function are what carries over to other machines. Each figure is the least of many
//! short runs, but for the flips, which are counted over a span of time.

#![allow(unsafe_code, reason = "code made at run time, and the time stamp counter")]

#[path = "../tests/rig/mod.rs"]
mod rig;

use std::arch::{asm, x86_64::_rdtsc};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rig::{PAGE, Rig, mmap, set_gs_base};
use textpoke_attach::trampoline::{self, Copy, Kind as Way};
use textpoke_core::isa::x86_64;
use textpoke_core::{Direction, Kind, Site};
use textpoke_linux::process;
use textpoke_trace::ring::{Holes, Reader};

/// push rbp; mov rbp, rsp; nop
const HEAD: [u8; 5] = [0x55, 0x48, 0x89, 0xe5, 0x90];
/// nop; nop; nop; pop rbp; ret
const TAIL: [u8; 5] = [0x90, 0x90, 0x90, 0x5d, 0xc3];
const NOP: [u8; 5] = [0x0f, 0x1f, 0x44, 0, 0];
const CALLS: u64 = 8_000;
const RUNS: usize = 100;
const RING: usize = 1 << 20;

fn main() {
    process::prepare().expect("this process can be patched");
    let two = two_rdtsc();
    println!("{:44}{:>8}{:>12}{:>12}", "", "ticks", "two rdtsc", "plain call");
    let show = |what: &str, ticks: f64, plain: f64| {
        println!("{what:44}{ticks:8.1}{:12.2}{:12.2}", ticks / two, ticks / plain);
    };

    let mut rig = Rig::new(2, RING);
    let text = text();
    let function = text;
    let sites = traced(&mut rig, function);
    let plain = least(function, || {});
    show("two rdtsc", two, plain);
    show("plain call", plain, plain);
    change(&sites, Direction::Install);
    let mut reader = Reader::default();
    set_gs_base(0);
    rig::call(function);
    show("traced call", least(function, || drop(rig.drain(&mut reader, 0, Holes::Wait))), plain);
    let lost = reader.lost();
    show("traced call, read by another thread", with_reader(&rig, &mut reader, || least(function, || {})), plain);
    show("traced call, ring full", least(function, || {}), plain);
    rig.shared.switch_probes_off();
    show("traced call, probes switched off", least(function, || {}), plain);
    change(&sites, Direction::Remove);
    show("sites present but off (patched and restored)", least(function, || {}), plain);
    assert_eq!(lost, 0, "the first figure is of recorded calls");

    let toggles: Vec<Site> = (1..64).map(|i| toggle(text + 64 * i)).collect();
    println!();
    for (what, sites) in [("1 site", &toggles[..1]), ("63 sites", &toggles[..])] {
        println!("membarriers per batch of {what:20}{:8}", change(sites, Direction::Install));
        change(sites, Direction::Remove);
    }
    println!("{:44}{:8.0}", "single flips/s, nobody runs", flips(&toggles[..1]));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                rig::call(toggles[0].addr);
            }
        });
        println!("{:44}{:8.0}", "single flips/s, one thread runs there", flips(&toggles[..1]));
        stop.store(true, Relaxed);
    });
}

/// A page of text: the traced function, then one every 64 bytes that begins with a NOP of five bytes.
fn text() -> u64 {
    let mut bytes = vec![0xcc; PAGE as usize];
    bytes[..10].copy_from_slice(&[HEAD, TAIL].concat());
    for function in bytes.chunks_exact_mut(64).skip(1) {
        function[..5].copy_from_slice(&NOP);
        function[5] = 0xc3;
    }
    let at = mmap(0, PAGE, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
    // SAFETY: our own fresh page.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), at as *mut u8, bytes.len());
        assert_eq!(libc::mprotect(at as *mut _, PAGE as usize, libc::PROT_READ | libc::PROT_EXEC), 0);
    }
    at
}

/// Entry and exit of the function at `at`.
fn traced(rig: &mut Rig, at: u64) -> [Site; 2] {
    let mut make = |number, way, addr: u64, old: [u8; 5], inner, copy_at: [u8; 8], back: bool| {
        let relocate = |place: u64| {
            let mut bytes = old.to_vec();
            if back {
                bytes.extend(x86_64::jmp(place + 5, addr + 5).map_err(|e| e.to_string())?);
            }
            Ok(Copy { bytes, at: copy_at })
        };
        let to = rig.next();
        let made = trampoline::emit(&rig.image, rig.text(), to, &[number], way, &relocate).expect("it is in reach");
        rig.put(&made.bytes);
        let jump = x86_64::jmp(addr, to).expect("it is in reach");
        let mut site = Site::single(addr, &old, &jump).expect("five bytes");
        (site.inner, site.copy) = (inner, made.copy);
        site.copy_at = copy_at;
        site
    };
    [
        make(0, Way::Entry, at, HEAD, 0b1_0010, [0, 1, 0, 0, 4, 0, 0, 0], true),
        make(1, Way::Exit, at + 5, TAIL, 0b1_1110, [0, 1, 2, 3, 4, 0, 0, 0], false),
    ]
}

/// A switch: the NOP at `at` becomes a jump over nothing, which does the same.
fn toggle(at: u64) -> Site {
    let jump = x86_64::jmp(at, at + 5).expect("it is in reach");
    Site::single(at, &NOP, &jump).expect("five bytes")
}

/// Performs a batch and returns how often it synchronised all cores.
fn change(sites: &[Site], dir: Direction) -> u32 {
    let kind = if sites[0].inner == 0 { Kind::Breakpoint } else { Kind::Displace };
    // SAFETY: both forms do the same, but for the record that is made, and the trampolines stay for good.
    unsafe { process::apply(sites, kind, dir) }.expect("the batch is performed").syncs
}

/// Changes there and back per second, each counted.
fn flips(site: &[Site]) -> f64 {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < Duration::from_millis(500) {
        change(site, Direction::Install);
        change(site, Direction::Remove);
        count += 2;
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

fn with_reader<T>(rig: &Rig, reader: &mut Reader, work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                reader.drain(rig.shared.ring(0), rig.shared.slots(0), Holes::Wait, |_| {});
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let result = work();
        stop.store(true, Relaxed);
        result
    })
}

/// Least ticks per call in a loop; `between` runs after each loop.
fn least(function: u64, mut between: impl FnMut()) -> f64 {
    let run = || {
        // SAFETY: the counter, and a loop around a function that keeps all registers.
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
