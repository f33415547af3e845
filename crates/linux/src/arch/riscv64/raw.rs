//! The instruction and the numbers (RISC-V).

use core::arch::asm;

/// A system call with up to three arguments; returns what the kernel returns, errors as small negative numbers.
///
/// # Safety
/// Whatever the kernel does for `nr` with these arguments must be sound.
#[inline(always)]
pub unsafe fn syscall3(nr: usize, a: usize, b: usize, c: usize) -> isize {
    let ret;
    // SAFETY: the kernel preserves every register but a0, which is named, and the vector registers, which the target that this is
    // compiled for does not have; memory effects are the caller's duty.
    unsafe {
        asm!("ecall", in("a7") nr, inlateout("a0") a => ret, in("a1") b, in("a2") c, options(nostack));
    }
    ret
}

/// A system call with six arguments.
///
/// # Safety
/// Whatever the kernel does for `nr` with these arguments must be sound.
#[inline(always)]
pub unsafe fn syscall6(nr: usize, args: [usize; 6]) -> isize {
    let ret;
    // SAFETY: as above.
    unsafe {
        asm!("ecall", in("a7") nr, inlateout("a0") args[0] => ret, in("a1") args[1], in("a2") args[2],
             in("a3") args[3], in("a4") args[4], in("a5") args[5], options(nostack));
    }
    ret
}

/// Numbers, from `include/uapi/asm-generic/unistd.h`, which newer instruction sets share.
pub(crate) mod nr {
    pub const OPENAT: usize = 56;
    pub const CLOSE: usize = 57;
    pub const GETDENTS64: usize = 61;
    pub const LSEEK: usize = 62;
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const PREAD64: usize = 67;
    pub const PWRITE64: usize = 68;
    pub const PPOLL: usize = 73;
    pub const FSTAT: usize = 80;
    pub const EXIT: usize = 93;
    pub const EXIT_GROUP: usize = 94;
    pub const FUTEX: usize = 98;
    pub const NANOSLEEP: usize = 101;
    pub const CLOCK_GETTIME: usize = 113;
    pub const SCHED_SETAFFINITY: usize = 122;
    pub const SCHED_GETAFFINITY: usize = 123;
    pub const SCHED_YIELD: usize = 124;
    pub const TGKILL: usize = 131;
    pub const RT_SIGACTION: usize = 134;
    pub const RT_SIGPROCMASK: usize = 135;
    pub const PRCTL: usize = 167;
    pub const GETPID: usize = 172;
    pub const GETPPID: usize = 173;
    pub const GETTID: usize = 178;
    pub const MUNMAP: usize = 215;
    pub const MMAP: usize = 222;
    pub const MPROTECT: usize = 226;
    pub const MADVISE: usize = 233;
    pub const RT_TGSIGQUEUEINFO: usize = 240;
    pub const RISCV_FLUSH_ICACHE: usize = 259;
    pub const PROCESS_VM_READV: usize = 270;
    pub const MEMBARRIER: usize = 283;
    pub const CLOSE_RANGE: usize = 436;
}
