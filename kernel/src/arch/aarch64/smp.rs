//! CPUs: what each has of its own, and how the others are started.

use core::arch::asm;

use super::{ipi, read_register, traps, write_register};
use crate::CPUS;

/// Bytes of a stack: everything runs on it, interrupts and NMIs included. There is no red zone.
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

/// CPU_ON of PSCI (Arm DEN 0022), which QEMU performs itself.
const CPU_ON: u64 = 0xc400_0003;

/// Where every CPU comes to Rust.
pub extern "C" fn enter(cpu: usize) -> ! {
    // SAFETY: nobody else uses the register.
    unsafe { write_register!("tpidr_el1", cpu) };
    if cpu == 0 {
        crate::early();
    }
    traps::install();
    ipi::enable(cpu);
    if cpu == 0 { crate::first() } else { crate::other(cpu) }
}

/// The number of this CPU.
pub fn this() -> usize {
    read_register!("tpidr_el1") as usize
}

/// Starts a CPU, and returns when `is_there` says so. One at a time.
pub fn start(cpu: usize, is_there: impl Fn() -> bool) {
    unsafe extern "C" {
        static others_start: u8;
    }
    let result: i64;
    // SAFETY: it begins where all begin, with a stack of its own. QEMU changes X0 only, PSCI nothing from X18 on.
    unsafe {
        asm!(
            "hvc #0",
            inlateout("x0") CPU_ON => result,
            // Affinity 0 is the number of the CPU, up to 15.
            inlateout("x1") cpu => _,
            inlateout("x2") &raw const others_start => _,
            inlateout("x3") cpu => _,
            clobber_abi("C"),
            options(nostack)
        );
    }
    assert_eq!(result, 0, "PSCI does not start CPU {cpu}");
    let mut spins = 0u64;
    while !is_there() {
        assert!(spins < 20_000_000_000, "CPU {cpu} does not start");
        spins += 1;
        core::hint::spin_loop();
    }
}
