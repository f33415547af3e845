//! The function tracer: what a traced function calls at its entry and passes at its return, and the graph.
//!
//! A function returns to where its caller wants by way of `arch::trace`, which asks here for the address: each CPU keeps a
//! stack of them. NMIs, and interrupts, take from it only what they have put there. All this is never patched.

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use textpoke_core::{Direction, Kind, Site, Verdict};

use crate::arch::{self, smp};
use crate::engine;
use crate::{CPUS, parameters, print};

/// Calls under way on a CPU that are known.
const DEPTH: usize = 64;
/// Events of a CPU that are kept: the first ones, and no more than half of them outside NMIs.
const EVENTS: usize = 4096;

const ENTRY: u64 = 0;
const RETURN: u64 = 1;
const NMI: u64 = 2;
const NMI_END: u64 = 3;

/// What a CPU knows. Only the CPU itself writes it, but an NMI may come in anywhere: it leaves `depth` as it was.
struct Own {
    depth: AtomicUsize,
    calls: [[AtomicU64; 2]; DEPTH],
    /// NMIs under way.
    nmis: AtomicUsize,
    used: AtomicUsize,
    /// Kind and function, time.
    events: [[AtomicU64; 2]; EVENTS],
}

static OWN: [Own; CPUS] = [const {
    Own {
        depth: AtomicUsize::new(0),
        calls: [const { [const { AtomicU64::new(0) }; 2] }; DEPTH],
        nmis: AtomicUsize::new(0),
        used: AtomicUsize::new(0),
        events: [const { [const { AtomicU64::new(0) }; 2] }; EVENTS],
    }
}; CPUS];
/// Whether events are written.
static ON: AtomicBool = AtomicBool::new(false);

fn note(own: &Own, kind: u64, function: u64) {
    let full = own.nmis.load(Relaxed) == 0 && own.used.load(Relaxed) >= EVENTS / 2;
    if ON.load(Relaxed) && !full {
        // One instruction, so that an NMI gets an event of its own.
        let at = own.used.fetch_add(1, Relaxed);
        if let Some(event) = own.events.get(at) {
            event[0].store(kind << 62 | function, Relaxed);
            event[1].store(arch::now(), Relaxed);
        }
    }
}

/// At a function's entry: its caller's return address is in `returns` and becomes `back`.
///
/// # Safety
/// `returns` is that, and `back` asks [`on_return`] for the address.
pub(crate) unsafe fn on_entry(function: u64, returns: *mut u64, back: u64) {
    let own = &OWN[smp::this()];
    note(own, ENTRY, function);
    let depth = own.depth.load(Relaxed);
    // Deeper calls are known by their entries alone.
    if let Some(call) = own.calls.get(depth) {
        own.depth.store(depth + 1, Relaxed);
        call[0].store(function, Relaxed);
        // SAFETY: the caller's duty.
        unsafe {
            call[1].store(returns.read(), Relaxed);
            returns.write(back);
        }
    }
}

/// Where the function that returns now returns to.
pub(crate) fn on_return() -> u64 {
    let own = &OWN[smp::this()];
    let depth = own.depth.load(Relaxed) - 1;
    let call = &own.calls[depth];
    let (function, returns) = (call[0].load(Relaxed), call[1].load(Relaxed));
    own.depth.store(depth, Relaxed);
    note(own, RETURN, function);
    returns
}

/// An NMI's work, with a mark before and behind it.
pub(crate) fn interrupted(cpu: usize, work: impl FnOnce()) {
    let own = &OWN[cpu];
    own.nmis.fetch_add(1, Relaxed);
    note(own, NMI, 0);
    work();
    note(own, NMI_END, 0);
    own.nmis.fetch_sub(1, Relaxed);
}

/// The sites at the entries of all functions that can be traced, in order, into a buffer; how many there are. The entries are
/// prepared first, where that is necessary.
pub fn sites(buffer: &mut [Site]) -> usize {
    let count = collect(buffer, arch::trace::plant);
    if count > 0 {
        // SAFETY: two NOPs at a function's entry bear it. No interrupt, trap or NMI executes them.
        let done = unsafe { engine::patch(&buffer[..count], Kind::Plant, Direction::Install) };
        assert_eq!(done, Ok(Verdict::Performed(Direction::Install)));
    }
    collect(buffer, arch::trace::site)
}

