//! CPUs: what each has of its own, and how the others are started.

use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};

use super::{boot, ipi, nmi, traps};
use crate::CPUS;

/// Bytes of a stack.
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
/// The CPU that is being started.
pub static STARTING: AtomicU32 = AtomicU32::new(0);

/// What GS leads to.
#[repr(C)]
struct Own {
    cpu: u64,
    /// Behind the last byte of the NMI stack: read by the entry code, at GS:8.
    nmi_top: u64,
}

static mut OWN: [Own; CPUS] = [const { Own { cpu: 0, nmi_top: 0 } }; CPUS];

/// Where every CPU comes to Rust.
pub extern "sysv64" fn enter(cpu: usize) -> ! {
    // SAFETY: each CPU touches its own, once.
    unsafe {
        let own = (&raw mut OWN[cpu]).as_mut_unchecked();
        (own.cpu, own.nmi_top) = (cpu as u64, nmi::stack_top(cpu));
        super::wrmsr(0xc000_0101, (&raw const *own).addr() as u64);
    }
    if cpu == 0 {
        crate::early();
    }
    traps::install(cpu);
    ipi::enable();
    if cpu == 0 { crate::first() } else { crate::other(cpu) }
}

/// The number of this CPU.
pub fn this() -> usize {
    let cpu: usize;
    // SAFETY: `enter` has put it there.
    unsafe { asm!("mov {}, gs:[0]", out(reg) cpu, options(nostack, preserves_flags, readonly)) };
    cpu
}

/// Starts a CPU, and returns when `is_there` says so. By the first CPU only, one at a time.
pub fn start(cpu: usize, is_there: impl Fn() -> bool) {
    unsafe extern "C" {
        static others_start: u8;
        static others_end: u8;
    }
    let (from, to) = (&raw const others_start, &raw const others_end);
    let len = to.addr() - from.addr();
    super::paging::open(boot::START_PAGE, boot::START_PAGE + len as u64);
    // SAFETY: a page that nobody else uses, written by its alias.
    unsafe { core::ptr::copy_nonoverlapping(from, super::paging::alias(boot::START_PAGE), len) };
    super::paging::close(boot::START_PAGE, boot::START_PAGE + len as u64);
    STARTING.store(cpu as u32, Ordering::SeqCst);
    ipi::init(cpu);
    let mut spins = 0u64;
    while !is_there() {
        // The second message is for a CPU that missed the first.
        if spins == 200_000 || spins == 200_000_000 {
            ipi::startup(cpu, (boot::START_PAGE >> 12) as u8);
        }
        assert!(spins < 20_000_000_000, "CPU {cpu} does not start");
        spins += 1;
        core::hint::spin_loop();
    }
}
