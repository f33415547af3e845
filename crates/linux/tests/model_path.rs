//! What is performed on live code is what the checker explored.
//!
//! Every protocol patches real functions in both directions while threads execute them, once undisturbed and once with
//! each of its steps failing, before or after its work. A wrapper around the live machine records each step; the checker
//! must accept the record as a path of its own graph, and must not accept it with a step gone or two of them swapped.

#![allow(unsafe_code, reason = "the tests generate, execute and change machine code")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use textpoke_core::isa::X86_64;
use textpoke_core::isa::x86_64::{NOPS, jmp};
use textpoke_core::{Cause, Direction, Kind, Machine, Outcome, Plan, Run, Site, Step, Verdict, drive};
use textpoke_linux::signal::{Action, Info, SIGTRAP};
use textpoke_linux::trap::on_trap;
use textpoke_linux::ucontext::UContext;
use textpoke_linux::{Hooks, Live, Prefer, Prot, Published, Range, sync, sys};
use textpoke_model::accepts;

/// Executing threads.
const THREADS: usize = 2;
const DIRECTIONS: [Direction; 2] = [Direction::Install, Direction::Remove];
/// What a function returns in its old and in its new form.
const RETURNS: [u64; 2] = [5, 70];
/// The cause of failures on purpose.
const CAUSE: Cause = Cause::Os(12);

static PUBLISHED: Published = Published::new();
static TURN: Mutex<()> = Mutex::new(());

/// One test at a time: there is one table of traps.
fn turn() -> MutexGuard<'static, ()> {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    sync::register().unwrap();
    // SAFETY: the handler touches nothing but its frame and the table.
    unsafe { sys::rt_sigaction(SIGTRAP, &Action::for_traps(on_sigtrap, true), std::ptr::null_mut()) }.unwrap();
    turn
}

/// Stays installed: a thread may be on its way to it long after a batch.
unsafe extern "C" fn on_sigtrap(_: i32, info: *mut Info, context: *mut UContext) {
    // SAFETY: the kernel's pointers into this thread's signal frame; the sites are this file's.
    if !unsafe { on_trap(&PUBLISHED, &*info, &mut *context) } {
        std::process::abort();
    }
}

/// Functions without arguments, and one site in each.
struct Code {
    kind: Kind,
    entries: Vec<u64>,
    sites: Vec<Site>,
    range: Range,
}

impl Code {
    /// Writes functions that suit a protocol, on a page of their own that stays mapped.
    fn new(kind: Kind) -> Self {
        use sys::flags::{MAP_ANONYMOUS, MAP_PRIVATE, PROT_EXEC, PROT_READ, PROT_WRITE};
        // SAFETY: fresh memory.
        let page = unsafe { sys::mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) }.unwrap();
        let (entries, sites): (Vec<_>, Vec<_>) = (0..3)
            .map(|i| {
                // Aligned for `word`, across an 8-byte boundary but on an even address otherwise.
                let addr = page + 256 * i + 64 + if kind == Kind::Word { 0 } else { 6 };
                (addr - 2, if kind == Kind::Displace { displaced(addr) } else { single(addr) })
            })
            .unzip();
        // SAFETY: our own memory, where nobody runs yet.
        unsafe { sys::mprotect(page, 4096, PROT_READ | PROT_EXEC) }.unwrap();
        Self { kind, entries, sites, range: Range::new(page, page + 4096, Prot::RX) }
    }

    fn call(&self, i: usize) -> u64 {
        // SAFETY: generated code that keeps the calling convention.
        unsafe { std::mem::transmute::<u64, extern "sysv64" fn() -> u64>(self.entries[i])() }
    }

    /// Fails unless every function is entirely in one form.
    fn assert_form(&self, new: bool) {
        for (i, site) in self.sites.iter().enumerate() {
            let read = |at: u64| {
                // SAFETY: mapped for good.
                unsafe { (at as *const u8).read_volatile() }
            };
            let bytes: Vec<u8> = (site.addr..site.end()).map(read).collect();
            let wanted = if new { &site.new } else { &site.old };
            assert_eq!(bytes, wanted[..site.len()]);
            assert_eq!(self.call(i), RETURNS[usize::from(new)]);
        }
    }
}

fn put(at: u64, bytes: &[u8]) -> u64 {
    // SAFETY: callers stay inside of the page that they are writing.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at as *mut u8, bytes.len()) };
    at + bytes.len() as u64
}

/// xor eax,eax; SITE; add eax,5; ret — where the site turns from a NOP into a jump to: mov eax,70; ret.
fn single(addr: u64) -> Site {
    put(addr - 2, &[0x31, 0xc0]);
    let behind = put(addr, &NOPS[4][..5]);
    let target = put(behind, &[0x83, 0xc0, 5, 0xc3]);
    put(target, &[0xb8, 70, 0, 0, 0, 0xc3]);
    Site::single(addr, &NOPS[4][..5], &jmp(addr, target).unwrap()).unwrap()
}

