//! Waiting until no thread is inside a site: `AwaitNoneInside` from within the process.
//!
//! A thread is inside when its PC stands on one of the boundaries between old instructions that are about to vanish, or
//! when such a PC is saved on one of its stacks, where a signal handler or a function will return to it. All boundaries
//! are trapped when this is called and cores have synchronised, so nobody gets there anew: each thread needs to be seen
//! outside once. Threads that are created later start elsewhere.
//!
//! A thread that sleeps is read through /proc and not disturbed. One that runs gets a signal ([`crate::pager`]), whose
//! handler looks at the thread itself. Where /proc shows an emulator's threads instead of ours, all get the signal.
//!
//! Stacks are searched for what can save such a PC: anything that looks like a signal frame's registers, and return
//! addresses where the instruction before the boundary is a call. Not every equal number counts, because handlers
//! leave PCs lying about in stack slots that nobody clears. Frames of signals that switched to an alternate stack lead
//! on to the stack they interrupted. Stacks of coroutines that no thread runs are not known to anybody and not searched.

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::vec::Vec;

use textpoke_core::trap::{Resolution, resolve};
use textpoke_core::{Cause, Direction, Site};

use crate::arch::{Frames, Host, is_call};
use crate::handler::published;
use crate::maps;
use crate::pager::{Pager, Task};
use crate::sys::{self, Errno};
use crate::threads::{Place, Tasks};
use crate::ucontext::UContext;

/// How long to wait for all threads, in nanoseconds.
const PATIENCE: u64 = 2_000_000_000;

/// Address and number of the stacks that may be searched, an array of `(start, end)`, and of the sites. They stay as long
/// as a request is in flight.
static STACKS: AtomicU64 = AtomicU64::new(0);
static STACKS_LEN: AtomicU64 = AtomicU64::new(0);
static SITES: AtomicU64 = AtomicU64::new(0);
static SITES_LEN: AtomicU64 = AtomicU64::new(0);

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
type Stacks = Vec<(u64, u64)>;

/// Waits. Returns with an error also whether somebody may still look at the sites then.
pub(crate) fn await_none_inside(sites: &[Site]) -> (Result<(), Cause>, bool) {
    if sites.iter().all(|site| site.inner | site.new_inner == 0) {
        return (Ok(()), true);
    }
    let mut asking = Asking { pager: None, left: true };
    let result = watch(sites, &mut asking);
    if let Some(pager) = asking.pager {
        pager.release();
    }
    (result, asking.left)
}

/// The signal, borrowed when the first thread runs.
struct Asking {
    pager: Option<Pager>,
    /// Whether everybody who looked at something has left it.
    left: bool,
}

fn watch(sites: &[Site], asking: &mut Asking) -> Result<(), Cause> {
    let end = sys::now() + PATIENCE;
    let tasks = Tasks::open()?;
    let mut outside: Vec<i32> = Vec::new();
    // Who was seen inside, which is what is told if time runs out.
    let mut inside: Vec<i32> = Vec::new();
    loop {
        let stacks = stacks()?;
        let left: Vec<i32> = match tasks.list() {
            Ok(tids) => tids.into_iter().filter(|tid| !outside.contains(tid)).collect(),
            // Threads come and go too fast for a list; not for ever.
            Err(Errno::AGAIN) if sys::now() < end => continue,
            Err(errno) => return Err(errno.into()),
        };
        let (mut all, mut running) = (true, Vec::new());
        let mut note = |tid: i32, answer: Answer| match answer {
            Answer::Outside => outside.push(tid),
            answer => {
                all = false;
                if answer == Answer::Inside && !inside.contains(&tid) {
                    inside.push(tid);
                }
            }
        };
        for tid in left {
            match look(&tasks, tid, sites, &stacks) {
                Answer::Running => running.push(tid),
                answer => note(tid, answer),
            }
        }
        if !running.is_empty() {
            match asking.ask(&running, sites, stacks, end, &mut note) {
                Err(Cause::TimedOut) => all = false,
                other => other?,
            }
        }
        if all {
            return Ok(());
        }
        if sys::now() >= end {
            let site = sites.iter().find(|site| site.inner | site.new_inner != 0).map_or(0, |site| site.addr);
            let stays = inside.iter().any(|tid| !outside.contains(tid));
            return Err(if stays { Cause::Inside(site) } else { Cause::TimedOut });
        }
        sys::nap(100_000);
    }
}

