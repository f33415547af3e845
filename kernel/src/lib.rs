//! The part of the test kernel that patching relies on: entry code, interrupts, hooks. Nothing in here is ever patched;
//! everything in the binary (`main.rs`) may be.
//!
//! Reading order: [`engine`], `arch/x86_64/boot.rs`, `traps.rs`, `nmi.rs`, then [`work`].
#![no_std]

pub mod arch;
mod emulator;
pub mod engine;
pub mod keys;
pub mod parameters;
pub mod print;
pub mod trace;
pub mod work;

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

/// The most CPUs that this kernel runs on.
pub const CPUS: usize = 8;

unsafe extern "Rust" {
    /// What the first CPU does when everything stands, and then it ends the machine.
    safe fn kernel_main();
    /// What the first CPU does while there is nothing yet: no trap vector, no other CPU.
    safe fn kernel_early();
}

/// The first CPU comes here from `arch` when it can say its number and nothing else: there are no vectors.
pub(crate) fn early() {
    engine::MEETING.online(0);
    kernel_early();
}

/// The first CPU comes here from `arch`, with interrupts off.
pub(crate) fn first() -> ! {
    arch::interrupts_on();
    kernel_main();
    arch::exit::now(true)
}

/// The others come here, with interrupts off.
pub(crate) fn other(cpu: usize) -> ! {
    engine::MEETING.online(cpu);
    arch::interrupts_on();
    work::forever(cpu)
}

/// Starts a CPU and waits until it is online.
pub fn start_cpu(cpu: usize) {
    arch::smp::start(cpu, || engine::MEETING.is_online(cpu));
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    static FIRST: AtomicBool = AtomicBool::new(true);
    if FIRST.swap(false, Ordering::SeqCst) {
        print::unlocked(format_args!("\npanic: {info}\n"));
        arch::exit::now(false);
    }
    // One CPU's words are enough.
    loop {
        core::hint::spin_loop();
    }
}
