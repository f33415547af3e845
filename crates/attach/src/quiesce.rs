//! Waiting until no thread is somewhere, without interrupting those that sleep.
//!
//! Where a sleeping thread is stands in `/proc`; only a running one is stopped for a moment. A PC may also be *saved*: a
//! thread that a signal caught has it in the signal frame on its stack. Those are found by reading each stack from its
//! stack pointer up for words that are such addresses and stand where a signal frame has its PC. A frame that is dead, in
//! a part of the stack that a later call has not written yet, passes for a live one: too careful, never too careless.
//! Contexts that a program saved elsewhere by itself (a scheduler that switches stacks in a signal handler) are out of
//! sight.

use std::collections::HashSet;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use textpoke_core::Site;
use textpoke_core::isa::Isa;

use crate::arch::{self, frame};
use crate::error::Error;
use crate::keeper::{Keeper, bit};
use crate::proc::{self, Mapping, Whereabouts};
use crate::ptrace;

/// How much of a stack is read, in bytes. A signal frame deeper than this is under more than any usual stack.
const STACK_LIMIT: u64 = 8 << 20;

/// A set of addresses where no thread may be.
pub enum Forbidden<'a> {
    /// Behind the head of any of these sites, ascending. A thread on a boundary that has a copy is moved there.
    Sites(&'a [Site]),
    /// In this executable area of ours. Addresses of its first bytes, the agent image, are looked for as return
    /// addresses too, for the trap handler calls; trampolines leave none behind.
    Area {
        /// First address.
        start: u64,
        /// First address behind the agent image.
        image_end: u64,
        /// First address behind the area.
        end: u64,
    },
}

impl Forbidden<'_> {
    fn contains(&self, pc: u64) -> bool {
        match self {
            Self::Sites(sites) => site_around(sites, pc).is_some(),
            Self::Area { start, end, .. } => (*start..*end).contains(&pc),
        }
    }

    /// Where a thread at `pc` can go on instead.
    fn detour(&self, pc: u64) -> Option<u64> {
        let Self::Sites(sites) = self else { return None };
        let site = site_around(sites, pc)?;
        let offset = (pc - site.addr) as usize;
        site.begins_at(offset).then(|| site.copy + u64::from(site.copy_at[offset]))
    }

    /// Whether the word alone, wherever it stands on a stack, is reason for concern.
    fn anywhere(&self, word: u64) -> bool {
        matches!(self, Self::Area { start, image_end, .. } if (*start..*image_end).contains(&word))
    }

    /// Bounds that exclude most words at once.
    fn bounds(&self) -> (u64, u64) {
        match self {
            Self::Sites(sites) => (sites.first().map_or(0, |s| s.addr), sites.last().map_or(0, Site::end)),
            Self::Area { start, end, .. } => (*start, *end),
        }
    }
}

fn site_around(sites: &[Site], pc: u64) -> Option<&Site> {
    let behind = sites.partition_point(|s| s.addr < pc);
    let site = sites.get(behind.checked_sub(1)?)?;
    (pc < site.end()).then_some(site)
}