fn collect(buffer: &mut [Site], site: fn(u64) -> Option<Site>) -> usize {
    unsafe extern "C" {
        static sleds_start: u64;
        static sleds_end: u64;
    }
    let (start, end) = ((&raw const sleds_start).addr(), (&raw const sleds_end).addr());
    let mut count = 0;
    for at in (start..end).step_by(8) {
        // SAFETY: the table that the compiler and the linker made.
        let addr = unsafe { (at as *const u64).read() };
        if let Some(site) = site(addr) {
            buffer[count] = site;
            count += 1;
        }
    }
    buffer[..count].sort_unstable_by_key(|site| site.addr);
    count
}

/// From now on events are kept, or not.
pub fn switch(on: bool) {
    ON.store(on, Relaxed);
}

/// Forgets all events.
pub fn clear() {
    OWN.iter().for_each(|own| own.used.store(0, Relaxed));
}

/// What was kept of a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries.
    pub entries: usize,
    /// Returns.
    pub returns: usize,
    /// Entries in NMIs.
    pub in_nmis: usize,
    /// NMIs.
    pub nmis: usize,
}

fn events(cpu: usize) -> impl Iterator<Item = (u64, u64, u64)> {
    let used = OWN[cpu].used.load(Relaxed).min(EVENTS);
    OWN[cpu].events[..used].iter().map(|event| {
        let what = event[0].load(Relaxed);
        (what >> 62, what & (u64::MAX >> 2), event[1].load(Relaxed))
    })
}

/// Counts, and panics if calls and returns do not fit together.
pub fn summary(cpu: usize) -> Summary {
    let mut all = Summary::default();
    let mut nested = 0_usize;
    let mut open = [0; 4 * DEPTH];
    let mut depth = 0;
    for (kind, function, _) in events(cpu) {
        match kind {
            ENTRY => {
                all.entries += 1;
                all.in_nmis += (nested > 0) as usize;
                open[depth] = function;
                depth += 1;
            }
            RETURN => {
                all.returns += 1;
                // A function that was entered before tracing began, or not by its entry, is not known here.
                if depth > 0 {
                    depth -= 1;
                    assert_eq!(open[depth], function, "CPU {cpu}: another function returns than was called last");
                }
            }
            NMI => (all.nmis, nested) = (all.nmis + 1, nested + 1),
            // One whose beginning was cleared away is not known here.
            _ => nested = nested.saturating_sub(1),
        }
    }
    all
}

/// Prints calls of a CPU as a graph, at most so many lines, from the first call on that an NMI interrupts if there is one.
pub fn graph(cpu: usize, lines: usize) {
    let mut depth = 0;
    let mut began = [0; 4 * DEPTH];
    let mut printed = 0;
    let from = events(cpu).position(|(kind, ..)| kind == NMI).map_or(0, |at| at.saturating_sub(4));
    let mut all = events(cpu).skip(from).peekable();
    let line = |depth: usize, time: Option<u64>, text: core::fmt::Arguments<'_>| match time {
        Some(time) => print::locked(format_args!(" {cpu}) {time:>9} | {:depth$}{text}\n", "", depth = 2 * depth)),
        None => print::locked(format_args!(" {cpu}) {:>9} | {:depth$}{text}\n", "", "", depth = 2 * depth)),
    };
    while let Some((kind, function, time)) = all.next() {
        if printed == lines {
            return;
        }
        printed += 1;
        match kind {
            ENTRY => {
                let leaf = all.peek().filter(|next| (next.0, next.1) == (RETURN, function)).map(|next| next.2);
                if let Some(end) = leaf {
                    line(depth, Some(end - time), format_args!("{}();", Name(function)));
                    all.next();
                } else {
                    line(depth, None, format_args!("{}() {{", Name(function)));
                    began[depth] = time;
                    depth += 1;
                }
            }
            RETURN if depth == 0 => line(0, None, format_args!("}} /* {} */", Name(function))),
            RETURN => {
                depth -= 1;
                line(depth, Some(time - began[depth]), format_args!("}} /* {} */", Name(function)));
            }
            NMI => line(0, None, format_args!("==> NMI")),
            _ => line(0, None, format_args!("<== NMI")),
        }
    }
}

/// A function, by its name if it is known.
pub struct Name(pub u64);

impl core::fmt::Display for Name {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match parameters::symbol(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}
