//! Stepping through a probe, with something done after a chosen instruction.

use std::cell::RefCell;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use textpoke_attach::trampoline::Kind;
use textpoke_trace::record::RECORD_BYTES;
use textpoke_trace::ring::{Holes, Reader};

use crate::context::Context;
use crate::rig::{self, Rig, call, set_gs_base};

/// Slots of a ring.
pub const SLOTS: usize = 256;
/// Site of the probe that is stepped through, and of those that handlers run.
pub const OUTER: u32 = 1;
pub const INNER: u32 = 2;

/// How the rig stands when the probe is called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Path {
    /// The thread has a ring with room.
    Fast,
    /// The room that the thread knows of is used up, but the reader has made more.
    Refresh,
    /// The ring is full.
    Full,
    /// The thread has no ring.
    Claim,
    /// And there is none.
    NoRing,
    /// The program uses the GS base.
    Foreign,
    /// The ring that the GS base leads to was given back.
    GivenBack,
}

const PATHS: [Path; 7] =
    [Path::Fast, Path::Refresh, Path::Full, Path::Claim, Path::NoRing, Path::Foreign, Path::GivenBack];

/// What happens after the k-th instruction.
pub type Act = Box<dyn FnMut(&mut libc::ucontext_t)>;

struct Stepper {
    /// Executable memory of the rig: only there are steps counted.
    text: (u64, u64),
    /// Number of the step to act after.
    at: usize,
    steps: usize,
    act: Act,
}

thread_local! {
    static STEPPER: RefCell<Option<Stepper>> = const { RefCell::new(None) };
}

extern "C" fn on_step(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel's pointer.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    STEPPER.with_borrow_mut(|stepper| {
        let Some(stepper) = stepper else { return };
        let pc = context.uc_mcontext.gregs[libc::REG_RIP as usize] as u64;
        if (stepper.text.0..stepper.text.1).contains(&pc) {
            if stepper.steps == stepper.at {
                (stepper.act)(context);
            }
            stepper.steps += 1;
        }
    });
}

/// One test at a time has the handler.
fn install() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // SAFETY: the handler is prepared for any step trap, and nothing else in this process raises SIGTRAP.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = on_step as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGTRAP, &action, std::ptr::null_mut()), 0);
    }
    guard
}

pub struct Bench {
    pub rig: Rig,
    pub outer: u64,
    pub inner: u64,
    readers: Vec<Reader>,
}

/// What was read and lost, by site.
#[derive(Default, Debug)]
pub struct Tally {
    pub outer: usize,
    pub inner: usize,
    pub lost: usize,
}

impl Tally {
    pub fn total(&self) -> usize {
        self.outer + self.inner + self.lost
    }
}

static FOREIGN: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

impl Bench {
    fn new(kind: Kind) -> Self {
        let mut rig = Rig::new(4, SLOTS * RECORD_BYTES);
        let (outer, inner) = (rig.probe(OUTER, kind), rig.probe(INNER, Kind::Entry));
        Self { rig, outer, inner, readers: vec![Reader::default(); 4] }
    }

    /// Everything read, everything given back.
    fn reset(&mut self) {
        self.rig.shared.switch_probes_on();
        set_gs_base(0);
        self.tally();
        let free = &self.rig.shared.control().probes.free;
        for ring in 0..4 {
            if self.rig.shared.ring(ring).state.load(Relaxed) == 1 {
                self.rig.shared.free_ring(ring);
            }
        }
        // A jump out of the probe may lose a ticket; the rest of the test wants all.
        free.store(4, Relaxed);
    }

    fn prepare(&mut self, path: Path) {
        self.reset();
        match path {
            Path::Fast => _ = call(self.inner),
            // What makes the difference is whether it is read below.
            Path::Refresh | Path::Full => (0..SLOTS).for_each(|_| _ = call(self.inner)),
            Path::Claim => {}
            Path::NoRing => self.rig.shared.control().probes.free.store(0, Relaxed),
            Path::Foreign => set_gs_base(FOREIGN.as_ptr() as u64),
            Path::GivenBack => {
                call(self.inner);
                let ring = self.rig.ring_of(rig::gettid()).unwrap();
                self.rig.shared.free_ring(ring);
            }
        }
        if path != Path::Full {
            self.tally();
        }
    }

    /// Reads all rings to the end, and the counters.
    pub fn tally(&mut self) -> Tally {
        let mut tally = self.read(Holes::Skip);
        let probes = &self.rig.shared.control().probes;
        tally.lost += probes.no_ring.swap(0, Relaxed) as usize + probes.foreign.swap(0, Relaxed) as usize;
        tally
    }

    /// Reads all rings.
    pub fn read(&mut self, holes: Holes) -> Tally {
        let mut tally = Tally::default();
        for (i, reader) in self.readers.iter_mut().enumerate() {
            let before = reader.lost();
            for record in self.rig.drain(reader, i, holes) {
                match record.site {
                    OUTER => tally.outer += 1,
                    INNER => tally.inner += 1,
                    _ => assert!(record.is_lost(), "{record:?}"),
                }
            }
            tally.lost += (reader.lost() - before) as usize;
        }
        tally
    }

    /// Calls the outer probe in steps, with `act` after step `at`, and every register seen to be as before. Returns whether
    /// there was such a step.
    pub fn step(&mut self, at: usize, act: Act) -> bool {
        let before = Context::filled(at as u64).with_flags(at as u64 * 0x155);
        let mut after = None;
        let more = self.steps(at, act, |outer| after = Some(before.call(outer, true)));
        assert_eq!(after.unwrap().difference(&before), None, "after a handler at step {at}");
        more
    }

    /// The same, where `run` calls the outer probe in steps.
    pub fn steps(&mut self, at: usize, act: Act, run: impl FnOnce(u64)) -> bool {
        let area = self.rig.regions.text[0];
        STEPPER.set(Some(Stepper { text: (area.addr, area.addr + area.len), at, steps: 0, act }));
        run(self.outer);
        at < STEPPER.take().unwrap().steps
    }
}

/// What is in the ring before the call that is stepped through.
pub fn already(path: Path) -> usize {
    if path == Path::Full { SLOTS } else { 0 }
}

/// Runs `one(bench, path, k)` for all kinds, paths and steps until it says that there is no step `k`.
pub fn everywhere(mut one: impl FnMut(&mut Bench, Path, usize) -> bool) {
    let _guard = install();
    for kind in [Kind::Entry, Kind::Exit] {
        let mut bench = Bench::new(kind);
        for path in PATHS {
            let mut k = 0;
            loop {
                bench.prepare(path);
                if !one(&mut bench, path, k) {
                    break;
                }
                k += 1;
            }
            assert!(k > 25, "{path:?} has {k} steps only");
        }
        bench.reset();
    }
}
