//! What keeps a child from leaving anything behind.

use textpoke_linux::sys;

/// Ends with the parent, leaves no core file.
///
/// # Errors
/// When the parent is gone already, or the kernel refuses.
pub fn be_a_child(parent: u32) -> Result<(), String> {
    const PR_SET_PDEATHSIG: u32 = 1;
    const SIGKILL: usize = 9;
    // SAFETY: a signal to be sent; no memory is involved.
    unsafe { sys::prctl(PR_SET_PDEATHSIG, [SIGKILL, 0, 0, 0]) }
        .map_err(|e| format!("PR_SET_PDEATHSIG failed ({e})"))?;
    // It may have ended between the fork and now, and then no signal comes.
    if sys::getppid() as u32 != parent {
        return Err("the parent is gone".into());
    }
    // One byte is too little for a core file, and the one value with which the kernel starts no program for it either
    // (fs/coredump.c, where `core_pattern` is a pipe).
    let limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
    // SAFETY: the kernel reads `limit` only. Where the hard limit is lower, it is 0, and stays.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const limit) };
    Ok(())
}

/// Has sleeps of the calling thread end when they should: by default they take 50 µs more.
pub fn wake_in_time() {
    const PR_SET_TIMERSLACK: u32 = 29;
    // SAFETY: a number; no memory is involved. Without it everything takes longer.
    let _ = unsafe { sys::prctl(PR_SET_TIMERSLACK, [1, 0, 0, 0]) };
}

/// Binds the calling thread to a CPU, if one is given.
///
/// # Errors
/// The kernel's refusal.
pub fn bind_to(cpu: Option<usize>) -> Result<(), String> {
    let Some(cpu) = cpu else { return Ok(()) };
    let mut mask = [0u64; 16];
    *mask.get_mut(cpu / 64).ok_or("a CPU's number is above 1023")? |= 1 << (cpu % 64);
    sys::set_affinity(0, &mask).map_err(|e| format!("a thread cannot be bound to CPU {cpu} ({e})"))
}

/// Nanoseconds that a thread of this process has run on CPUs. `None` where the kernel does not say.
pub fn cpu_time(tid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
