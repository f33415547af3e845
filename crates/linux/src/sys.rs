//! System calls without libc: no errno, no cancellation points, no symbols that somebody could interpose or patch.
//!
//! Only what the engine and the agent need. Each wrapper is as unsafe as what the kernel does with its arguments.

use core::fmt;

use crate::arch::nr;
pub use crate::arch::{has_shadow_stack, syscall3, syscall6};
use textpoke_core::Cause;

/// A kernel's refusal, as the positive number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// No such process or thread.
    pub const SRCH: Self = Self(3);
    /// Interrupted by a signal.
    pub const INTR: Self = Self(4);
    /// Try again.
    pub const AGAIN: Self = Self(11);
    /// Invalid argument.
    pub const INVAL: Self = Self(22);
    /// No such system call.
    pub const NOSYS: Self = Self(38);
    /// Timed out.
    pub const TIMEDOUT: Self = Self(110);
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({})", self.0)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "errno {}", self.0)
    }
}

impl core::error::Error for Errno {}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        Self::Os(errno.0)
    }
}

/// What a system call returns.
pub type Result<T = ()> = core::result::Result<T, Errno>;

pub(crate) fn check(ret: isize) -> Result<usize> {
    // The kernel keeps the top 4095 values for errors.
    if (-4095..0).contains(&ret) { Err(Errno(-ret as i32)) } else { Ok(ret as usize) }
}

/// A time span as the kernel reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Timespec {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nsec: i64,
}

impl Timespec {
    /// From nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self { sec: (nanos / 1_000_000_000) as i64, nsec: (nanos % 1_000_000_000) as i64 }
    }
}

/// One descriptor of a [`poll`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PollFd {
    /// The descriptor.
    pub fd: i32,
    /// What to wait for.
    pub events: i16,
    /// What happened.
    pub revents: i16,
}

/// Bits of protections, mapping flags, advice and so on, as the kernel numbers them.
pub mod flags {
    /// Pages can be read.
    pub const PROT_READ: u32 = 1;
    /// Pages can be written.
    pub const PROT_WRITE: u32 = 2;
    /// Pages can be executed.
    pub const PROT_EXEC: u32 = 4;
    /// Changes are seen by everybody who maps the same object.
    pub const MAP_SHARED: u32 = 1;
    /// Changes stay in this process.
    pub const MAP_PRIVATE: u32 = 2;
    /// Exactly there, replacing what is there.
    pub const MAP_FIXED: u32 = 0x10;
    /// No file.
    pub const MAP_ANONYMOUS: u32 = 0x20;
    /// Exactly there, or fail.
    pub const MAP_FIXED_NOREPLACE: u32 = 0x10_0000;
    /// A fork child sees zeros.
    pub const MADV_WIPEONFORK: u32 = 18;
    /// Fault all pages in for writing (Linux 5.14).
    pub const MADV_POPULATE_WRITE: u32 = 23;
    /// Read only.
    pub const O_RDONLY: u32 = 0;
    /// Read and write.
    pub const O_RDWR: u32 = 2;
    /// Must be a directory.
    pub const O_DIRECTORY: u32 = crate::arch::O_DIRECTORY;
    /// Closed by exec.
    pub const O_CLOEXEC: u32 = 0o2_000_000;
}

/// `mprotect(2)`.
///
/// # Safety
/// Nobody may depend on the old protections of `[start, start + len)` while the new ones stand.
pub unsafe fn mprotect(start: u64, len: u64, prot: u32) -> Result {
    // SAFETY: the caller's duty.
    check(unsafe { syscall3(nr::MPROTECT, start as usize, len as usize, prot as usize) }).map(drop)
}

/// `madvise(2)`.
///
/// # Safety
/// The advice must not throw away contents that somebody still needs.
pub unsafe fn madvise(start: u64, len: u64, advice: u32) -> Result {
    // SAFETY: the caller's duty.
    check(unsafe { syscall3(nr::MADVISE, start as usize, len as usize, advice as usize) }).map(drop)
}

