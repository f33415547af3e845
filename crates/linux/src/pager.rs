//! Having threads do something: a signal that nobody else uses, borrowed for the time of one step.
//!
//! That signal is not SIGTRAP: of two pending SIGTRAPs the kernel drops one, and it might drop a trap. Each request has a
//! number, and each thread that is asked a slot for its answer, so that one which answers too late is not taken for another.

use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::vec::Vec;

use textpoke_core::Cause;

use crate::handler;
use crate::signal::{Action, CODE_QUEUE, Info, SIG_DFL};
use crate::sys::{self, Errno};
use crate::ucontext::UContext;
use crate::{inside, park};

/// The upper 16 bits of the data that comes with a request; below are 24 bits of its number and 24 of the slot.
const MAGIC: u64 = 0x7470;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Look whether you are inside a site: [`inside::answer`].
    Look = 0,
    /// Wait until you are released: [`park::wait`].
    Wait = 1,
}

/// The number of the request in flight, 0 for none.
static ASKED: AtomicU64 = AtomicU64::new(0);
/// Its [`Task`].
static TASK: AtomicU32 = AtomicU32::new(0);
/// Slots for answers: the number of the last answered request, times 4, plus the answer. Never freed: who is late may look.
static SLOTS: AtomicPtr<AtomicU64> = AtomicPtr::new(core::ptr::null_mut());
static SLOTS_LEN: AtomicUsize = AtomicUsize::new(0);
/// Handlers that may be reading what a request refers to.
static VISITORS: AtomicU32 = AtomicU32::new(0);
/// The signal that is in use, 0 for none.
static BORROWED: AtomicI32 = AtomicI32::new(0);
/// Numbers are not used again for a long time.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// A signal that nobody else uses, while it is borrowed.
#[derive(Debug)]
pub(crate) struct Pager {
    signal: i32,
    /// Somebody has the signal pending, and would die of its default action.
    unanswered: bool,
}

impl Pager {
    /// Borrows one of the real-time signals, from the end at which libc and programs do not begin.
    pub fn new() -> Result<Self, Cause> {
        let signal = match BORROWED.load(SeqCst) {
            0 => {
                let free = |sig: &i32| handler::current(*sig).is_ok_and(|action| action.handler == SIG_DFL);
                (40..=64).rev().filter(free).find(|&signal| take(signal)).ok_or(Cause::Unsupported)?
            }
            // Somebody did not answer in time, so that it was kept.
            kept => kept,
        };
        Ok(Self { signal, unanswered: false })
    }

    /// The signal.
    pub fn signal(&self) -> i32 {
        self.signal
    }

    /// Begins a request to at most `most` threads. What the task refers to must be in place.
    pub fn begin(&self, task: Task, most: usize) -> Request {
        let most = most.min(1 << 24);
        if SLOTS_LEN.load(SeqCst) < most {
            let slots: Vec<AtomicU64> = (0..most.next_power_of_two()).map(|_| AtomicU64::new(0)).collect();
            let slots = slots.leak();
            // The length second: it is never greater than what the pointer points to.
            SLOTS.store(slots.as_mut_ptr(), SeqCst);
            SLOTS_LEN.store(slots.len(), SeqCst);
        }
        let number = 1 + NUMBERS.fetch_add(1, SeqCst) % 0xff_ffff;
        TASK.store(task as u32, SeqCst);
        ASKED.store(number, SeqCst);
        Request { signal: self.signal, number, asked: Vec::with_capacity(most) }
    }

    /// Takes a request back; returns whether nobody is looking at what it refers to any more.
    pub fn end(&mut self, request: &mut Request, patience: u64) -> bool {
        let all = request.all_answered();
        ASKED.store(0, SeqCst);
        self.unanswered |= !all;
        let end = sys::now() + patience;
        while VISITORS.load(SeqCst) != 0 {
            if sys::now() >= end {
                self.unanswered = true;
                return false;
            }
            sys::nap(20_000);
        }
        true
    }

    /// Gives the signal back, unless somebody still has it pending.
    pub fn release(&self) {
        if !self.unanswered {
            give_back();
        }
    }
}

/// Installs the handler for a signal and sends it to the calling thread: not every number that can be handled can be sent,
/// under emulators.
fn take(signal: i32) -> bool {
    let mut action = Action::for_traps(on_request, true);
    // A thread that waits must not run other handlers meanwhile.
    action.mask = !0;
    BORROWED.store(signal, SeqCst);
    // SAFETY: `on_request` is async-signal-safe.
    let installed = unsafe { sys::rt_sigaction(signal, &raw const action, core::ptr::null_mut()) };
    let pid = sys::getpid();
    // A request with a number that is never used.
    let sent =
        installed.and_then(|()| sys::sigqueue_thread(pid, sys::gettid(), signal, &Info::queued(pid, MAGIC << 48)));
    if sent.is_err() {
        give_back();
    }
    sent.is_ok()
}

