//! Waiting until no thread is inside a site: `AwaitNoneInside` from within the process.
//!
//! A thread is inside when its PC stands on one of the boundaries between old instructions that are about to vanish, or
//! when such a PC is saved on one of its stacks, where a signal handler or a function will return to it. All boundaries
//! are trapped when this is called and cores have synchronised, so nobody gets there anew: each thread needs to be seen
//! outside once. Threads that are created later start elsewhere.
//!
//! A thread that sleeps is read through /proc and not disturbed. One that runs gets a signal, whose handler looks at the
//! thread itself. That signal is not SIGTRAP: of two pending SIGTRAPs the kernel drops one, and it might drop a trap.
//!
//! Stacks are searched for what can save such a PC: anything that looks like a signal frame's registers, and return
//! addresses where the old instruction before the boundary is a CALL. Not every equal number counts, because handlers
//! leave PCs lying about in stack slots that nobody clears. Frames of signals that switched to an alternate stack lead
//! on to the stack they interrupted. Stacks of coroutines that no thread runs are not known to anybody and not searched.

use core::sync::atomic::{AtomicI32, AtomicU64, Ordering::SeqCst};
use std::vec::Vec;

use textpoke_core::trap::{Resolution, resolve};
use textpoke_core::{Cause, Site};

use crate::handler::{self, published};
use crate::maps;
use crate::signal::{Action, CODE_QUEUE, Info, SIG_DFL};
use crate::sys::{self, Errno};
use crate::threads::{Place, Tasks};
use crate::ucontext::{UContext, USER_SEGMENTS};

/// How long to wait for all threads, in nanoseconds.
const PATIENCE: u64 = 2_000_000_000;

/// How many threads are asked at once.
const SLOTS: usize = 64;

/// Upper half of the data that comes with a request; below are 24 bits of its number and 8 of the slot for the answer.
const MAGIC: u64 = 0x7470_6f6b << 32;

/// The number of the request in flight, 0 for none.
static ASKED: AtomicU64 = AtomicU64::new(0);
/// For each slot the number of the last answered request, times 4, plus an [`Answer`].
static ANSWERED: [AtomicU64; SLOTS] = [const { AtomicU64::new(0) }; SLOTS];
/// Address and length of the stacks that may be searched: an array of `(start, end)`.
static STACKS: AtomicU64 = AtomicU64::new(0);
static STACKS_LEN: AtomicU64 = AtomicU64::new(0);
/// The signal that is in use, 0 for none.
static BORROWED: AtomicI32 = AtomicI32::new(0);
/// Numbers are not used again for a long time, so that an answer that comes too late is not taken for another one's.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// What a look at a thread tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Outside = 0,
    Inside = 1,
    /// It ran meanwhile, or its stack is not known yet: look again.
    Unclear = 2,
    /// It runs: only itself can tell.
    Running = 3,
}

/// Mappings that may be stacks, as `(start, end)`, ascending.
pub(crate) type Stacks = Vec<(u64, u64)>;

/// Waits. `keep` receives what handlers may still be reading until the table has been retired.
pub(crate) fn await_none_inside(sites: &[Site], keep: &mut Vec<Stacks>) -> Result<(), Cause> {
    if sites.iter().all(|site| site.inner == 0) {
        return Ok(());
    }
    let mut pager = None;
    let result = watch(sites, keep, &mut pager);
    if let Some(pager) = pager {
        pager.release();
    }
    result
}

fn watch(sites: &[Site], keep: &mut Vec<Stacks>, pager: &mut Option<Pager>) -> Result<(), Cause> {
    let end = sys::now() + PATIENCE;
    let tasks = Tasks::open()?;
    let mut outside: Vec<i32> = Vec::new();
    loop {
        // Kept before anybody can learn of it.
        keep.push(stacks()?);
        let stacks = keep.last().map_or(&[][..], |stacks| stacks);
        let left: Vec<i32> = match tasks.list() {
            Ok(tids) => tids.into_iter().filter(|tid| !outside.contains(tid)).collect(),
            // Threads come and go too fast for a list; not for ever.
            Err(Errno::AGAIN) if sys::now() < end => continue,
            Err(errno) => return Err(errno.into()),
        };
        let (mut worst, mut running) = (Answer::Outside, Vec::new());
        let mut note = |tid: i32, answer: Answer| match answer {
            Answer::Outside => outside.push(tid),
            // Inside is what is told if it comes to that.
            answer if worst != Answer::Inside => worst = answer,
            _ => {}
        };
        for tid in left {
            match look(&tasks, tid, sites, stacks) {
                Answer::Running => running.push(tid),
                answer => note(tid, answer),
            }
        }
        if !running.is_empty() && pager.is_none() {
            *pager = Some(Pager::new()?);
        }
        if let Some(pager) = pager {
            // All at once: each must wait for its turn on a CPU, so that one after the other would take a turn each.
            for tids in running.chunks(SLOTS) {
                pager.ask(tids, stacks, end, &mut note)?;
            }
        }
        if worst == Answer::Outside {
            return Ok(());
        }
        if sys::now() >= end {
            let inside = sites.iter().find(|site| site.inner != 0).map_or(0, |site| site.addr);
            return Err(if worst == Answer::Inside { Cause::Inside(inside) } else { Cause::TimedOut });
        }
        sys::nap(100_000);
    }
}