/// `mmap(2)`; returns the address.
///
/// # Safety
/// With [`flags::MAP_FIXED`] nothing that is in use may lie in the range.
pub unsafe fn mmap(addr: u64, len: u64, prot: u32, map: u32, fd: i32, offset: u64) -> Result<u64> {
    // SAFETY: the caller's duty.
    let ret = unsafe {
        syscall6(
            nr::MMAP,
            [addr as usize, len as usize, prot as usize, map as usize, fd as isize as usize, offset as usize],
        )
    };
    check(ret).map(|addr| addr as u64)
}

/// `munmap(2)`.
///
/// # Safety
/// Nobody may use the range any more.
pub unsafe fn munmap(addr: u64, len: u64) -> Result {
    // SAFETY: the caller's duty.
    check(unsafe { syscall3(nr::MUNMAP, addr as usize, len as usize, 0) }).map(drop)
}

/// `membarrier(2)` with `cmd` and no flags.
pub fn membarrier(cmd: u32) -> Result<usize> {
    // SAFETY: touches no memory of the caller.
    check(unsafe { syscall3(nr::MEMBARRIER, cmd as usize, 0, 0) })
}

/// `openat(2)` relative to the working directory; `path` must end in a zero byte.
pub fn open(path: &[u8], how: u32) -> Result<i32> {
    open_at(-100, path, how)
}

/// `openat(2)` relative to directory `dir`; `path` must end in a zero byte.
pub fn open_at(dir: i32, path: &[u8], how: u32) -> Result<i32> {
    if path.last() != Some(&0) {
        return Err(Errno::INVAL);
    }
    // SAFETY: `path` is terminated, and the kernel only reads it.
    let ret = unsafe { syscall6(nr::OPENAT, [dir as isize as usize, path.as_ptr() as usize, how as usize, 0, 0, 0]) };
    check(ret).map(|fd| fd as i32)
}

/// `close(2)`.
pub fn close(fd: i32) -> Result {
    // SAFETY: touches no memory.
    check(unsafe { syscall3(nr::CLOSE, fd as usize, 0, 0) }).map(drop)
}

/// `close_range(2)`: closes the descriptors `first..=last`.
pub fn close_range(first: u32, last: u32) -> Result {
    // SAFETY: touches no memory.
    check(unsafe { syscall3(nr::CLOSE_RANGE, first as usize, last as usize, 0) }).map(drop)
}

/// `read(2)`.
pub fn read(fd: i32, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes into `buf` only.
    check(unsafe { syscall3(nr::READ, fd as usize, buf.as_mut_ptr() as usize, buf.len()) })
}

/// `write(2)`.
pub fn write(fd: i32, buf: &[u8]) -> Result<usize> {
    // SAFETY: the kernel reads from `buf` only.
    check(unsafe { syscall3(nr::WRITE, fd as usize, buf.as_ptr() as usize, buf.len()) })
}

/// `pread64(2)`.
pub fn pread(fd: i32, buf: &mut [u8], offset: u64) -> Result<usize> {
    let args = [fd as usize, buf.as_mut_ptr() as usize, buf.len(), offset as usize, 0, 0];
    // SAFETY: the kernel writes into `buf` only.
    check(unsafe { syscall6(nr::PREAD64, args) })
}

/// `pwrite64(2)`.
///
/// # Safety
/// If `fd` is a view of memory (`/proc/PID/mem`), the bytes there must be free to be changed.
pub unsafe fn pwrite(fd: i32, buf: &[u8], offset: u64) -> Result<usize> {
    let args = [fd as usize, buf.as_ptr() as usize, buf.len(), offset as usize, 0, 0];
    // SAFETY: the kernel reads from `buf` only; what it writes to is the caller's duty.
    check(unsafe { syscall6(nr::PWRITE64, args) })
}

/// `getdents64(2)`.
pub fn getdents(fd: i32, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes into `buf` only.
    check(unsafe { syscall3(nr::GETDENTS64, fd as usize, buf.as_mut_ptr() as usize, buf.len()) })
}

/// Back to the start of a directory or file.
pub fn rewind(fd: i32) -> Result {
    // SAFETY: touches no memory.
    check(unsafe { syscall3(nr::LSEEK, fd as usize, 0, 0) }).map(drop)
}

