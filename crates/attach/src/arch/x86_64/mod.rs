//! x86-64.

pub mod frame;
pub mod regs;
pub mod trampoline;
pub mod way_home;

use std::io;
use std::ops::Range;

pub use object::elf::EM_X86_64 as MACHINE;
/// The only relocation that an agent image may need.
pub use object::elf::R_X86_64_RELATIVE as RELATIVE;
use textpoke_core::isa::X86_64;
use textpoke_core::{Kind, Site};
use textpoke_trace::local::{GS_WINDOW_END, GS_WINDOW_START};

use crate::error::Error;
use crate::proc::{self, Mapping};

/// The instruction set.
pub type Isa = X86_64;
/// What its programs are called.
pub const NAME: &str = "x86-64";
/// `syscall`, as every vdso contains it (its clock functions fall back to the system call).
pub const SYSCALL: &[u8] = &[0x0f, 0x05];
/// `si_code` of the SIGTRAP that the kernel raises for an INT3: `SI_KERNEL`.
pub const TRAP_CODE: i32 = 0x80;
/// How far a `JMP rel32` and a RIP-relative operand reach, with a margin for where exactly they stand.
pub const REACH: u64 = (1 << 31) - (1 << 20);
/// Whether a stopped thread's registers tell less of its interrupted system call than what was seen before the stop.
pub const NEEDS_SLEEPERS: bool = false;
/// Whether the agent has code of its own that signal handlers return to.
pub const RESTORER: bool = true;

/// How many thread headers this many rings have: one each, which the GS base leads to.
pub fn headers(rings: usize) -> usize {
    rings
}

/// End of user space with four-level page tables.
pub fn highest(_maps: &[Mapping]) -> u64 {
    0x7fff_ffff_f000
}

/// A signal action as the kernel takes it. Everything is blocked while the handler runs.
pub fn action(handler: u64, flags: u64, restorer: u64) -> Vec<u64> {
    const SA_RESTORER: u64 = 0x0400_0000;
    vec![handler, flags | SA_RESTORER, restorer, u64::MAX]
}

/// Where LOCAL and TABLE go: where the probe looks for a GS base of ours.
pub fn window(_maps: &[Mapping]) -> Range<u64> {
    GS_WINDOW_START..GS_WINDOW_END
}

/// The protocol by which these sites get their jumps, in one batch.
pub fn kind(_sites: &[Site]) -> Kind {
    Kind::Displace
}

/// The protocol by which they are put right from outside.
pub fn kind_of_repair(_sites: &[Site]) -> Kind {
    Kind::Displace
}

/// Whether keys can be flipped from outside: the hand that does it is machine code.
pub const KEYS: bool = true;

/// The protocol that flips the sites of keys.
pub const KIND_OF_KEYS: Kind = Kind::Breakpoint;

/// System calls that go on by themselves when a stop interrupts them.
pub fn kernel_restarts(call: i64) -> bool {
    matches!(
        call,
        libc::SYS_futex
            | libc::SYS_poll
            | libc::SYS_ppoll
            | libc::SYS_select
            | libc::SYS_pselect6
            | libc::SYS_nanosleep
            | libc::SYS_clock_nanosleep
            | libc::SYS_wait4
            | libc::SYS_waitid
            | libc::SYS_read
            | libc::SYS_pause
            | libc::SYS_rt_sigsuspend
            | libc::SYS_accept
            | libc::SYS_accept4
    )
}

/// Whether a thread that sleeps in this call may be waiting for its vfork child.
pub fn may_vfork(call: i64) -> bool {
    matches!(call, libc::SYS_vfork | libc::SYS_clone | libc::SYS_clone3)
}

/// Whether CPU and kernel give the process what the probe needs: it finds a thread's ring by the FS and GS bases
/// (`RDFSBASE`, `RDGSBASE`), and the copy of a displaced call pushes a return address that no shadow stack would know.
pub fn features(pid: i32) -> Result<(), Error> {
    if proc::status(pid).is_ok_and(|s| s.shadow_stack) {
        return Err(Error::Unsupported(
            "the program runs with a shadow stack (CET); start it with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off",
        ));
    }
    const HWCAP2_FSGSBASE: u64 = 1 << 1;
    match proc::auxv(pid, libc::AT_HWCAP2) {
        Ok(Some(caps)) if caps & HWCAP2_FSGSBASE != 0 => Ok(()),
        Ok(_) => {
            Err(Error::Unsupported("RDGSBASE is not enabled for programs (Linux 5.9 or later on a CPU with FSGSBASE)"))
        }
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Err(Error::Denied(pid)),
        Err(_) => Err(Error::Gone(pid)),
    }
}

/// The counter that probes record, now.
pub fn ticks() -> u64 {
    // SAFETY: every x86-64 CPU has RDTSC; Linux lets programs use it (preflight's target shares this CPU).
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Ticks per second, where the machine says so.
pub fn hz() -> Option<f64> {
    None
}
