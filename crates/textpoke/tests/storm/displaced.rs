//! Several old instructions under one jump: in loops, under signals, beside sleeping threads.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};

use textpoke::core::isa::x86_64::jmp;
use textpoke::core::{Cause, Direction, Kind, Site, Verdict};
use textpoke::linux::process::{self, Error, Extras};
use textpoke::linux::signal::{Action, Info};
use textpoke::linux::sys;
use textpoke::linux::ucontext::UContext;

use crate::arena::{Arena, PAGE, Text};
use crate::faults::Subject;
use crate::tools::{self, call, times, turn};

/// Old instructions; together they add 5 to EAX and need five bytes or a little more. The new code adds 1 to R8D.
const LAYOUTS: &[&[&[u8]]] = &[
    // push rcx; add eax,5; pop rcx
    &[&[0x51], &[0x83, 0xc0, 5], &[0x59]],
    // push rcx; pop rcx; nop; add eax,5: the last begins inside and ends behind the five bytes
    &[&[0x51], &[0x59], &[0x90], &[0x83, 0xc0, 5]],
    // push rcx; pop rcx; cld; clc; nop; add eax,5
    &[&[0x51], &[0x59], &[0xfc], &[0xf8], &[0x90], &[0x83, 0xc0, 5]],
    // inc eax; add eax,4
    &[&[0xff, 0xc0], &[0x83, 0xc0, 4]],
    // add rax,5; nop
    &[&[0x48, 0x83, 0xc0, 5], &[0x90]],
    // add eax,4; inc eax
    &[&[0x83, 0xc0, 4], &[0xff, 0xc0]],
    // push rcx; add rax,5; pop rcx
    &[&[0x51], &[0x48, 0x83, 0xc0, 5], &[0x59]],
];
/// How often a function runs through its site per call.
const LOOPS: u64 = 8;
/// What a function returns for each round of new code: R8D is the upper half of its result.
const NEW: u64 = 1 << 32;

/// A function that runs through its site in a loop.
#[derive(Clone, Copy, Debug)]
pub struct Loop {
    entry: u64,
    site: Site,
}

impl Loop {
    /// Places one whose site is at `addr`. Takes 32 bytes before and 80 behind.
    fn place(arena: &mut Arena, addr: u64, layout: &[&[u8]]) -> Self {
        // xor eax,eax; xor r8d,r8d; mov edx,LOOPS
        let entry = addr - 10;
        let at = arena.put(entry, &[0x31, 0xc0, 0x45, 0x31, 0xc0, 0xba]);
        assert_eq!(arena.put(at, &(LOOPS as u32).to_le_bytes()), addr);
        let old: Vec<u8> = layout.concat();
        let behind = arena.put(addr, &old);
        // dec edx; jnz addr; shl r8,32; or rax,r8; ret
        let at = arena.put(behind, &[0xff, 0xca, 0x75]);
        let back = addr.wrapping_sub(at + 1) as u8;
        let copy = arena.put(at, &[back, 0x49, 0xc1, 0xe0, 32, 0x4c, 0x09, 0xc0, 0xc3]);
        let at = arena.put(copy, &old);
        let new = arena.put(at, &jmp(at, behind).unwrap());
        // inc r8d
        let at = arena.put(new, &[0x41, 0xff, 0xc0]);
        arena.put(at, &jmp(at, behind).unwrap());
        let mut site = Site::single(addr, &old[..5], &jmp(addr, new).unwrap()).unwrap();
        site.copy = copy;
        let mut offset = 0;
        for insn in layout {
            if (1..5).contains(&offset) {
                site.inner |= 1 << offset;
                site.copy_at[offset] = offset as u8;
            }
            offset += insn.len();
        }
        Self { entry, site }
    }

    /// Calls it; returns how many rounds were old and new.
    fn run(&self) -> [u64; 2] {
        let out = call(self.entry, 0);
        let (new, old) = (out.rax / NEW, out.rax % NEW);
        assert_eq!((old + 5 * new, out.popped), (5 * LOOPS, 0), "{out:x?} of {self:x?}");
        [old / 5, new]
    }
}