/// The number of links of an open file (`fstat(2)`).
pub fn links(fd: i32) -> Result<u64> {
    let mut stat = [0u64; 18];
    // SAFETY: the kernel writes struct stat, of 144 bytes on x86-64 and 128 elsewhere.
    check(unsafe { syscall3(nr::FSTAT, fd as usize, stat.as_mut_ptr() as usize, 0) })?;
    Ok(crate::arch::links(&stat))
}

/// Copies from this process's own memory without faulting where nothing is mapped; returns the number of bytes read.
pub fn read_own_memory(addr: u64, buf: &mut [u8]) -> Result<usize> {
    let local = [buf.as_mut_ptr() as usize, buf.len()];
    let remote = [addr as usize, buf.len()];
    let args = [getpid() as usize, local.as_ptr() as usize, 1, remote.as_ptr() as usize, 1, 0];
    // SAFETY: the kernel writes into `buf` only, through two vectors that live until the call returns.
    match check(unsafe { syscall6(nr::PROCESS_VM_READV, args) }) {
        // Kernels may be built without it, and QEMU's user mode does not pass it on.
        Err(Errno::NOSYS) => {
            let fd = open(b"/proc/self/mem\0", flags::O_RDONLY | flags::O_CLOEXEC)?;
            let read = pread(fd, buf, addr);
            let _ = close(fd);
            read
        }
        other => other,
    }
}

/// `rt_sigaction(2)` as the kernel defines it: `new` and `old` point to a [`crate::signal::Action`] or are null.
///
/// # Safety
/// `new` must describe a handler that may run at any moment, with a restorer.
pub unsafe fn rt_sigaction(sig: i32, new: *const crate::signal::Action, old: *mut crate::signal::Action) -> Result {
    // SAFETY: the caller's duty; 8 is the size of the kernel's signal set.
    check(unsafe { syscall6(nr::RT_SIGACTION, [sig as usize, new as usize, old as usize, 8, 0, 0]) }).map(drop)
}

/// `rt_sigprocmask(SIG_SETMASK)`: sets the calling thread's mask and returns the old one.
pub fn set_sigmask(mask: u64) -> Result<u64> {
    let mut old = 0u64;
    let args = [2, &raw const mask as usize, &raw mut old as usize, 8, 0, 0];
    // SAFETY: both pointers live until the call returns.
    check(unsafe { syscall6(nr::RT_SIGPROCMASK, args) })?;
    Ok(old)
}

/// The calling thread's signal mask.
pub fn sigmask() -> Result<u64> {
    let mut mask = 0u64;
    // SAFETY: sets nothing; the kernel writes to `mask` only.
    check(unsafe { syscall6(nr::RT_SIGPROCMASK, [0, 0, &raw mut mask as usize, 8, 0, 0]) })?;
    Ok(mask)
}

/// `tgkill(2)`.
pub fn tgkill(pid: i32, tid: i32, sig: i32) -> Result {
    // SAFETY: touches no memory.
    check(unsafe { syscall3(nr::TGKILL, pid as usize, tid as usize, sig as usize) }).map(drop)
}

/// `rt_tgsigqueueinfo(2)`: sends `info` to one thread.
pub fn sigqueue_thread(pid: i32, tid: i32, sig: i32, info: &crate::signal::Info) -> Result {
    let args = [pid as usize, tid as usize, sig as usize, core::ptr::from_ref(info) as usize, 0, 0];
    // SAFETY: the kernel reads `info` only.
    check(unsafe { syscall6(nr::RT_TGSIGQUEUEINFO, args) }).map(drop)
}

/// `gettid(2)`.
pub fn gettid() -> i32 {
    // SAFETY: touches no memory.
    (unsafe { syscall3(nr::GETTID, 0, 0, 0) }) as i32
}

/// `getpid(2)`.
pub fn getpid() -> i32 {
    // SAFETY: touches no memory.
    (unsafe { syscall3(nr::GETPID, 0, 0, 0) }) as i32
}

/// `getppid(2)`.
pub fn getppid() -> i32 {
    // SAFETY: touches no memory.
    (unsafe { syscall3(nr::GETPPID, 0, 0, 0) }) as i32
}

