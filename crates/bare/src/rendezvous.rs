//! Cross-calls and parking for a kernel that has an interrupt to send, and nothing else yet.
//!
//! The one who asks writes down a number and interrupts the others; each answers by writing the same number. Whoever is
//! asked while all shall park stays in the answer until they may go. A CPU that comes online asks itself.

use core::sync::atomic::fence;
use core::sync::atomic::{
    AtomicBool, AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst,
};

use textpoke_core::Cause;

/// Where up to `CPUS` CPUs meet: one per kernel.
#[derive(Debug)]
pub struct Rendezvous<const CPUS: usize> {
    /// Number of the last request. One requester at a time.
    asked: AtomicU32,
    /// Whether whoever answers stays.
    parking: AtomicBool,
    cpus: [Cpu; CPUS],
}

#[repr(align(128))]
#[derive(Debug)]
struct Cpu {
    online: AtomicBool,
    answered: AtomicU32,
}

impl Cpu {
    const fn new() -> Self {
        Self { online: AtomicBool::new(false), answered: AtomicU32::new(0) }
    }
}

impl<const CPUS: usize> Rendezvous<CPUS> {
    /// Nobody is online.
    pub const fn new() -> Self {
        Self { asked: AtomicU32::new(0), parking: AtomicBool::new(false), cpus: [const { Cpu::new() }; CPUS] }
    }

    /// To be called by a CPU about itself when it can be interrupted, or soon will be, and before it executes anything that
    /// may be patched. It may have to wait for a change that is under way.
    ///
    /// Its trap and NMI vectors must be in place. Panics if `cpu` is no number of a CPU.
    pub fn online(&self, cpu: usize) {
        self.cpus[cpu].online.store(true, SeqCst);
        // Pairs with the fence in `request`: either the requester sees us online and asks, or we see what it asked.
        fence(SeqCst);
        self.answer(cpu);
        textpoke_cpu::serialize();
    }

    /// To be called by a CPU about itself: from now on it executes nothing that may be patched.
    pub fn offline(&self, cpu: usize) {
        self.cpus[cpu].online.store(false, Release);
    }

    /// Whether a CPU is online.
    pub fn is_online(&self, cpu: usize) -> bool {
        self.cpus.get(cpu).is_some_and(|cpu| cpu.online.load(Acquire))
    }

    /// To be called in the interrupt that [`Rendezvous::sync`] and [`Rendezvous::park`] send, with interrupts off. Once more
    /// than needed does no harm.
    pub fn answer(&self, cpu: usize) {
        self.answer_with(cpu, textpoke_cpu::serialize, core::hint::spin_loop);
    }

    /// [`Rendezvous::answer`] with a function that does more than to pass a context synchronising point, such as forgetting
    /// translations, and one for the time in which it is parked, for CPUs that share theirs with somebody.
    pub fn answer_with(&self, cpu: usize, synchronise: impl Fn(), idle: impl Fn()) {
        let me = &self.cpus[cpu];
        let mut stayed = false;
        loop {
            // Acquire pairs with the Release of `request`: the stores to text come before, and `parking`.
            let asked = self.asked.load(Acquire);
            if me.answered.load(Relaxed) != asked {
                synchronise();
                // Pairs with the Acquire of `request`: nothing that was fetched before is executed behind it.
                me.answered.store(asked, Release);
            }
            // SeqCst for `online`, see there. Acquire pairs with the Release of `unpark`.
            if !self.parking.load(SeqCst) {
                break;
            }
            stayed = true;
            idle();
        }
        if stayed {
            synchronise();
        }
    }

    /// Returns when every other CPU that is online has answered since the call. `send` interrupts one; `wait` is called while
    /// one has not answered, with a number that counts from 0, and gives up by false. While all are parked none is
    /// interrupted, because they look by themselves.
    ///
    /// # Errors
    /// [`Cause::TimedOut`] when `wait` gave up.
    pub fn sync(&self, me: usize, send: impl FnMut(usize), wait: impl FnMut(u64) -> bool) -> Result<(), Cause> {
        let (parked, mut send) = (self.parking.load(Relaxed), send);
        self.request(
            me,
            |cpu| {
                if !parked {
                    send(cpu)
                }
            },
            wait,
        )
    }