fn stacks() -> Result<Stacks, Cause> {
    let all = maps::read()?.into_iter().filter(|m| m.range.prot.reads() && m.range.prot.writes());
    Ok(all.map(|m| (m.range.start, m.range.end)).collect())
}

fn look(tasks: &Tasks, tid: i32, sites: &[Site], stacks: &[(u64, u64)]) -> Answer {
    if tid == sys::gettid() {
        let mark = 0u64;
        return search(&raw const mark as u64, sites, stacks);
    }
    // A thread that runs now mostly sleeps in a moment, and then need not be interrupted.
    for _ in 0..3 {
        let Some(before) = tasks.status(tid) else { return Answer::Outside };
        if b"ZX".contains(&before.state) || tasks.is_worker(tid) != Some(false) {
            return Answer::Outside;
        }
        match tasks.place(tid) {
            None => return Answer::Outside,
            Some(Place::Running) => sys::yield_now(),
            Some(place @ Place::Asleep { sp, pc }) => {
                if is_boundary(pc, sites) {
                    return Answer::Inside;
                }
                let answer = search(sp, sites, stacks);
                let same = tasks.status(tid).is_some_and(|now| now.switches == before.switches);
                return if same && tasks.place(tid) == Some(place) { answer } else { Answer::Unclear };
            }
        }
    }
    Answer::Running
}

/// A signal that nobody else uses, while it is borrowed.
struct Pager {
    signal: i32,
    unanswered: bool,
}

impl Pager {
    fn new() -> Result<Self, Cause> {
        // Real-time signals, from the end at which libc and programs do not begin.
        let free = |sig: &i32| handler::current(*sig).is_ok_and(|action| action.handler == SIG_DFL);
        let Some(signal) = (40..=64).rev().find(free) else { return Err(Cause::Unsupported) };
        let action = Action::for_traps(on_request, true);
        BORROWED.store(signal, SeqCst);
        // SAFETY: `on_request` is async-signal-safe.
        unsafe { sys::rt_sigaction(signal, &raw const action, core::ptr::null_mut()) }?;
        Ok(Self { signal, unanswered: false })
    }

    /// Has up to [`SLOTS`] threads look at themselves.
    fn ask(
        &mut self,
        tids: &[i32],
        stacks: &[(u64, u64)],
        end: u64,
        note: &mut impl FnMut(i32, Answer),
    ) -> Result<(), Cause> {
        let number = 1 + NUMBERS.fetch_add(1, SeqCst) % 0xff_ffff;
        STACKS.store(stacks.as_ptr() as u64, SeqCst);
        STACKS_LEN.store(stacks.len() as u64, SeqCst);
        ASKED.store(number, SeqCst);
        let pid = sys::getpid();
        let mut result = Ok(());
        let mut asked = Vec::new();
        for (slot, &tid) in tids.iter().enumerate() {
            match sys::sigqueue_thread(pid, tid, self.signal, &Info::queued(pid, MAGIC | number << 8 | slot as u64)) {
                Ok(()) => asked.push((slot, tid)),
                Err(Errno::SRCH) => note(tid, Answer::Outside),
                Err(errno) => result = Err(errno.into()),
            }
        }
        for (slot, tid) in asked {
            let answer = self.wait(number, slot, tid, end);
            match answer {
                Ok(answer) => note(tid, answer),
                Err(cause) => result = Err(cause),
            }
        }
        ASKED.store(0, SeqCst);
        result
    }

    fn wait(&mut self, number: u64, slot: usize, tid: i32, end: u64) -> Result<Answer, Cause> {
        loop {
            let answered = ANSWERED[slot].load(SeqCst);
            if answered >> 2 == number {
                return Ok(match answered & 3 {
                    0 => Answer::Outside,
                    1 => Answer::Inside,
                    _ => Answer::Unclear,
                });
            }
            // Signal 0 only asks whether the thread is there.
            if sys::tgkill(sys::getpid(), tid, 0).is_err() {
                return Ok(Answer::Outside);
            }
            if sys::now() >= end {
                self.unanswered = true;
                return Err(Cause::TimedOut);
            }
            sys::nap(20_000);
        }
    }

