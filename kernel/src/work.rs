//! What the other CPUs do: one function again and again, until it is over.

use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::arch;
use crate::engine::MEETING;
use crate::{CPUS, arch::ipi};

static JOB: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// How often each CPU has done its job since it was given out.
static DONE: [AtomicU64; CPUS] = [const { AtomicU64::new(0) }; CPUS];
/// Odd while a CPU does something.
static AT_WORK: [AtomicU64; CPUS] = [const { AtomicU64::new(0) }; CPUS];

/// The other CPUs' whole life.
pub(crate) fn forever(cpu: usize) -> ! {
    loop {
        // SeqCst: see `end`.
        AT_WORK[cpu].fetch_add(1, Ordering::SeqCst);
        let job = JOB.load(Ordering::SeqCst);
        if !job.is_null() {
            // SAFETY: `begin` stored it.
            unsafe { core::mem::transmute::<*mut (), fn(usize)>(job)(cpu) };
            DONE[cpu].fetch_add(1, Ordering::Relaxed);
        }
        AT_WORK[cpu].fetch_add(1, Ordering::SeqCst);
        if job.is_null() {
            arch::idle(|| !JOB.load(Ordering::SeqCst).is_null());
        }
    }
}

/// The other CPUs that are there.
pub fn others() -> impl Iterator<Item = usize> {
    (1..CPUS).filter(|&cpu| MEETING.is_online(cpu))
}

/// Gives the other CPUs a job.
pub fn begin_soon(job: fn(usize)) {
    DONE.iter().for_each(|done| done.store(0, Ordering::Relaxed));
    JOB.store(job as *mut (), Ordering::SeqCst);
    others().for_each(ipi::send);
}

/// Gives the other CPUs a job, and returns when each has done it once.
pub fn begin(job: fn(usize)) {
    begin_soon(job);
    while others().any(|cpu| DONE[cpu].load(Ordering::Relaxed) == 0) {
        core::hint::spin_loop();
    }
}

/// Takes it away, and returns when nobody is at it any more; how often it was done.
pub fn end() -> u64 {
    JOB.store(core::ptr::null_mut(), Ordering::SeqCst);
    for cpu in others() {
        // Either it sees no job, or we see it at work.
        let seen = AT_WORK[cpu].load(Ordering::SeqCst);
        while seen % 2 == 1 && AT_WORK[cpu].load(Ordering::SeqCst) == seen {
            core::hint::spin_loop();
        }
    }
    done()
}

/// How often the job was done until now, by all.
pub fn done() -> u64 {
    DONE.iter().map(|done| done.load(Ordering::Relaxed)).sum()
}