impl Asking {
    /// Has all threads look at themselves at once: each must wait for its turn on a CPU, so that one after the other would
    /// take a turn each.
    fn ask(
        &mut self,
        tids: &[i32],
        sites: &[Site],
        stacks: Stacks,
        end: u64,
        note: &mut impl FnMut(i32, Answer),
    ) -> Result<(), Cause> {
        let pager = match &mut self.pager {
            Some(pager) => pager,
            none => none.insert(Pager::new()?),
        };
        STACKS.store(stacks.as_ptr() as u64, SeqCst);
        STACKS_LEN.store(stacks.len() as u64, SeqCst);
        SITES.store(sites.as_ptr() as u64, SeqCst);
        SITES_LEN.store(sites.len() as u64, SeqCst);
        let mut request = pager.begin(Task::Look, tids.len());
        let mut result = Ok(());
        for &tid in tids {
            match request.ask(tid) {
                Ok(true) => {}
                Ok(false) => note(tid, Answer::Outside),
                Err(errno) => result = Err(errno.into()),
            }
        }
        while result.is_ok() && !request.all_answered() {
            if sys::now() >= end {
                result = Err(Cause::TimedOut);
            }
            sys::nap(20_000);
        }
        if !pager.end(&mut request, PATIENCE) {
            self.left = false;
            core::mem::forget(stacks);
        }
        for (tid, answer) in request.answers().filter(|(tid, _)| *tid != 0) {
            match answer {
                Some(0) => note(tid, Answer::Outside),
                Some(1) => note(tid, Answer::Inside),
                _ => note(tid, Answer::Unclear),
            }
        }
        result
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
    if !tasks.shows_places() {
        return if tasks.is_worker(tid) == Some(false) { Answer::Running } else { Answer::Outside };
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

/// Looks at the thread that a request has interrupted.
pub(crate) fn answer(context: &mut UContext) -> u8 {
    let (start, len) = (SITES.load(SeqCst) as *const Site, SITES_LEN.load(SeqCst) as usize);
    // SAFETY: the request is in flight, and we are counted as visitors.
    let sites = unsafe { core::slice::from_raw_parts(start, len) };
    let (start, len) = (STACKS.load(SeqCst) as *const (u64, u64), STACKS_LEN.load(SeqCst) as usize);
    // SAFETY: as above.
    let stacks = unsafe { core::slice::from_raw_parts(start, len) };
    move_on(context);
    if is_boundary(context.regs.pc(), sites) {
        return Answer::Inside as u8;
    }
    search(context.regs.sp(), sites, stacks) as u8
}

/// A thread that stands on an old inner boundary goes on in the copy: the trap there would do the same a moment later.
fn move_on(context: &mut UContext) {
    let Some(view) = published().enter() else { return };
    let (table, pc) = (view.table(), context.regs.pc());
    let movable = |site: &Site| {
        table.dir == Direction::Install && site.new_inner == 0 && site.begins_at((pc - site.addr) as usize)
    };
    if !holding(pc, table.sites).is_some_and(movable) {
        return;
    }
    if let Resolution::Do(effect) = resolve::<Host>(Some(table), pc, &context.regs.for_resolve(), true) {
        // SAFETY: the thread stands on an inner boundary, from where it goes on in the copy: a jump.
        unsafe { context.regs.apply(effect) };
    }
}

/// The site that `pc` is in and not at the head of.
fn holding(pc: u64, sites: &[Site]) -> Option<&Site> {
    let behind = sites.partition_point(|site| site.addr < pc);
    behind.checked_sub(1).and_then(|i| sites.get(i)).filter(|site| pc < site.end())
}

/// Whether an old or new instruction begins at `pc` that is not the first of a site.
fn is_boundary(pc: u64, sites: &[Site]) -> bool {
    holding(pc, sites).is_some_and(|site| (site.inner | site.new_inner) >> (pc - site.addr) & 1 == 1)
}

/// Whether a function that was called from inside a site returns to `pc`, which is a boundary.
fn follows_call(pc: u64, sites: &[Site]) -> bool {
    let Some(site) = holding(pc, sites) else { return false };
    let end = (pc - site.addr) as usize;
    let before = |inner: u8, bytes: &[u8]| {
        let start = (1..end).rev().find(|&i| inner >> i & 1 == 1).unwrap_or(0);
        inner >> end & 1 == 1 && is_call(bytes.get(start..end).unwrap_or(&[]))
    };
    before(site.inner, &site.old) || before(site.new_inner, &site.new)
}

/// Searches a stack from `sp` to the end of its mapping, and those that signal frames on it interrupted.
fn search(sp: u64, sites: &[Site], stacks: &[(u64, u64)]) -> Answer {
    let stack_of = |sp: u64| {
        let i = stacks.partition_point(|&(_, end)| end <= sp);
        stacks.get(i).filter(|&&(start, _)| start <= sp).copied()
    };
    let (first, last) = (sites[0].addr, sites[sites.len() - 1].end());
    let near = |word: u64| first < word && word < last && is_boundary(word, sites);
    let frames = Frames::new();
    // The stack itself and, at the most, the alternate stack's way back to it; more would be a circle.
    let mut sp = sp;
    for _ in 0..4 {
        let Some((_, end)) = stack_of(sp) else { return Answer::Unclear };
        let mut interrupted = None;
        let mut words = [0u64; 64];
        let mut window = [0u64; 5];
        let mut at = sp & !7;
        while at < end {
            let want = words.len().min(((end - at) / 8) as usize);
            // What cannot be read was unmapped meanwhile, if it was a stack at all: look again, with newer mappings.
            if sys::read_own_memory(at, bytes_of(&mut words[..want])) != Ok(8 * want) {
                return Answer::Unclear;
            }
            for &word in &words[..want] {
                window.rotate_left(1);
                window[4] = word;
                if let Some(saved) = frames.saved(&window) {
                    if near(saved.pc) {
                        return Answer::Inside;
                    }
                    if stack_of(saved.sp).is_some_and(|(_, other)| other != end) {
                        interrupted = Some(saved.sp);
                    }
                } else if near(word) && follows_call(word, sites) {
                    return Answer::Inside;
                }
            }
            at += 8 * want as u64;
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
    use crate::arch::Saved;
    use textpoke_core::isa::Isa;

    const AT: u64 = 0x7000_0000_1000;
    /// Where the second instruction of the site begins, and one that the hosts of all lengths have.
    const INNER: u64 = if Host::TRAP.len() == 1 { 1 } else { 4 };

    fn site() -> Site {
        let mut site =
            Site::single(AT, &[0x55, 0x48, 0x89, 0xe5, 0x53, 0, 0, 0], &[0xe9, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        site.inner = 1 << INNER;
        site.copy = 9;
        site
    }

    #[test]
    fn only_inner_boundaries_count_of_either_form() {
        let inside = |site: Site| (0..10).filter(|i| is_boundary(AT + i, &[site])).collect::<Vec<u64>>();
        assert_eq!(inside(site()), [INNER]);
        assert_eq!(inside(Site { new_inner: 1 << 6, ..site() }), [INNER, 6]);
        assert!(!is_boundary(0, &[site()]));
    }

    #[test]
    fn a_saved_pc_is_found_also_across_a_signal_frame() {
        let sites = [site()];
        let mut low = std::vec![0x11u64; 300];
        let mut high = std::vec![0x11u64; 300];
        let range = |v: &[u64]| (v.as_ptr() as u64, v.as_ptr_range().end as u64);
        let mut stacks = std::vec![range(&low), range(&high)];
        stacks.sort_unstable();
        let sp = &raw const low[3] as u64;
        let frame =
            |stack: &mut [u64], sp: u64, pc: u64| stack[200..205].copy_from_slice(&Frames::sample(Saved { pc, sp }));
        let other = &raw const high[100] as u64;
        assert_eq!(search(sp, &sites, &stacks), Answer::Outside);
        frame(&mut high, 0, AT + INNER);
        assert_eq!(search(sp, &sites, &stacks), Answer::Outside, "another stack");
        frame(&mut low, other, 0x40_0000);
        assert_eq!(search(sp, &sites, &stacks), Answer::Inside, "the frame on `low` interrupted `high`");
        frame(&mut high, 0, AT + 8);
        assert_eq!(search(sp, &sites, &stacks), Answer::Outside, "behind the site");
        low[299] = AT + INNER;
        assert_eq!(search(sp, &sites, &stacks), Answer::Outside, "nothing returns to behind the first instruction");
        frame(&mut low, other, AT + INNER);
        assert_eq!(search(sp, &sites, &stacks), Answer::Inside);
        assert_eq!(search(8, &sites, &stacks), Answer::Unclear);
    }

    #[test]
    fn return_addresses_count_where_something_returns_to() {
        // A call of each instruction set, and something else of the same length.
        let (call, other): (&[u8], &[u8]) = match Host::NAME {
            "x86-64" => (&[0xff, 0xd0], &[0x89, 0xe5]),
            "aarch64" => (&[0x20, 0x01, 0x3f, 0xd6], &[0x20, 0x01, 0x1f, 0xd6]),
            _ => (&[0xe7, 0, 3, 0], &[0x67, 0, 3, 0]),
        };
        let mut stack = std::vec![0x11u64; 100];
        let stacks = [(stack.as_ptr() as u64, stack.as_ptr_range().end as u64)];
        stack[50] = AT + call.len() as u64;
        for (first, answer) in [(call, Answer::Inside), (other, Answer::Outside)] {
            let mut site = site();
            site.old[..first.len()].copy_from_slice(first);
            site.inner = 1 << first.len();
            assert_eq!(search(stacks[0].0, &[site], &stacks), answer, "{first:x?}");
        }
    }
}
