//! The NMI's side of [`nmi_assist`](crate::protocol::nmi_assist): who is running, and what an NMI does before its work.
//!
//! An NMI cannot be parked and cannot wait. If a change is announced when it comes in, it writes the whole record, makes
//! its CPU fetch anew, and only then does what it came for.

use core::sync::atomic::{AtomicU32, Ordering};

/// Bit of the gate's word: a change is announced.
const ANNOUNCED: u32 = 1 << 31;
/// Bit of the gate's word: it is the one in the second buffer.
const SECOND: u32 = 1 << 30;
const COUNT: u32 = SECOND - 1;

/// One of the two buffers for records: one may be announced while the other is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Buffer {
    /// The first.
    First,
    /// The second.
    Second,
}

impl Buffer {
    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    const fn bits(self) -> u32 {
        match self {
            Self::First => ANNOUNCED,
            Self::Second => ANNOUNCED | SECOND,
        }
    }

    const fn announced(word: u32) -> Option<Self> {
        match word & (ANNOUNCED | SECOND) {
            ANNOUNCED => Some(Self::First),
            bits if bits & ANNOUNCED != 0 => Some(Self::Second),
            _ => None,
        }
    }
}

/// How many NMIs run and which change is announced: one word, so that neither can change between finding out about the
/// other and acting on it.
///
/// It belongs where every CPU's NMI entry finds it. At most 2^30 - 1 NMIs run at a time, nested ones included.
#[derive(Debug, Default)]
pub struct Gate(AtomicU32);

impl Gate {
    /// Nobody runs, nothing is announced.
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// An NMI begins. The buffer of the change that is announced, if there is one: it must then help with it.
    pub fn enter(&self) -> Option<Buffer> {
        // AcqRel. Acquire pairs with the Release of `announce_if_idle`: who sees the announcement sees the record. As one
        // read-modify-write with the count it cannot come between a patcher's look and its announcement.
        Buffer::announced(self.0.fetch_add(1, Ordering::AcqRel))
    }

    /// An NMI ends.
    pub fn leave(&self) {
        // Release pairs with the Acquire of `is_idle` and `announce_if_idle`: all that this NMI executed and wrote came
        // before whatever the patcher does when it finds nobody running.
        self.0.fetch_sub(1, Ordering::Release);
    }

    /// Announces the change in `buffer`, and no other, if no NMI runs at this moment; whether it did. For the patcher
    /// alone.
    pub fn announce_if_idle(&self, buffer: Buffer) -> bool {
        // Only the patcher changes what is announced, so that the value read is current unless NMIs come or go.
        let now = self.0.load(Ordering::Relaxed);
        // Success: Release publishes the record to `enter`, Acquire pairs with `leave`. Failure: nothing is read.
        now & COUNT == 0 && self.0.compare_exchange(now, buffer.bits(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Announces the change in `buffer`, and no other, whether or not an NMI runs. For the patcher alone, and only for schemes
    /// that are wrong, such as the first published one: see `docs/protocols/nmi_assist.md`.
    pub fn announce(&self, buffer: Buffer) {
        // What was announced goes, the count stays. Ordering as in `announce_if_idle`.
        let exchange = |now: u32| Some(now & COUNT | buffer.bits());
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, exchange);
    }

    /// From now on NMIs write nothing.
    pub fn withdraw(&self) {
        // Release: the patcher's own stores to the text come before; who does not see the announcement sees them.
        // Pairs with the Acquire of `enter`.
        self.0.fetch_and(COUNT, Ordering::AcqRel);
    }

    /// Whether no NMI runs. Sequences of NMIs may keep it false for long; each single one ends.
    pub fn is_idle(&self) -> bool {
        self.0.load(Ordering::Acquire) & COUNT == 0
    }
}

/// What an NMI does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// [`Gate::enter`]; the answer is told to [`Visit::next`].
    Enter,
    /// Read the record: which sites, and which bytes.
    Read,
    /// Write all of the record's bytes that are not there yet.
    Write,
    /// Make them visible to instruction fetch, as [`Step::Maintain`](crate::Step::Maintain) does.
    Maintain,
    /// Pass a context synchronising point: a byte that was old when this NMI began may have been fetched already.
    Synchronise,
    /// What the NMI came for; it may execute the sites.
    Handle,
    /// [`Gate::leave`].
    Leave,
    /// The end.
    Return,
}

/// One NMI, from its entry to its return: a small value without I/O, performed by a kernel's entry code and explored by
/// the checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Visit(u8);

const ALONE: [Act; 4] = [Act::Enter, Act::Handle, Act::Leave, Act::Return];
const HELPING: [Act; 8] =
    [Act::Enter, Act::Read, Act::Write, Act::Maintain, Act::Synchronise, Act::Handle, Act::Leave, Act::Return];
const HELPS: u8 = 0x80;

impl Visit {
    /// An NMI that has just come in.
    pub const fn new() -> Self {
        Self(0)
    }