    /// Gives the signal back, unless somebody still has it pending and would die of its default action.
    fn release(self) {
        if !self.unanswered {
            give_back();
        }
    }
}

/// Gives a borrowed signal back; for a fork child, in which nobody has it pending.
pub(crate) fn give_back() {
    let signal = BORROWED.swap(0, SeqCst);
    if signal != 0 {
        // SAFETY: no handler is involved.
        let _ = unsafe { sys::rt_sigaction(signal, &Action::DEFAULT, core::ptr::null_mut()) };
    }
}

/// Looks at the thread that it interrupts. Async-signal-safe like the trap handler.
unsafe extern "C" fn on_request(_: i32, info: *mut Info, context: *mut UContext) {
    // SAFETY: the kernel's pointers into this thread's signal frame.
    let (info, context) = unsafe { (&*info, &mut *context) };
    let Some(request) = info.value.checked_sub(MAGIC).filter(|_| info.code == CODE_QUEUE) else { return };
    let (number, Some(slot)) = (request >> 8, ANSWERED.get((request & 0xff) as usize)) else { return };
    // Inside the table before the number is compared: what is searched is freed only after the request has been taken
    // back and the table has been left by all.
    let Some(view) = published().enter() else { return };
    if ASKED.load(SeqCst) != number {
        return;
    }
    let table = view.table();
    let regs = &mut context.regs;
    if is_boundary(regs.rip, table.sites)
        && let Resolution::Do(effect) =
            resolve::<textpoke_core::isa::X86_64>(Some(table), regs.rip, &regs.for_resolve(), true)
    {
        // The trap there would do the same a moment later.
        // SAFETY: the thread stands on an inner boundary, from where it goes on in the copy: a jump.
        unsafe { regs.apply(effect) };
    }
    let (start, len) = (STACKS.load(SeqCst) as *const (u64, u64), STACKS_LEN.load(SeqCst) as usize);
    // SAFETY: see above.
    let stacks = unsafe { core::slice::from_raw_parts(start, len) };
    let answer = search(regs.rsp, table.sites, stacks);
    slot.store(number << 2 | answer as u64, SeqCst);
}

fn is_boundary(pc: u64, sites: &[Site]) -> bool {
    let behind = sites.partition_point(|site| site.addr < pc);
    let Some(site) = behind.checked_sub(1).and_then(|i| sites.get(i)) else { return false };
    let offset = (pc - site.addr) as usize;
    offset < site.len() && site.begins_at(offset)
}

/// Whether a function that was called from inside a site returns to `pc`, which is a boundary.
fn follows_call(pc: u64, sites: &[Site]) -> bool {
    let behind = sites.partition_point(|site| site.addr < pc);
    let Some(site) = behind.checked_sub(1).and_then(|i| sites.get(i)) else { return false };
    let end = (pc - site.addr) as usize;
    let start = (0..end).rev().find(|&i| site.begins_at(i)).unwrap_or(0);
    let prefixes = |&&b: &&u8| matches!(b, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf2 | 0xf3);
    let insn = site.old.get(start..end).unwrap_or(&[]);
    let insn = &insn[insn.iter().take_while(prefixes).count()..];
    // CALL rel32; CALL through a register or memory, near and far.
    matches!(*insn, [0xe8, ..]) || matches!(*insn, [0xff, modrm, ..] if matches!(modrm >> 3 & 7, 2 | 3))
}

/// Whether a word is what a signal frame has for the segments: CS of 64-bit user code, and SS or, from old kernels, 0.
fn is_segments(word: u64) -> bool {
    word == USER_SEGMENTS || word == USER_SEGMENTS & 0xffff
}

