//! CPUs: what each has of its own, and how the others are started. The firmware begins with any hart, which is CPU 0 here.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{ipi, nmi, sbi, traps};
use crate::CPUS;

/// Bytes of a stack, a power of two: everything runs on it, interrupts and NMIs included. There is no red zone.
pub const STACK: usize = 64 * 1024;

/// Memory that the CPU writes to.
#[repr(align(64))]
pub struct Stack<const BYTES: usize>([u8; BYTES]);

impl<const BYTES: usize> Stack<BYTES> {
    /// Zeros.
    pub const EMPTY: Self = Self([0; BYTES]);
}

/// One per CPU.
pub static mut STACKS: [Stack<STACK>; CPUS] = [Stack::EMPTY; CPUS];
/// The hart that is CPU 0, written by `boot`.
pub static FIRST_HART: AtomicU64 = AtomicU64::new(0);

/// The hart of a CPU.
pub(super) fn hart(cpu: usize) -> u64 {
    let first = FIRST_HART.load(Ordering::Relaxed);
    match cpu as u64 {
        0 => first,
        cpu if cpu <= first => cpu - 1,
        cpu => cpu,
    }
}

/// Where every CPU comes to Rust.
pub extern "C" fn enter(cpu: usize) -> ! {
    if cpu == 0 {
        crate::early();
    }
    traps::install();
    ipi::enable();
    nmi::enable();
    if cpu == 0 { crate::first() } else { crate::other(cpu) }
}

/// The number of this CPU.
pub fn this() -> usize {
    let cpu;
    // SAFETY: `boot` has put it there, and nobody uses the register otherwise.
    unsafe { asm!("mv {}, tp", out(reg) cpu, options(nomem, nostack, preserves_flags)) };
    cpu
}

/// Starts a CPU, and returns when `is_there` says so. One at a time.
pub fn start(cpu: usize, is_there: impl Fn() -> bool) {
    unsafe extern "C" {
        static others_start: u8;
    }
    let entry = (&raw const others_start).addr() as u64;
    // SAFETY: it begins where all begin, with a stack of its own.
    let result = unsafe { sbi::call(sbi::HSM, 0, [hart(cpu), entry, cpu as u64, 0]) };
    assert!(result.is_ok(), "the firmware does not start CPU {cpu}: {result:?}");
    let mut spins = 0u64;
    while !is_there() {
        assert!(spins < 20_000_000_000, "CPU {cpu} does not start");
        spins += 1;
        core::hint::spin_loop();
    }
}
