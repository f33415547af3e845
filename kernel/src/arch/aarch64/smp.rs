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

/// Functions of PSCI (Arm DEN 0022), which QEMU performs itself.
const CPU_ON: u64 = 0xc400_0003;
const SYSTEM_OFF: u64 = 0x8400_0008;

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

/// # Safety
/// What the function does, does no harm.
unsafe fn psci(function: u64, arguments: [u64; 3]) -> i64 {
    let [a, b, c] = arguments;
    let result;
    // SAFETY: the caller's duty. SMCCC keeps all registers from X18 on; QEMU all but X0.
    unsafe {
        asm!(
            "hvc #0",
            inlateout("x0") function => result, inlateout("x1") a => _, inlateout("x2") b => _, inlateout("x3") c => _,
            options(nostack)
        );
    }
    result
}

/// Starts a CPU, and returns when `is_there` says so. By the first CPU only, one at a time.
pub fn start(cpu: usize, is_there: impl Fn() -> bool) {
    unsafe extern "C" {
        static others_start: u8;
    }
    let entry = (&raw const others_start).addr() as u64;
    // Affinity 0 is the number of the CPU, up to 15.
    // SAFETY: it begins where all begin, with a stack of its own.
    let result = unsafe { psci(CPU_ON, [cpu as u64, entry, cpu as u64]) };
    assert_eq!(result, 0, "PSCI does not start CPU {cpu}");
    let mut spins = 0u64;
    while !is_there() {
        assert!(spins < 20_000_000_000, "CPU {cpu} does not start");
        spins += 1;
        core::hint::spin_loop();
    }
}

/// Switches the machine off.
pub(super) fn system_off() -> ! {
    loop {
        // SAFETY: nobody is left.
        unsafe { psci(SYSTEM_OFF, [0; 3]) };
    }
}