/// Searches a stack from `sp` to the end of its mapping, and those that signal frames on it interrupted.
fn search(sp: u64, sites: &[Site], stacks: &[(u64, u64)]) -> Answer {
    let holding = |sp: u64| {
        let i = stacks.partition_point(|&(_, end)| end <= sp);
        stacks.get(i).filter(|&&(start, _)| start <= sp).copied()
    };
    let (first, last) = (sites[0].addr, sites[sites.len() - 1].end());
    let near = |word: u64| first < word && word < last && is_boundary(word, sites);
    // The stack itself and, at the most, the alternate stack's way back to it; more would be a circle.
    let mut sp = sp;
    for _ in 0..4 {
        let Some((_, end)) = holding(sp) else { return Answer::Unclear };
        let mut interrupted = None;
        let mut words = [0u64; 64];
        // In a signal frame RSP, RIP and RFLAGS stand in front of the segments.
        let [mut rsp, mut rip, mut rflags] = [0u64; 3];
        let mut at = sp & !7;
        while at < end {
            let want = words.len().min(((end - at) / 8) as usize);
            let buf = bytes_of(&mut words[..want]);
            let got = sys::read_own_memory(at, buf).unwrap_or(0) / 8;
            for &word in &words[..got] {
                if is_segments(word) {
                    if near(rip) {
                        return Answer::Inside;
                    }
                    if holding(rsp).is_some_and(|(_, other)| other != end) {
                        interrupted = Some(rsp);
                    }
                } else if near(word) && follows_call(word, sites) {
                    return Answer::Inside;
                }
                (rsp, rip, rflags) = (rip, rflags, word);
            }
            if got < want {
                break;
            }
            at += 8 * got as u64;
        }
        match interrupted {
            Some(next) => sp = next,
            None => return Answer::Outside,
        }
    }
    Answer::Outside
}

fn bytes_of(words: &mut [u64]) -> &mut [u8] {
    // SAFETY: any bytes are valid words, and the length is theirs.
    unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        let mut site = Site::single(0x7000_0000_1000, &[0x55, 0x48, 0x89, 0xe5, 0x53], &[0xe9, 0, 0, 0, 0]).unwrap();
        site.inner = 0b1_0010;
        site.copy = 9;
        site
    }

    #[test]
    fn only_inner_boundaries_count() {
        let sites = [site()];
        let inside: Vec<u64> = (0..8).filter(|i| is_boundary(site().addr + i, &sites)).collect();
        assert_eq!(inside, [1, 4]);
        assert!(!is_boundary(0, &sites));
    }

    #[test]
    fn a_saved_pc_is_found_also_across_a_signal_frame() {
        let sites = [site()];
        let mut low = std::vec![0u64; 300];
        let mut high = std::vec![0u64; 300];
        let range = |v: &[u64]| (v.as_ptr() as u64, v.as_ptr_range().end as u64);
        let mut stacks = std::vec![range(&low), range(&high)];
        stacks.sort_unstable();
        let sp = &raw const low[3] as u64;
        let frame =
            |stack: &mut [u64], rsp: u64, rip: u64| stack[200..204].copy_from_slice(&[rsp, rip, 0x246, USER_SEGMENTS]);
        let other = &raw const high[100] as u64;
        assert_eq!(search(sp, &sites, &stacks), Answer::Outside);
        frame(&mut high, 0, site().addr + 4);
        assert_eq!(search(sp, &sites, &stacks), Answer::Outside, "another stack");
        frame(&mut low, other, 0x40_0000);
        assert_eq!(search(sp, &sites, &stacks), Answer::Inside, "the frame on `low` interrupted `high`");
        frame(&mut high, 0, site().addr + 5);
        assert_eq!(search(sp, &sites, &stacks), Answer::Outside, "behind the site");
        low[299] = site().addr + 1;
        assert_eq!(search(sp, &sites, &stacks), Answer::Outside, "nothing returns to behind a PUSH");
        frame(&mut low, other, site().addr + 1);
        assert_eq!(search(sp, &sites, &stacks), Answer::Inside);
        assert_eq!(search(8, &sites, &stacks), Answer::Unclear);
    }

    #[test]
    fn return_addresses_count_where_something_returns_to() {
        // call rax; mov ebp,esp; nop
        let mut site = Site::single(0x7000_0000_1000, &[0xff, 0xd0, 0x89, 0xe5, 0x90], &[0xe9, 0, 0, 0, 0]).unwrap();
        (site.inner, site.copy) = (0b1_0100, 9);
        let mut stack = std::vec![0u64; 100];
        let stacks = [(stack.as_ptr() as u64, stack.as_ptr_range().end as u64)];
        let sp = stacks[0].0;
        stack[50] = site.addr + 4;
        assert_eq!(search(sp, &[site], &stacks), Answer::Outside);
        stack[50] = site.addr + 2;
        assert_eq!(search(sp, &[site], &stacks), Answer::Inside);
        // call [r11+8] with a prefix
        site.old = [0x41, 0xff, 0x53, 8, 0x90, 0, 0, 0];
        (site.inner, stack[50]) = (0b1_0000, site.addr + 4);
        assert_eq!(search(sp, &[site], &stacks), Answer::Inside);
    }
}