/// Every layout at every offset in a line and across a page boundary at each split.
fn loops() -> (Vec<Loop>, Text) {
    const STRIDE: u64 = 192;
    let lines = LAYOUTS.len() as u64 * 64 * STRIDE;
    let mut arena = Arena::new(lines + (LAYOUTS.len() as u64 * 4 + 2) * PAGE);
    let (mut loops, mut block) = (Vec::new(), arena.start());
    let mut boundary = (arena.start() + lines).next_multiple_of(PAGE);
    for layout in LAYOUTS {
        for offset in 0..64 {
            loops.push(Loop::place(&mut arena, block + 32 + offset, layout));
            block += STRIDE;
        }
        for split in 1..5 {
            boundary += PAGE;
            loops.push(Loop::place(&mut arena, boundary - split, layout));
        }
    }
    loops.sort_by_key(|l| l.site.addr);
    (loops, arena.seal())
}

/// One of each layout, for other tests.
pub fn subject() -> Subject {
    let mut arena = Arena::new(PAGE);
    let start = arena.start() + 32;
    let place = |(i, layout): (usize, &&[&[u8]])| Loop::place(&mut arena, start + 192 * i as u64 + 29, layout);
    let loops: Vec<Loop> = LAYOUTS.iter().enumerate().map(place).collect();
    arena.seal();
    let sites = loops.iter().map(|l| l.site).collect();
    let check = move || {
        for l in &loops {
            l.run();
        }
    };
    Subject { kind: Kind::Displace, sites, check: Box::new(check) }
}

static IN_HANDLER: AtomicU64 = AtomicU64::new(0);
/// The function that the signal handler calls.
static ENTRY: AtomicU64 = AtomicU64::new(0);

/// Runs on top of an executor that may stand anywhere in a site, and runs through a site itself.
unsafe extern "C" fn on_signal(_: i32, _: *mut Info, _: *mut UContext) {
    let rax = call(ENTRY.load(Relaxed), 0).rax;
    assert_eq!(rax % NEW + rax / NEW * 5, 5 * LOOPS, "{rax:#x}");
    IN_HANDLER.fetch_add(1, Relaxed);
}