/// Waits until no thread's PC, running or saved, is forbidden. An address where one stayed is in the error.
pub fn await_none_inside(keeper: &mut Keeper, forbidden: &Forbidden<'_>, patience: Duration) -> Result<(), Error> {
    let start = Instant::now();
    let mut clear: HashSet<i32> = HashSet::new();
    keeper.watch_births();
    loop {
        let maps = proc::maps(keeper.pid()).map_err(|_| Error::Gone(keeper.pid()))?;
        let mut stuck = None;
        // Nobody can get inside anew, so that a thread once found outside stays outside.
        for tid in keeper.executors() {
            if clear.contains(&tid) {
                continue;
            }
            // Born outside, and what is saved on its stack, if it has not got a new one, is its creator's.
            if keeper.birthplace(tid).is_some_and(|pc| !forbidden.contains(pc)) {
                clear.insert(tid);
                continue;
            }
            match inside(keeper, tid, forbidden, &maps)? {
                None => {
                    clear.insert(tid);
                }
                found => stuck = found,
            }
        }
        let Some(addr) = stuck else {
            // All that there are now, and who is born from here on is so to somebody who was clear.
            if keeper.executors().iter().all(|tid| clear.contains(tid)) {
                return Ok(());
            }
            continue;
        };
        if start.elapsed() > patience {
            return Err(Error::Inside(addr));
        }
        keeper.pump()?;
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Where a thread is inside, if it is.
fn inside(keeper: &mut Keeper, tid: i32, forbidden: &Forbidden<'_>, maps: &[Mapping]) -> Result<Option<u64>, Error> {
    let place = proc::whereabouts(keeper.pid(), tid).or_else(|_| whereabouts_of_child(tid));
    match place {
        Ok(Whereabouts::Asleep { sp, pc, .. }) => {
            let at = stands_at(tid, pc);
            let found = if forbidden.contains(at) { Some(at) } else { saved_inside(keeper, sp, forbidden, maps) };
            Ok(found)
        }
        Ok(Whereabouts::Running) => {
            let found = keeper.visit(tid, |keeper, _, regs| {
                let at = stands_at(tid, regs.pc());
                match forbidden.detour(at) {
                    // The answer to an unanswered trap comes first.
                    Some(to) if at == regs.pc() => regs.set_pc(to),
                    _ if forbidden.contains(at) => return Some(at),
                    _ => {}
                }
                saved_inside(keeper, regs.sp(), forbidden, maps)
            })?;
            Ok(found.flatten())
        }
        // Whatever keeps us from reading says nothing about the thread, unless it is not there.
        Err(e) if !has_ended(&e) => Ok(Some(0)),
        Err(_) => {
            keeper.pump()?;
            Ok(None)
        }
    }
}

/// Where a thread with this PC stands: at a trap instruction that it has executed, until it is answered, and not behind
/// it. A thread that is trapped on a head again and again is not inside.
fn stands_at(tid: i32, pc: u64) -> u64 {
    let trapped = trap_pending(tid) || ptrace::stopped_by_trap(tid);
    if trapped { pc.wrapping_sub(arch::Isa::TRAP_PC_ADVANCE) } else { pc }
}

fn trap_pending(tid: i32) -> bool {
    match proc::status(tid) {
        Ok(status) => status.sig_pending & bit(libc::SIGTRAP) != 0,
        Err(e) => !has_ended(&e),
    }
}

/// Whether reading `/proc` failed because there is no such thread any more.
fn has_ended(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// A vfork child is no thread of the process.
fn whereabouts_of_child(tid: i32) -> std::io::Result<Whereabouts> {
    proc::whereabouts(tid, tid)
}

/// Looks through the stack that `sp` points into, and through those that signal frames on it lead to: a handler on an
/// alternate stack has the interrupted stack's pointer in its frame.
fn saved_inside(keeper: &Keeper, sp: u64, forbidden: &Forbidden<'_>, maps: &[Mapping]) -> Option<u64> {
    let restorer = keeper.restorer();
    let (low, high) = forbidden.bounds();
    let mut seen: Vec<u64> = Vec::new();
    let mut next = vec![sp];
    while let Some(sp) = next.pop() {
        let Some(stack) = maps.iter().find(|m| m.start <= sp && sp < m.end) else { continue };
        // Deeper parts of a stack that was looked through are in it already.
        if seen.contains(&stack.start) || seen.len() > MOST_STACKS {
            continue;
        }
        seen.push(stack.start);
        let found = search(keeper, sp & !7, stack.end, |place, word, bytes| {
            let concerns = low <= word && word < high && forbidden.contains(word);
            if concerns && (forbidden.anywhere(word) || frame::is_saved_pc(keeper.memory(), place)) {
                return true;
            }
            next.extend(frame::saved_stack(bytes, restorer));
            false
        });
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Stacks that one thread's signal frames may lead through.
const MOST_STACKS: usize = 8;

/// Hands each word from `from` on to `is_it`, with its place and the bytes from there on, and answers the first that is.
fn search(keeper: &Keeper, from: u64, end: u64, mut is_it: impl FnMut(u64, u64, &[u8]) -> bool) -> Option<u64> {
    const CHUNK: usize = 64 << 10;
    let end = end.min(from.saturating_add(STACK_LIMIT));
    let mut chunk = vec![0; CHUNK + frame::SEEN];
    let mut at = from;
    while at < end {
        // With so much of what follows that a frame which begins in this chunk can be seen whole.
        let len = (CHUNK + frame::SEEN).min((end - at) as usize);
        // A page that cannot be read was never written either.
        if keeper.memory().read_exact_at(&mut chunk[..len], at).is_err() {
            return None;
        }
        for offset in (0..len.min(CHUNK)).step_by(8) {
            let bytes = &chunk[offset..len];
            let Some(word) = bytes.first_chunk() else { break };
            let word = u64::from_le_bytes(*word);
            if is_it(at + offset as u64, word, bytes) {
                return Some(word);
            }
        }
        at += CHUNK as u64;
    }
    None
}

/// Waits until no thread has a trap of ours pending or is on its way into one.
///
/// All traps are gone from the text and all cores have synchronised. A thread that sleeps is in no trap. A running one
/// may have been caught by the kernel's exception entry just before: stopping it shows, because the stop happens behind
/// that entry, and by then the signal is pending or was already reported to the keeper.
pub fn await_no_trap_pending(keeper: &mut Keeper, patience: Duration) -> Result<(), Error> {
    let start = Instant::now();
    let mut clear: HashSet<i32> = HashSet::new();
    // There is no trap that who is born now could run into.
    keeper.watch_births();
    loop {
        let executors = keeper.executors();
        for &tid in executors.iter().filter(|t| !clear.contains(t)).collect::<Vec<_>>() {
            if keeper.birthplace(tid).is_some() {
                clear.insert(tid);
                continue;
            }
            let asleep = |pid| matches!(proc::whereabouts(pid, tid), Ok(Whereabouts::Asleep { .. }));
            let quiet = if asleep(keeper.pid()) || asleep(tid) {
                !trap_pending(tid)
            } else {
                keeper.visit(tid, |_, _, _| !trap_pending(tid))?.unwrap_or(true)
            };
            if quiet {
                clear.insert(tid);
            }
        }
        keeper.pump()?;
        if keeper.executors().iter().all(|tid| clear.contains(tid)) {
            return Ok(());
        }
        if start.elapsed() > patience {
            return Err(Error::SidecarLost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(addr: u64) -> Site {
        let mut site = Site::single(addr, &[0x55, 0x48, 0x89, 0xe5, 0x53], &[0xe9, 0, 0, 0, 0]).unwrap();
        site.inner = 0b1_0010;
        site.copy = 0x9000;
        site.copy_at = [0, 1, 0, 0, 4, 0, 0, 0];
        site
    }

    #[test]
    fn inside_means_behind_the_head() {
        let sites = [site(0x1000), site(0x2000)];
        let forbidden = Forbidden::Sites(&sites);
        for (pc, want) in
            [(0xfff, false), (0x1000, false), (0x1001, true), (0x1004, true), (0x1005, false), (0x2003, true)]
        {
            assert_eq!(forbidden.contains(pc), want, "{pc:#x}");
        }
        assert_eq!(forbidden.detour(0x2004), Some(0x9004));
        assert_eq!(forbidden.detour(0x2003), None, "no instruction begins there");
    }

    #[test]
    fn areas_are_half_open_and_only_the_image_counts_anywhere() {
        let forbidden = Forbidden::Area { start: 0x1000, image_end: 0x2000, end: 0x3000 };
        assert!(forbidden.contains(0x1000) && forbidden.contains(0x2fff) && !forbidden.contains(0x3000));
        assert!(forbidden.anywhere(0x1fff) && !forbidden.anywhere(0x2000));
        assert_eq!(forbidden.bounds(), (0x1000, 0x3000));
        assert_eq!(forbidden.detour(0x1000), None);
    }
}
