//! One hot site, armed and retired as fast as it goes, while another process stops and continues this one.

use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use textpoke::core::{Direction, Kind};
use textpoke::linux::process::{self, Extras};
use textpoke::linux::sys;

use crate::arena::Arena;
use crate::forms::{Form, Function};
use crate::tools::{self, call, times, turn};

const NAME: &str = "hot::a_site_survives_its_cycles_and_being_stopped";
const CYCLES: u32 = times(200_000);

#[test]
fn a_site_survives_its_cycles_and_being_stopped() {
    if tools::is_child("hot") {
        return cycles();
    }
    let _turn = turn();
    let mut child = tools::child(NAME, "hot").spawn().unwrap();
    let mut stops = 0u32;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        // Any point of the program, and any state of its threads, may be the one at which it is stopped.
        for signal in [19, 18] {
            kill(&child, signal);
            std::thread::sleep(Duration::from_micros(500 + u64::from(stops % 17) * 100));
        }
        stops += 1;
    };
    tools::assert_success("the stopped process", status);
    assert!(stops > 10, "stopped {stops} times only");
    println!("stopped and continued {stops} times");
}

fn kill(child: &Child, signal: usize) {
    // SAFETY: kill(2); the child has not been waited for, so that the number is its own.
    unsafe { sys::syscall3(62, child.id() as usize, signal, 0) };
}

fn cycles() {
    process::prepare().unwrap();
    let mut arena = Arena::new(4096);
    // Across a cache line, so that no single store could do it.
    let addr = arena.start() + 64 + 61;
    let f = Function::place(&mut arena, addr, 1, 5, Form::Nop, Form::Jmp32);
    let text = arena.seal();
    let traps: &'static [AtomicU32] = Box::leak(Box::new([AtomicU32::new(0)]));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let busy: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = [0u64; 2];
                    while !stop.load(Relaxed) {
                        let out = call(f.entry, 0);
                        let new = out == f.when_new(0);
                        assert!(new || out == f.when_old(0), "{out:x?}");
                        seen[usize::from(new)] += 1;
                    }
                    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
                })
            })
            .collect();
        for cycle in 0..CYCLES {
            let install = cycle % 2 == 0;
            let (dir, out) =
                if install { (Direction::Install, f.when_new(0)) } else { (Direction::Remove, f.when_old(0)) };
            // SAFETY: a generated function that can bear both forms.
            unsafe { process::apply_with(&[f.site], Kind::Breakpoint, dir, &Extras::counting(traps)) }.unwrap();
            assert_eq!(call(f.entry, 0), out);
            if busy.iter().any(|thread| thread.is_finished()) {
                break;
            }
        }
        stop.store(true, Relaxed);
    });
    text.assert_untouched();
    println!("{CYCLES} cycles, {} traps", traps[0].load(Relaxed));
    assert!(traps[0].load(Relaxed) >= 1000, "hardly a trap was taken: {traps:?}");
}
