//! The start of DATA: how tracer and sidecar talk, and counters that the probes share.
//!
//! They talk in turns: [`Turn`] is one futex word that counts the messages; while it is odd the sidecar may write, while it
//! is even the tracer may. Whoever has the turn writes its message and then adds one. The sidecar has the first turn and
//! uses it to say that it is [ready](ToTracer::Ready).

use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

/// First field of [`Control`]: "tpctrl" and the version of this layout.
pub const MAGIC: u64 = u64::from_le_bytes(*b"tpctrl\0\x01");
/// The most text ranges of one session.
pub const MAX_RANGES: usize = 512;
/// The most batches that can be installed at the same time.
pub const MAX_BATCHES: usize = 64;
/// Number of steps of one batch whose times are kept.
pub const MAX_STEPS: usize = 48;

/// What tracer, sidecar and probes share besides the rings.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct Control {
    /// [`MAGIC`]; set by the tracer.
    pub magic: AtomicU64,
    /// Whose turn it is.
    pub turn: Turn,
    /// A descriptor in the sidecar's table that `poll` reports as ready (any event) once the tracer is gone: the read end
    /// of a pipe whose write end only the tracer holds, or a pidfd; -1 = there is none, the tracer is taken to live.
    pub tracer_fd: AtomicI32,
    /// The target's process id as the target itself sees it.
    pub target_pid: AtomicU32,
    /// 1 while the agent's SIGTRAP handler is installed in the target.
    pub handler: AtomicU32,
    /// How many of [`ranges`](Self::ranges) count.
    pub range_count: AtomicU32,
    /// What the tracer says.
    pub to_sidecar: Message,
    /// What the sidecar says.
    pub to_tracer: Message,
    /// Counters of the probes' slow path, on cache lines of their own.
    pub probes: Probes,
    /// What the last batch did.
    pub report: Report,
    /// How many of [`batches`](Self::batches) are installed.
    pub batch_count: AtomicU32,
    /// 1: the sites are those of keys, whose own tables say what stands there; the journal is not for repairing.
    pub of_keys: AtomicU32,
    /// Installed batches in the order of their installation: they are removed from the last to the first.
    pub batches: [Batch; MAX_BATCHES],
    /// The text in which sites lie: what may be made writable, and how it was.
    pub ranges: [TextRange; MAX_RANGES],
}

/// Counters that many threads write.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct Probes {
    /// Rings that are free. A thread that decrements it to a number ≥ 0 is sure to find one.
    pub free: AtomicI32,
    /// Index behind which to begin looking for a free ring.
    pub hint: AtomicU32,
    /// Events lost because there was no free ring.
    pub no_ring: AtomicU64,
    /// Events lost because the thread cannot be told apart: it uses the GS base itself (x86-64), or has no thread pointer.
    pub foreign: AtomicU64,
}

/// What a batch cost.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct Report {
    /// Membarrier system calls of the last batch (registration excluded).
    pub membarriers: AtomicU32,
    /// Steps performed, [`MAX_STEPS`] of them with their times.
    pub steps: AtomicU32,
    /// Ticks that each step took, in the order in which they were performed.
    pub ticks: [AtomicU64; MAX_STEPS],
}

/// Sites of the plan that are changed together.
#[repr(C)]
#[derive(Debug)]
pub struct Batch {
    /// Index of the first site.
    pub first: AtomicU64,
    /// Number of sites.
    pub count: AtomicU64,
    /// Protocol, as a number of the core crate.
    pub kind: AtomicU32,
    /// Zero.
    pub reserved: AtomicU32,
}

/// A page range of text.
#[repr(C)]
#[derive(Debug)]
pub struct TextRange {
    /// First address, on a page.
    pub start: AtomicU64,
    /// First address behind it, on a page.
    pub end: AtomicU64,
    /// `PROT_*` bits that the pages have while no batch runs.
    pub prot: AtomicU64,
}

/// Counts messages; odd = the sidecar's turn.
#[repr(transparent)]
#[derive(Debug)]
pub struct Turn(pub AtomicU32);

/// One of the two that talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The process that attached.
    Tracer,
    /// Its helper in the target's memory.
    Sidecar,
}