#[test]
fn displace_at_every_offset_and_for_every_layout() {
    const FLIPS: u32 = times(1000);
    const TRAPS: u32 = times(100);
    const SIGNAL: i32 = 34 + 5;
    let _turn = turn();
    process::prepare().unwrap();
    let (loops, text) = loops();
    let sites: Vec<Site> = loops.iter().map(|l| l.site).collect();
    let counts = || &*sites.iter().map(|_| AtomicU32::new(0)).collect::<Vec<_>>().leak();
    let traps: [&'static [AtomicU32]; 2] = [counts(), counts()];
    let seen: Vec<[AtomicBool; 2]> = sites.iter().map(|_| Default::default()).collect();
    let done = |i: usize| traps.iter().all(|t| t[i].load(Relaxed) >= TRAPS) && seen[i].iter().all(|s| s.load(Relaxed));
    ENTRY.store(loops[40].entry, Relaxed);
    let mut action = Action::for_traps(on_signal, true);
    // Interruptible by everything, as an ordinary handler is.
    action.mask = 0;
    // SAFETY: the handler only calls generated code.
    unsafe { sys::rt_sigaction(SIGNAL, &raw const action, core::ptr::null_mut()) }.unwrap();
    let (stop, executors) = (AtomicBool::new(false), [AtomicI32::new(0), AtomicI32::new(0)]);
    let flips = std::thread::scope(|scope| {
        for tid in &executors {
            scope.spawn(|| {
                tools::pin(1);
                tid.store(sys::gettid(), Relaxed);
                for pass in 0usize.. {
                    for (i, l) in loops.iter().enumerate() {
                        if done(i) && !(pass + i).is_multiple_of(256) {
                            continue;
                        }
                        if stop.load(Relaxed) {
                            tid.store(0, Relaxed);
                            return;
                        }
                        for (seen, rounds) in seen[i].iter().zip(l.run()) {
                            if rounds > 0 {
                                seen.store(true, Relaxed);
                            }
                        }
                    }
                }
            });
        }
        let patcher = scope.spawn(|| {
            tools::pin(0);
            let mut flips = 0;
            while flips < 50 * FLIPS && (flips < FLIPS || !(0..sites.len()).all(done)) {
                for (dir, counts) in [Direction::Install, Direction::Remove].into_iter().zip(traps) {
                    // SAFETY: generated functions that can bear both forms.
                    unsafe { process::apply_with(&sites, Kind::Displace, dir, &Extras::counting(counts)) }.unwrap();
                    let rounds = loops[flips as usize % loops.len()].run();
                    assert_eq!(rounds[usize::from(dir == Direction::Remove)], 0, "only the present form runs");
                }
                flips += 1;
                for tid in executors.iter().map(|tid| tid.load(Relaxed)).filter(|&tid| tid != 0) {
                    let _ = sys::tgkill(sys::getpid(), tid, SIGNAL);
                }
            }
            flips
        });
        let flips = patcher.join();
        stop.store(true, Relaxed);
        flips.unwrap()
    });
    let lacking = (0..sites.len()).find(|&i| !done(i));
    assert_eq!(lacking, None, "not everything was seen");
    assert!(IN_HANDLER.load(Relaxed) > 0);
    text.assert_untouched();
    text.assert_protected();
    let sum = |t: &[AtomicU32]| t.iter().map(|n| u64::from(n.load(Relaxed))).sum::<u64>();
    println!("{} sites, {flips} flips each way, {} + {} traps", sites.len(), sum(traps[0]), sum(traps[1]));
}

/// A thread sleeps in a system call that is followed by an inner boundary: it would resume inside the jump.
#[test]
fn a_thread_that_sleeps_inside_is_waited_for_and_not_harmed() {
    let _turn = turn();
    process::prepare().unwrap();
    let mut pipe = [0i32; 2];
    // SAFETY: pipe2 writes two descriptors.
    assert_eq!(unsafe { sys::syscall3(293, pipe.as_mut_ptr() as usize, 0, 0) }, 0);
    let [out, input] = pipe;
    let mut arena = Arena::new(PAGE);
    // xor eax,eax (read); mov edi,out; lea rsi,[rsp-64]; mov edx,1
    let at = arena.put(arena.start(), &[0x31, 0xc0, 0xbf]);
    let at = arena.put(at, &out.to_le_bytes());
    let addr = arena.put(at, &[0x48, 0x8d, 0x74, 0x24, 0xc0, 0xba, 1, 0, 0, 0]);
    // The site: syscall; add eax,7 -> 8 for one byte read. The new code adds 70 to 0 instead.
    let old = [0x0f, 0x05, 0x83, 0xc0, 7];
    let behind = arena.put(addr, &old);
    let copy = arena.put(behind, &[0xc3]);
    let at = arena.put(copy, &old);
    let new = arena.put(at, &jmp(at, behind).unwrap());
    let at = arena.put(new, &[0x83, 0xc0, 70]);
    arena.put(at, &jmp(at, behind).unwrap());
    let entry = arena.start();
    let text = arena.seal();
    let mut site = Site::single(addr, &old, &jmp(addr, new).unwrap()).unwrap();
    (site.inner, site.copy, site.copy_at[2]) = (0b100, copy, 2);
    let apply = |dir| {
        // SAFETY: both forms are fine for the one thread that runs them.
        unsafe { process::apply(&[site], Kind::Displace, dir) }
    };
    let tid = AtomicI32::new(0);
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            tid.store(sys::gettid(), Relaxed);
            call(entry, 0).rax
        });
        let asleep = || {
            let tid = tid.load(Relaxed);
            let place = std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).unwrap_or_default();
            tid != 0 && place.trim_end().ends_with(&format!("{:#x}", addr + 2))
        };
        while !asleep() {
            std::thread::yield_now();
        }
        let result = apply(Direction::Install);
        let Err(Error::Failed(Verdict::Undone(reason))) = result else { panic!("{result:?}") };
        assert_eq!(reason.cause, Cause::Inside(addr));
        text.assert_untouched();
        assert!(asleep(), "it was not interrupted");
        assert_eq!(sys::write(input, &[1]), Ok(1));
        assert_eq!(sleeper.join().unwrap(), 8);
    });
    apply(Direction::Install).unwrap();
    assert_eq!(call(entry, 0).rax, 70);
    apply(Direction::Remove).unwrap();
    assert_eq!(sys::write(input, &[1]), Ok(1));
    assert_eq!(call(entry, 0).rax, 8);
    text.assert_untouched();
    for fd in pipe {
        sys::close(fd).unwrap();
    }
}