    /// What to do next. `announced` is what the last [`Gate::enter`] of this visit said, and counts behind
    /// [`Act::Enter`] only. After [`Act::Return`] it stays there.
    pub fn next(&mut self, announced: bool) -> Act {
        let at = usize::from(self.0 & !HELPS);
        if at == 1 && announced {
            self.0 |= HELPS;
        }
        let acts: &[Act] = if self.0 & HELPS != 0 { &HELPING } else { &ALONE };
        let act = acts.get(at).copied().unwrap_or(Act::Return);
        if at < acts.len() {
            self.0 += 1;
        }
        act
    }
}

/// How often NMIs and the patcher met. Statistics only: all accesses are relaxed, nothing is ordered by them.
#[derive(Debug, Default)]
pub struct Counters {
    /// NMIs that wrote a record.
    pub writes: AtomicU32,
    /// Times that a patcher found an NMI running and had to wait.
    pub waits: AtomicU32,
}

impl Counters {
    /// All zero.
    pub const fn new() -> Self {
        Self { writes: AtomicU32::new(0), waits: AtomicU32::new(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(announced: bool) -> [Act; 9] {
        let mut visit = Visit::new();
        core::array::from_fn(|i| visit.next(i > 0 && announced))
    }

    #[test]
    fn a_visit_helps_only_when_a_change_is_announced() {
        use Act::*;
        assert_eq!(walk(false), [Enter, Handle, Leave, Return, Return, Return, Return, Return, Return]);
        assert_eq!(walk(true), [Enter, Read, Write, Maintain, Synchronise, Handle, Leave, Return, Return]);
    }

    #[test]
    fn what_was_announced_at_the_entry_counts_later_too() {
        let mut visit = Visit::new();
        assert_eq!((visit.next(false), visit.next(true)), (Act::Enter, Act::Read));
        assert_eq!((visit.next(false), visit.next(false)), (Act::Write, Act::Maintain));
    }

    #[test]
    fn nothing_is_announced_while_an_nmi_runs() {
        let gate = Gate::new();
        assert_eq!(gate.enter(), None);
        assert!(!gate.announce_if_idle(Buffer::First) && !gate.is_idle());
        gate.leave();
        assert!(gate.is_idle() && gate.announce_if_idle(Buffer::First));
        assert_eq!(gate.enter(), Some(Buffer::First));
        assert!(!gate.announce_if_idle(Buffer::Second), "the one that saw the first still runs");
        gate.leave();
        assert!(gate.announce_if_idle(Buffer::First.other()), "one change is exchanged for another");
        assert_eq!(gate.enter(), Some(Buffer::Second));
        gate.withdraw();
        assert!(!gate.is_idle());
        assert_eq!(gate.enter(), None);
        gate.announce(Buffer::First);
        assert_eq!(gate.enter(), Some(Buffer::First), "also while NMIs run");
        gate.withdraw();
        for _ in 0..3 {
            gate.leave();
        }
        assert!(gate.is_idle());
    }
}