impl Turn {
    /// The word before the first message: the sidecar begins.
    pub const FIRST: u32 = 1;

    /// Whose turn it is, and the word to wait on as a futex until that changes. What the other side wrote before it
    /// passed the turn is visible afterwards.
    pub fn read(&self) -> (Side, u32) {
        let word = self.0.load(Ordering::Acquire);
        (if word % 2 == 1 { Side::Sidecar } else { Side::Tracer }, word)
    }

    /// Passes the turn to the other side; wake its futex afterwards.
    pub fn pass(&self) {
        let word = self.0.load(Ordering::Relaxed);
        self.0.store(word.wrapping_add(1), Ordering::Release);
    }
}

/// Number of words of a message.
pub const WORDS: usize = 10;

/// Eight words and more: written by the side that has the turn, read by the other.
#[repr(transparent)]
#[derive(Debug)]
pub struct Message(pub [AtomicU64; WORDS]);

/// Causes and verdicts travel as the numbers that the core crate gives them.
pub type Words<const N: usize> = [u64; N];

/// From the tracer to the sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToSidecar {
    /// Perform the protocol `kind` in direction `dir` on the sites `first .. first + count` of the journal.
    Batch {
        /// Protocol.
        kind: u32,
        /// Direction.
        dir: u32,
        /// Index of the first site.
        first: u64,
        /// Number of sites.
        count: u64,
        /// The sites may hold any mixture of their two forms and traps, because an earlier patcher was killed: nothing is
        /// expected to stand there. Only for removal.
        mixed: bool,
    },
    /// The answer to a request: an outcome.
    Answer(Words<2>),
    /// End the process.
    Exit,
}

/// From the sidecar to the tracer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToTracer {
    /// Started; the error number of the membarrier registration, 0 if it went well.
    Ready(u32),
    /// Perform the step `AwaitNoneInside` for the batch in flight and answer.
    AwaitNoneInside,
    /// Perform the step `Retire` for the batch in flight and answer.
    Retire,
    /// The batch turns back: traps are to be resolved in this direction from now on. Answer when that is so.
    Turned(u32),
    /// Perform the step `Park` and answer.
    Park,
    /// Perform the step `Unpark` and answer.
    Unpark,
    /// The batch is over: a verdict.
    Finished(Words<7>),
    /// The last message made no sense; nothing was done.
    Refused,
}

impl Message {
    /// Writes it. Only for the side that has the turn.
    pub fn write(&self, words: Words<WORDS>) {
        for (to, from) in self.0.iter().zip(words) {
            to.store(from, Ordering::Relaxed);
        }
    }

    /// Reads what the other side wrote, after [`Turn::read`] said that it is this side's turn.
    pub fn read(&self) -> Words<WORDS> {
        core::array::from_fn(|i| self.0[i].load(Ordering::Relaxed))
    }
}

impl ToSidecar {
    /// As words.
    pub fn to_words(self) -> Words<WORDS> {
        match self {
            Self::Batch { kind, dir, first, count, mixed } => {
                pack(1, &[u64::from(kind), u64::from(dir), first, count, u64::from(mixed)])
            }
            Self::Answer(outcome) => pack(2, &outcome),
            Self::Exit => pack(3, &[]),
        }
    }

    /// From words; `None` if they mean nothing.
    pub fn from_words(words: Words<WORDS>) -> Option<Self> {
        let [code, a, b, first, count, mixed, ..] = words;
        Some(match code {
            1 => {
                let (kind, dir) = (u32::try_from(a).ok()?, u32::try_from(b).ok()?);
                Self::Batch { kind, dir, first, count, mixed: mixed != 0 }
            }
            2 => Self::Answer([a, b]),
            3 => Self::Exit,
            _ => return None,
        })
    }
}

impl ToTracer {
    /// As words.
    pub fn to_words(self) -> Words<WORDS> {
        match self {
            Self::Ready(errno) => pack(1, &[u64::from(errno)]),
            Self::AwaitNoneInside => pack(2, &[]),
            Self::Retire => pack(3, &[]),
            Self::Finished(verdict) => pack(4, &verdict),
            Self::Refused => pack(5, &[]),
            Self::Turned(dir) => pack(6, &[u64::from(dir)]),
            Self::Park => pack(7, &[]),
            Self::Unpark => pack(8, &[]),
        }
    }