    /// Returns when every other CPU that is online has come into [`Rendezvous::answer`], and stays there.
    ///
    /// # Errors
    /// [`Cause::TimedOut`] when `wait` gave up; all are released.
    pub fn park(&self, me: usize, send: impl FnMut(usize), wait: impl FnMut(u64) -> bool) -> Result<(), Cause> {
        if self.parking.load(Relaxed) {
            return Ok(());
        }
        // Before the request, so that whoever sees that stays; for `online` the fence orders it.
        self.parking.store(true, SeqCst);
        let done = self.request(me, send, wait);
        if done.is_err() {
            self.unpark();
        }
        done
    }

    /// Lets them go.
    pub fn unpark(&self) {
        // Pairs with the load of `answer_with`: whoever goes on sees what was written meanwhile.
        self.parking.store(false, Release);
    }

    fn request(&self, me: usize, mut send: impl FnMut(usize), mut wait: impl FnMut(u64) -> bool) -> Result<(), Cause> {
        let asked = self.asked.load(Relaxed).wrapping_add(1);
        self.asked.store(asked, SeqCst);
        // Pairs with the fence of `online`.
        fence(SeqCst);
        let others = || self.cpus.iter().enumerate().filter(|&(cpu, _)| cpu != me);
        for (cpu, other) in others() {
            if other.online.load(Acquire) {
                send(cpu);
            }
        }
        for (_, other) in others() {
            let mut turns = 0;
            // Whoever came online meanwhile has asked itself, and answers, too; whoever went offline is not waited for.
            while other.online.load(Acquire) && other.answered.load(Acquire) != asked {
                if !wait(turns) {
                    return Err(Cause::TimedOut);
                }
                turns += 1;
            }
        }
        Ok(())
    }
}

impl<const CPUS: usize> Default for Rendezvous<CPUS> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU32};

    fn patiently(_: u64) -> bool {
        std::thread::yield_now();
        true
    }

    #[test]
    fn who_comes_online_while_all_are_parked_waits() {
        let meeting: Rendezvous<3> = Rendezvous::new();
        let (stop, passed) = (AtomicBool::new(false), AtomicU32::new(0));
        meeting.online(0);
        std::thread::scope(|scope| {
            let cpu = |cpu: usize| {
                let (meeting, stop, passed) = (&meeting, &stop, &passed);
                move || {
                    meeting.online(cpu);
                    passed.fetch_add(1, SeqCst);
                    // Threads that look for themselves stand for CPUs that are interrupted.
                    while !stop.load(SeqCst) {
                        meeting.answer(cpu);
                        std::thread::yield_now();
                    }
                    meeting.offline(cpu);
                }
            };
            scope.spawn(cpu(1));
            while passed.load(SeqCst) != 1 {
                std::thread::yield_now();
            }
            let mut sent = 0;
            meeting.park(0, |_| sent += 1, patiently).unwrap();
            assert_eq!(sent, 1);
            scope.spawn(cpu(2));
            while !meeting.is_online(2) {
                std::thread::yield_now();
            }
            // It answers, and does not get past.
            meeting.sync(0, |_| panic!("parked CPUs look by themselves"), patiently).unwrap();
            assert_eq!(passed.load(SeqCst), 1);
            meeting.unpark();
            while passed.load(SeqCst) != 2 {
                std::thread::yield_now();
            }
            meeting.sync(0, |_| {}, patiently).unwrap();
            stop.store(true, SeqCst);
        });
        meeting.sync(0, |cpu| panic!("{cpu} is offline"), |_| false).unwrap();
    }

    #[test]
    fn a_cpu_that_does_not_come_lets_the_others_go() {
        let meeting: Rendezvous<2> = Rendezvous::new();
        meeting.online(0);
        meeting.online(1);
        assert_eq!(meeting.park(0, |_| {}, |turns| turns < 5), Err(Cause::TimedOut));
        // Nothing keeps it.
        meeting.answer(1);
        assert_eq!(meeting.sync(0, |_| meeting.answer(1), |_| false), Ok(()));
    }
}
