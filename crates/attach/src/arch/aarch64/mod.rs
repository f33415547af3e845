//! AArch64.

pub mod frame;
pub mod regs;
pub mod trampoline;
pub mod way_home;

use std::arch::asm;
use std::io;
use std::ops::Range;

pub use object::elf::EM_AARCH64 as MACHINE;
/// The only relocation that an agent image may need.
pub use object::elf::R_AARCH64_RELATIVE as RELATIVE;
use textpoke_core::isa::{Aarch64, Isa as _};
use textpoke_core::{Direction, Kind, Site};
use textpoke_trace::layout::PAGE;
use textpoke_trace::local::{self, GS_WINDOW_END, GS_WINDOW_START};

use crate::error::Error;
use crate::proc::{self, Mapping};

/// The instruction set.
pub type Isa = Aarch64;
/// What its programs are called.
pub const NAME: &str = "AArch64";
/// `svc #0`, as every vdso contains it (its clock functions fall back to the system call).
pub const SYSCALL: &[u8] = &0xd400_0001_u32.to_le_bytes();
/// `si_code` of the SIGTRAP that the kernel raises for a BRK: `TRAP_BRKPT`.
pub const TRAP_CODE: i32 = 1;
/// How far a `B` reaches, with a margin for where exactly it stands.
pub const REACH: u64 = (128 << 20) - (1 << 20);
/// Whether a stopped thread's registers tell less of its interrupted system call than what was seen before the stop: the
/// kernel forgets the call's number and first argument before it stops for a tracer (`do_signal`).
pub const NEEDS_SLEEPERS: bool = true;
/// Whether the agent has code of its own that signal handlers return to: the kernel's serves.
pub const RESTORER: bool = false;

/// How many thread headers this many rings have: a hash table.
pub fn headers(rings: usize) -> usize {
    local::hashed(rings)
}

/// End of user space: kernels are built for 39, 42, 47 or 48 bits of it, and the stack is at its top.
pub fn highest(maps: &[Mapping]) -> u64 {
    maps.last().map_or(0, |last| last.end)
}

/// A signal action as the kernel takes it. Everything is blocked while the handler runs.
pub fn action(handler: u64, flags: u64, _restorer: u64) -> Vec<u64> {
    vec![handler, flags, 0, u64::MAX]
}

/// Where LOCAL and TABLE go: far from everything that programs and kernels place there by themselves.
pub fn window(maps: &[Mapping]) -> Range<u64> {
    if highest(maps) > GS_WINDOW_END { GS_WINDOW_START..GS_WINDOW_END } else { 0x18_0000_0000..0x20_0000_0000 }
}

/// The protocol by which these sites get their jumps, in one batch: stores over running code where the architecture lets
/// every one of the instructions change so, else everybody is parked.
pub fn kind(sites: &[Site]) -> Kind {
    let live = |site: &Site| {
        Isa::live(site.addr, site.before(Direction::Install), site.after(Direction::Install)) && site.inner == 0
    };
    if sites.iter().all(live) { Kind::Word } else { Kind::Park }
}

/// The protocol by which they are put right from outside: what `/proc/PID/mem` writes is no single store.
pub fn kind_of_repair(_sites: &[Site]) -> Kind {
    Kind::Park
}

/// Whether keys can be flipped from outside: the hand that does it is machine code.
pub const KEYS: bool = false;

/// The protocol that flips the sites of keys.
pub const KIND_OF_KEYS: Kind = Kind::Word;

/// System calls that go on by themselves when a stop interrupts them.
pub fn kernel_restarts(call: i64) -> bool {
    matches!(
        call,
        libc::SYS_futex
            | libc::SYS_ppoll
            | libc::SYS_pselect6
            | libc::SYS_nanosleep
            | libc::SYS_clock_nanosleep
            | libc::SYS_wait4
            | libc::SYS_waitid
            | libc::SYS_read
            | libc::SYS_rt_sigsuspend
            | libc::SYS_accept
            | libc::SYS_accept4
    )
}

/// Whether a thread that sleeps in this call may be waiting for its vfork child.
pub fn may_vfork(call: i64) -> bool {
    matches!(call, libc::SYS_clone | libc::SYS_clone3)
}

/// Whether the kernel gives the process what the tracer needs.
pub fn features(pid: i32) -> Result<(), Error> {
    match proc::auxv(pid, libc::AT_PAGESZ) {
        Ok(Some(bytes)) if bytes == PAGE as u64 => Ok(()),
        Ok(_) => Err(Error::Unsupported("its pages are larger than 4 KiB")),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Err(Error::Denied(pid)),
        Err(_) => Err(Error::Gone(pid)),
    }
}

/// The counter that probes record, now: the virtual counter, which Linux lets programs read and its own clocks use.
pub fn ticks() -> u64 {
    let ticks;
    // SAFETY: reads a register that every AArch64 CPU has (Arm ARM DDI 0487, CNTVCT_EL0); where Linux traps the access it
    // answers for it.
    unsafe { asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack, preserves_flags)) };
    ticks
}

/// Ticks per second, as firmware has told the CPU.
pub fn hz() -> Option<f64> {
    let hz: u64;
    // SAFETY: as above (CNTFRQ_EL0).
    unsafe { asm!("mrs {}, cntfrq_el0", out(reg) hz, options(nomem, nostack, preserves_flags)) };
    // Firmware that has told it nothing leaves 0.
    (hz > 0).then_some(hz as f64)
}