    /// From words; `None` if they mean nothing.
    pub fn from_words(words: Words<WORDS>) -> Option<Self> {
        Some(match words[0] {
            1 => Self::Ready(u32::try_from(words[1]).ok()?),
            2 => Self::AwaitNoneInside,
            3 => Self::Retire,
            4 => Self::Finished(core::array::from_fn(|i| words[1 + i])),
            5 => Self::Refused,
            6 => Self::Turned(u32::try_from(words[1]).ok()?),
            7 => Self::Park,
            8 => Self::Unpark,
            _ => return None,
        })
    }
}

fn pack(code: u64, rest: &[u64]) -> Words<WORDS> {
    let mut words = [0; WORDS];
    words[0] = code;
    words[1..=rest.len()].copy_from_slice(rest);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_way() {
        let message = Message([const { AtomicU64::new(u64::MAX) }; WORDS]);
        for m in [
            ToSidecar::Batch { kind: 1, dir: 2, first: 3, count: u64::MAX, mixed: true },
            ToSidecar::Batch { kind: 0, dir: 0, first: 0, count: 1, mixed: false },
            ToSidecar::Answer([4, 5]),
            ToSidecar::Exit,
        ] {
            message.write(m.to_words());
            assert_eq!(ToSidecar::from_words(message.read()), Some(m));
        }
        for m in [
            ToTracer::Ready(38),
            ToTracer::AwaitNoneInside,
            ToTracer::Retire,
            ToTracer::Finished([1, 2, 3, 4, 5, 6, 7]),
            ToTracer::Refused,
            ToTracer::Turned(1),
            ToTracer::Park,
            ToTracer::Unpark,
        ] {
            message.write(m.to_words());
            assert_eq!(ToTracer::from_words(message.read()), Some(m));
        }
    }

    #[test]
    fn nonsense_is_no_message() {
        for code in [0, 9, u64::MAX] {
            assert_eq!(ToSidecar::from_words(pack(code, &[])), None);
            assert_eq!(ToTracer::from_words(pack(code, &[])), None);
        }
        assert_eq!(ToSidecar::from_words(pack(1, &[1 << 32, 0, 0, 0])), None);
        assert_eq!(ToTracer::from_words(pack(1, &[1 << 32])), None);
    }

    #[test]
    fn turns_alternate_and_wrap() {
        let turn = Turn(AtomicU32::new(Turn::FIRST));
        assert_eq!(turn.read(), (Side::Sidecar, 1));
        turn.pass();
        assert_eq!(turn.read().0, Side::Tracer);
        turn.0.store(u32::MAX, Ordering::Relaxed);
        assert_eq!(turn.read().0, Side::Sidecar);
        turn.pass();
        assert_eq!(turn.read(), (Side::Tracer, 0));
    }

    #[test]
    fn two_sides_agree_over_many_messages() {
        extern crate std;
        let shared = (
            Turn(AtomicU32::new(Turn::FIRST)),
            Message([const { AtomicU64::new(0) }; WORDS]),
            Message([const { AtomicU64::new(0) }; WORDS]),
        );
        let wait = |side| {
            while shared.0.read().0 != side {
                std::thread::yield_now();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for i in 0..1000 {
                    wait(Side::Sidecar);
                    if i > 0 {
                        let want = ToSidecar::Batch { kind: i, dir: 0, first: 0, count: 0, mixed: false };
                        assert_eq!(ToSidecar::from_words(shared.1.read()), Some(want));
                    }
                    shared.2.write(ToTracer::Ready(i).to_words());
                    shared.0.pass();
                }
            });
            for i in 0..1000 {
                wait(Side::Tracer);
                assert_eq!(ToTracer::from_words(shared.2.read()), Some(ToTracer::Ready(i)));
                shared.1.write(ToSidecar::Batch { kind: i + 1, dir: 0, first: 0, count: 0, mixed: false }.to_words());
                shared.0.pass();
            }
        });
    }
}