/// Waits until `word` is woken, as long as it holds `expected`. Works across processes that share the memory.
pub fn futex_wait(word: &core::sync::atomic::AtomicU32, expected: u32, timeout: Option<Timespec>) -> Result {
    let timeout = timeout.as_ref().map_or(0, |t| core::ptr::from_ref(t) as usize);
    // SAFETY: the kernel reads `word` and `timeout`, which live until the call returns.
    check(unsafe { syscall6(nr::FUTEX, [word.as_ptr() as usize, 0, expected as usize, timeout, 0, 0]) }).map(drop)
}

/// Wakes up to `count` waiters of `word`; returns how many there were.
pub fn futex_wake(word: &core::sync::atomic::AtomicU32, count: u32) -> Result<usize> {
    // SAFETY: the kernel uses the address only as a name.
    check(unsafe { syscall3(nr::FUTEX, word.as_ptr() as usize, 1, count as usize) })
}

/// `poll(2)`, by way of `ppoll`; `timeout` in milliseconds, negative for none. Returns the number of descriptors with events.
pub fn poll(fds: &mut [PollFd], timeout: i32) -> Result<usize> {
    let span = u64::try_from(timeout).ok().map(|millis| Timespec::from_nanos(millis * 1_000_000));
    let timeout = span.as_ref().map_or(0, |span| core::ptr::from_ref(span) as usize);
    // SAFETY: the kernel writes into `fds` and `span` only; no mask is given.
    check(unsafe { syscall6(nr::PPOLL, [fds.as_mut_ptr() as usize, fds.len(), timeout, 0, 0, 0]) })
}

/// `prctl(2)`.
///
/// # Safety
/// Depends on `op`: the kernel may write through the arguments and change how the process runs.
pub unsafe fn prctl(op: u32, args: [usize; 4]) -> Result<usize> {
    // SAFETY: the caller's duty.
    check(unsafe { syscall6(nr::PRCTL, [op as usize, args[0], args[1], args[2], args[3], 0]) })
}

/// Lets another thread run.
pub fn yield_now() {
    // SAFETY: touches no memory.
    unsafe { syscall3(nr::SCHED_YIELD, 0, 0, 0) };
}

/// Sleeps; returns early when a signal arrives.
pub fn nap(nanos: u64) {
    let span = Timespec::from_nanos(nanos);
    // SAFETY: the kernel reads `span` only.
    unsafe { syscall3(nr::NANOSLEEP, &raw const span as usize, 0, 0) };
}

/// Monotonic time in nanoseconds.
pub fn now() -> u64 {
    let mut time = Timespec { sec: 0, nsec: 0 };
    // SAFETY: the kernel writes `time` only.
    unsafe { syscall3(nr::CLOCK_GETTIME, 1, &raw mut time as usize, 0) };
    time.sec as u64 * 1_000_000_000 + time.nsec as u64
}

/// Binds thread `tid` (0: the caller) to the CPUs whose bits are set.
pub fn set_affinity(tid: i32, cpus: &[u64]) -> Result {
    // SAFETY: the kernel reads `cpus` only.
    check(unsafe { syscall3(nr::SCHED_SETAFFINITY, tid as usize, size_of_val(cpus), cpus.as_ptr() as usize) }).map(drop)
}

/// Reads on which CPUs thread `tid` (0: the caller) may run.
pub fn affinity(tid: i32, cpus: &mut [u64]) -> Result {
    // SAFETY: the kernel writes into `cpus` only.
    check(unsafe { syscall3(nr::SCHED_GETAFFINITY, tid as usize, size_of_val(cpus), cpus.as_mut_ptr() as usize) })
        .map(drop)
}

/// Ends the process.
pub fn exit_group(status: i32) -> ! {
    loop {
        // SAFETY: does not return.
        unsafe { syscall3(nr::EXIT_GROUP, status as usize, 0, 0) };
    }
}

/// Ends the calling thread (of a process that is one thread: the process).
pub fn exit_thread(status: i32) -> ! {
    loop {
        // SAFETY: does not return.
        unsafe { syscall3(nr::EXIT, status as usize, 0, 0) };
    }
}