/// A request in flight.
#[derive(Debug)]
pub(crate) struct Request {
    signal: i32,
    number: u64,
    /// The thread of each slot, 0 once it has gone.
    asked: Vec<i32>,
}

impl Request {
    /// The number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Asks a thread. `Ok(false)`: it has gone, or there is no slot left for it ([`Errno::AGAIN`] then). Allocates nothing.
    pub fn ask(&mut self, tid: i32) -> Result<bool, Errno> {
        if self.asked.len() == self.asked.capacity().min(SLOTS_LEN.load(SeqCst)) {
            return Err(Errno::AGAIN);
        }
        let pid = sys::getpid();
        let info = Info::queued(pid, MAGIC << 48 | self.number << 24 | self.asked.len() as u64);
        match sys::sigqueue_thread(pid, tid, self.signal, &info) {
            Ok(()) => self.asked.push(tid),
            Err(Errno::SRCH) => return Ok(false),
            Err(errno) => return Err(errno),
        }
        Ok(true)
    }

    /// Whether the thread was asked already and is still there.
    pub fn has_asked(&self, tid: i32) -> bool {
        self.asked.contains(&tid)
    }

    /// The thread in each slot (0: it has gone) and its answer, if it has given one.
    pub fn answers(&self) -> impl Iterator<Item = (i32, Option<u8>)> {
        self.asked.iter().enumerate().map(|(i, &tid)| (tid, self.answer(i)))
    }

    /// Whether everybody has answered or gone by now.
    pub fn all_answered(&mut self) -> bool {
        let mut all = true;
        for i in 0..self.asked.len() {
            if self.asked[i] == 0 || self.answer(i).is_some() {
                continue;
            }
            // Signal 0 only asks whether the thread is there.
            if sys::tgkill(sys::getpid(), self.asked[i], 0).is_err() {
                self.asked[i] = 0;
            } else {
                all = false;
            }
        }
        all
    }

    fn answer(&self, slot: usize) -> Option<u8> {
        let answered = slot_at(slot)?.load(SeqCst);
        (answered >> 2 == self.number).then_some((answered & 3) as u8)
    }
}

fn slot_at(slot: usize) -> Option<&'static AtomicU64> {
    let len = SLOTS_LEN.load(SeqCst);
    // SAFETY: the pointer was stored before the length, both are of leaked arrays, and later ones are longer.
    (slot < len).then(|| unsafe { &*SLOTS.load(SeqCst).add(slot) })
}

/// Answers a request for the calling thread.
pub(crate) fn answer(number: u64, slot: usize, answer: u8) {
    if let Some(slot) = slot_at(slot) {
        slot.store(number << 2 | u64::from(answer & 3), SeqCst);
    }
}

/// Gives a borrowed signal back; also for a fork child, in which nobody has it pending or is in its handler.
pub(crate) fn give_back() {
    let signal = BORROWED.swap(0, SeqCst);
    if signal != 0 {
        // SAFETY: no handler is involved.
        let _ = unsafe { sys::rt_sigaction(signal, &Action::DEFAULT, core::ptr::null_mut()) };
    }
}

/// Puts in order what a fork left.
pub(crate) fn forked() {
    ASKED.store(0, SeqCst);
    VISITORS.store(0, SeqCst);
    give_back();
}

/// Does what is asked in the thread that it interrupts. Async-signal-safe like the trap handler.
unsafe extern "C" fn on_request(_: i32, info: *mut Info, context: *mut UContext) {
    // SAFETY: the kernel's pointers into this thread's signal frame.
    let (info, context) = unsafe { (&*info, &mut *context) };
    if info.code != CODE_QUEUE || info.value >> 48 != MAGIC {
        return;
    }
    let (number, slot) = (info.value >> 24 & 0xff_ffff, (info.value & 0xff_ffff) as usize);
    // Counted before the number is compared: either this load sees that the request was taken back, or whoever takes it
    // back sees this visitor.
    VISITORS.fetch_add(1, SeqCst);
    if number != 0 && ASKED.load(SeqCst) == number {
        if TASK.load(SeqCst) == Task::Wait as u32 {
            park::wait(number, slot);
        } else {
            answer(number, slot, inside::answer(context));
        }
    }
    VISITORS.fetch_sub(1, SeqCst);
}