/// xor eax,eax; SITE; ret — where the site is: push rcx; add eax,5; pop rcx, and turns into a jump to other code.
fn displaced(addr: u64) -> Site {
    const OLD: [u8; 5] = [0x51, 0x83, 0xc0, 5, 0x59];
    put(addr - 2, &[0x31, 0xc0]);
    let behind = put(addr, &OLD);
    let copy = put(behind, &[0xc3]);
    let at = put(copy, &OLD);
    let target = put(at, &jmp(at, behind).unwrap());
    put(target, &[0xb8, 70, 0, 0, 0, 0xc3]);
    let mut site = Site::single(addr, &OLD, &jmp(addr, target).unwrap()).unwrap();
    (site.inner, site.copy, site.copy_at[1], site.copy_at[4]) = (0b1_0010, copy, 1, 4);
    site
}

/// What the executing threads and the patcher tell each other.
#[derive(Default)]
struct Traffic {
    stop: AtomicBool,
    /// Calls that each thread has finished.
    calls: [AtomicU64; THREADS],
}

/// Nobody executes anything.
fn nobody() -> Traffic {
    Traffic { stop: AtomicBool::new(true), ..Traffic::default() }
}

/// The two steps that depend on where the machine runs.
struct Among<'a>(&'a Traffic);

impl Hooks for Among<'_> {
    /// Every thread that was inside leaves with its call. Who comes later meets the traps and does not get inside.
    fn await_none_inside(&mut self, _: &[Site]) -> Result<(), Cause> {
        for calls in &self.0.calls {
            let before = calls.load(SeqCst);
            while calls.load(SeqCst) == before && !self.0.stop.load(SeqCst) {
                std::thread::yield_now();
            }
        }
        Ok(())
    }

    fn retire(&mut self, published: &Published) -> Result<(), Cause> {
        published.withdraw();
        published.drain(u64::MAX).map_err(|_| Cause::TimedOut)
    }
}

/// Which step fails, counted from 0 over the whole run, and whether its work is done first.
#[derive(Clone, Copy, Debug)]
struct Fault {
    step: usize,
    done: bool,
}

/// The live machine, and what it was asked for.
struct Recorder<'a, 'b> {
    live: Live<'a, Among<'b>>,
    steps: Vec<Step>,
    fault: Option<Fault>,
}

impl Machine for Recorder<'_, '_> {
    fn perform(&mut self, step: Step) -> Result<(), Cause> {
        let number = self.steps.len();
        self.steps.push(step);
        match self.fault {
            Some(fault) if fault.step == number && !matches!(step, Step::Done(_)) => {
                if fault.done {
                    self.live.perform(step)?;
                }
                Err(CAUSE)
            }
            _ => self.live.perform(step),
        }
    }
}

/// Performs a run of `kind` on live code and returns what was performed.
fn record(
    code: &Code,
    run: Option<Run<'_>>,
    dir: Direction,
    traffic: &Traffic,
    fault: Option<Fault>,
) -> (Verdict, Vec<Step>) {
    let plan = Plan::<X86_64>::new(&code.sites).unwrap();
    let ranges = [code.range];
    // SAFETY: 1. Threads bear both forms of the functions, which stay mapped. 2. The page is ours alone. 3. `on_sigtrap`.
    // 4. `turn` lets one test patch at a time and registered the process. 5. A broken batch fails the test.
    let live = unsafe { Live::new(plan, code.kind, dir, &ranges, &PUBLISHED, Among(traffic)) };
    let live = live.prefer(Prefer::Window);
    let run = run.unwrap_or_else(|| live.run());
    let mut recorder = Recorder { live, steps: Vec::new(), fault };
    let verdict = drive(run, &mut recorder);
    assert!(!matches!(verdict, Verdict::Broken(..)), "{verdict:?}");
    (verdict, recorder.steps)
}

/// Calls `body` while threads execute the code.
fn under_way(code: &Code, body: impl FnOnce(&Traffic)) {
    let traffic = Traffic::default();
    /// Lets the threads end even if the body panics.
    struct Stop<'a>(&'a Traffic);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.stop.store(true, SeqCst);
        }
    }
    std::thread::scope(|scope| {
        let _stop = Stop(&traffic);
        for calls in &traffic.calls {
            let traffic = &traffic;
            scope.spawn(move || {
                let _stop = Stop(traffic);
                while !traffic.stop.load(SeqCst) {
                    for i in 0..code.entries.len() {
                        let returned = code.call(i);
                        assert!(RETURNS.contains(&returned), "{returned}");
                    }
                    calls.fetch_add(1, SeqCst);
                }
            });
        }
        while traffic.calls.iter().any(|calls| calls.load(SeqCst) == 0) && !traffic.stop.load(SeqCst) {
            std::thread::yield_now();
        }
        body(&traffic);
    });
}

