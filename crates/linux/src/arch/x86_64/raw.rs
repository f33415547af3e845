//! The instruction and the numbers (x86-64).

use core::arch::asm;

/// A system call with up to three arguments; returns what the kernel returns, errors as small negative numbers.
///
/// # Safety
/// Whatever the kernel does for `nr` with these arguments must be sound.
#[inline(always)]
pub unsafe fn syscall3(nr: usize, a: usize, b: usize, c: usize) -> isize {
    let ret;
    // SAFETY: the kernel preserves everything but RAX, RCX and R11, which are named; memory effects are the caller's duty.
    unsafe {
        asm!("syscall", inlateout("rax") nr => ret, in("rdi") a, in("rsi") b, in("rdx") c,
             out("rcx") _, out("r11") _, options(nostack));
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
        asm!("syscall", inlateout("rax") nr => ret, in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
             in("r10") args[3], in("r8") args[4], in("r9") args[5], out("rcx") _, out("r11") _, options(nostack));
    }
    ret
}

/// Numbers, from `arch/x86/entry/syscalls/syscall_64.tbl`.
pub(crate) mod nr {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const FSTAT: usize = 5;
    pub const LSEEK: usize = 8;
    pub const MMAP: usize = 9;
    pub const MPROTECT: usize = 10;
    pub const MUNMAP: usize = 11;
    pub const RT_SIGACTION: usize = 13;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const PREAD64: usize = 17;
    pub const PWRITE64: usize = 18;
    pub const SCHED_YIELD: usize = 24;
    pub const MADVISE: usize = 28;
    pub const NANOSLEEP: usize = 35;
    pub const GETPID: usize = 39;
    pub const EXIT: usize = 60;
    pub const GETPPID: usize = 110;
    pub const PRCTL: usize = 157;
    pub const ARCH_PRCTL: usize = 158;
    pub const GETTID: usize = 186;
    pub const FUTEX: usize = 202;
    pub const SCHED_SETAFFINITY: usize = 203;
    pub const SCHED_GETAFFINITY: usize = 204;
    pub const GETDENTS64: usize = 217;
    pub const CLOCK_GETTIME: usize = 228;
    pub const EXIT_GROUP: usize = 231;
    pub const TGKILL: usize = 234;
    pub const OPENAT: usize = 257;
    pub const PPOLL: usize = 271;
    pub const RT_TGSIGQUEUEINFO: usize = 297;
    pub const PROCESS_VM_READV: usize = 310;
    pub const MEMBARRIER: usize = 324;
    pub const CLOSE_RANGE: usize = 436;
}