#[test]
fn live_runs_are_paths_of_the_model() {
    let _turn = turn();
    for kind in textpoke_linux::live::KINDS {
        let code = Code::new(kind);
        under_way(&code, |traffic| {
            for dir in DIRECTIONS {
                let (verdict, steps) = record(&code, None, dir, traffic, None);
                assert_eq!(verdict, Verdict::Performed(dir), "{} {dir:?}", kind.name());
                assert_eq!(steps.len(), kind.program(dir).len() + 1);
                assert_eq!(accepts(kind, dir, &steps), Ok(()), "{} {dir:?} {steps:?}", kind.name());
                code.assert_form(dir == Direction::Install);
            }
        });
    }
}

#[test]
fn so_are_those_in_which_a_step_fails() {
    let _turn = turn();
    for kind in textpoke_linux::live::KINDS {
        let code = Code::new(kind);
        under_way(&code, |traffic| {
            for dir in DIRECTIONS {
                let faults =
                    (0..kind.program(dir).len()).flat_map(|step| [false, true].map(|done| Fault { step, done }));
                for fault in faults {
                    let (verdict, steps) = record(&code, None, dir, traffic, Some(fault));
                    let context = || format!("{} {dir:?} {fault:?} {steps:?}", kind.name());
                    let Verdict::Undone(reason) = verdict else { panic!("{}: {verdict:?}", context()) };
                    assert_eq!((usize::from(reason.step), reason.cause), (fault.step, CAUSE), "{}", context());
                    assert!(steps.len() > fault.step + 1, "{}", context());
                    assert_eq!(accepts(kind, dir, &steps), Ok(()), "{}", context());
                    code.assert_form(dir == Direction::Remove);
                }
                record(&code, None, dir, traffic, None);
                code.assert_form(dir == Direction::Install);
            }
        });
    }
}

/// A failure that nobody made up: somebody else's bytes stand there.
#[test]
fn so_is_one_that_finds_other_bytes() {
    let _turn = turn();
    let mut code = Code::new(Kind::Breakpoint);
    code.sites[1].old[4] ^= 1;
    let (verdict, steps) = record(&code, None, Direction::Install, &nobody(), None);
    let Verdict::Undone(reason) = verdict else { panic!("{verdict:?}") };
    assert_eq!(reason.cause, Cause::Mismatch(code.sites[1].addr + 4));
    assert_eq!(accepts(Kind::Breakpoint, Direction::Install, &steps), Ok(()), "{steps:?}");
    code.sites[1].old[4] ^= 1;
    code.assert_form(false);
}

#[test]
fn no_step_may_be_missing_or_early() {
    let _turn = turn();
    for kind in textpoke_linux::live::KINDS {
        let code = Code::new(kind);
        under_way(&code, |traffic| {
            for dir in DIRECTIONS {
                let (_, steps) = record(&code, None, dir, traffic, None);
                for i in 0..steps.len() - 1 {
                    let mut wrong = steps.clone();
                    wrong.remove(i);
                    assert_eq!(accepts(kind, dir, &wrong), Err(i), "{} {dir:?}", kind.name());
                    let mut wrong = steps.clone();
                    wrong.swap(i, i + 1);
                    assert_eq!(accepts(kind, dir, &wrong), Err(i), "{} {dir:?}", kind.name());
                }
            }
        });
    }
}

/// A wrong program, really performed; nobody executes the code meanwhile, which is what the missing step is for.
#[test]
fn a_live_run_without_synchronisation_is_no_path() {
    let _turn = turn();
    let code = Code::new(Kind::Breakpoint);
    let mut program = Kind::Breakpoint.program(Direction::Install).to_vec();
    let first = program.iter().position(|step| *step == Step::SyncCores).unwrap();
    program.remove(first);
    let run = Run::custom(&program, &[], Direction::Install);
    let (verdict, steps) = record(&code, Some(run), Direction::Install, &nobody(), None);
    assert_eq!(verdict, Verdict::Performed(Direction::Install));
    code.assert_form(true);
    assert_eq!(accepts(Kind::Breakpoint, Direction::Install, &steps), Err(first));
    // The same record is a path up to there.
    assert_eq!(accepts(Kind::Breakpoint, Direction::Install, &steps[..first]), Ok(()));
    let mut run = Run::new(Kind::Breakpoint, Direction::Install);
    assert_eq!(run.next(Outcome::Start), steps[0]);
}
