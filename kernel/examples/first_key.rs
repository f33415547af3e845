//! From the hooks to the first key: all that a kernel needs of its own for `if static_branch_unlikely!(KEY)` to cost one NOP
//! while the key is off, and to be turned on while every CPU runs. `docs/kernel.md` walks through it.
//!
//! `arch` stands for what a kernel has anyway: the number of this CPU, an interrupt to another one, a writable mapping of its
//! text, and entry code that saves registers. `cargo xtask qemu` boots this on two CPUs.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kernel::arch::{Native, Saved, ipi, paging, smp};
use kernel::engine::{Handlers, set_handlers};
use kernel::{println, work};
use textpoke_bare::{Engine, Hooks, Refused, Rendezvous};
use textpoke_core::{Cause, Direction, Kind, Plan, Site, Verdict};
use textpoke_keys::abi::{ENTRY_SIZE, Entry};
use textpoke_keys::change::{Change, Machine, Misuse};
use textpoke_keys::flip::{self, Text, flip};
use textpoke_keys::form::How;
use textpoke_keys::{static_branch_unlikely, static_key};

const CPUS: usize = kernel::CPUS;

// 1. The hooks: what the engine asks of the kernel.

struct Mine;

// SAFETY: each function does what the trait asks for; `paging` opens the alias for all CPUs, `ipi::send` reaches the handler
// below, and nothing that these call is ever patched.
unsafe impl Hooks for Mine {
    type Isa = Native;

    fn open(&self, sites: &[Site]) -> Result<(), Cause> {
        sites.iter().for_each(|site| paging::open(site.addr, site.end()));
        Ok(())
    }

    fn writable(&self, addr: u64) -> *mut u8 {
        paging::alias(addr)
    }

    fn close(&self, sites: &[Site], shared: bool) -> Result<(), Cause> {
        sites.iter().for_each(|site| paging::close(site.addr, site.end()));
        // Other CPUs have the alias in their TLBs only if NMIs have used it there.
        if shared { self.sync_others() } else { Ok(()) }
    }

    fn sync_others(&self) -> Result<(), Cause> {
        MEETING.sync(smp::this(), ipi::send, |turns| self.wait(turns))
    }

    fn park_others(&self) -> Result<(), Cause> {
        MEETING.park(smp::this(), ipi::send, |turns| self.wait(turns))
    }

    fn unpark_others(&self) {
        MEETING.unpark();
    }
}

// 2. The engine, and the place where CPUs meet.

static ENGINE: Engine<Mine, CPUS> = Engine::new(Mine);
static MEETING: Rendezvous<CPUS> = Rendezvous::new();

// 3. The vectors: where traps, NMIs and the interrupt come in.

static HANDLERS: Handlers = Handlers { trap: on_trap, interrupt: on_interrupt, nmi: on_nmi };

fn on_trap(cpu: usize, saved: &mut Saved) -> bool {
    // SAFETY: the entry code (`textpoke_bare::trap_entry!`) has saved it and will restore it.
    unsafe { ENGINE.trap(cpu, saved) }
}

fn on_interrupt(cpu: usize, _: u64) {
    MEETING.answer_with(cpu, paging::forget, core::hint::spin_loop);
}

fn on_nmi(_: usize) {
    ENGINE.nmi(|| {
        // What the kernel does in an NMI goes here; it may use keys.
    });
}

// 4. Keys: who flips them. The first half looks after the value, the second one after the text.

enum Keys {}

#[derive(Debug)]
#[allow(dead_code, reason = "for the message of a panic")]
enum Error {
    Misuse(Misuse),
    Flip(flip::Error<Result<Verdict, Refused>>),
}

impl From<Misuse> for Error {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl Machine for Keys {
    type Error = Error;

    /// One caller at a time: a kernel takes a lock here that can be slept on.
    fn apply(changes: &[Change]) -> Result<(), Error> {
        for Change { key, ask } in changes {
            let (count, value) = (key.count.load(Ordering::Relaxed), key.value.load(Ordering::Relaxed));
            let (count, value) = ask.of(count, value.addr() as u64)?;
            let mut buffer = [Site::single(0, &[0], &[1]).expect("one byte"); 32];
            let value = core::ptr::without_provenance_mut(value as usize);
            flip(&mut MyText, branches(), key_of, key, value, &mut buffer).map_err(Error::Flip)?;
            key.count.store(count, Ordering::Release);
        }
        Ok(())
    }
}

/// The table of all branches, which the macros fill and the linker script keeps together.
fn branches() -> impl Iterator<Item = Entry> {
    unsafe extern "C" {
        static __start_textpoke_sites: u8;
        static __stop_textpoke_sites: u8;
    }
    let table = (&raw const __start_textpoke_sites).addr()..(&raw const __stop_textpoke_sites).addr();
    table.step_by(ENTRY_SIZE).filter_map(|at| {
        // SAFETY: an entry of the table.
        Entry::read(unsafe { &*(at as *const [u8; ENTRY_SIZE]) }, at as u64)
    })
}

fn key_of(entry: &Entry) -> u64 {
    // SAFETY: the linker has put the key's address there.
    entry.key(unsafe { (entry.slot as *const u64).read() })
}

struct MyText;

impl Text for MyText {
    type Error = Result<Verdict, Refused>;
    type Isa = Native;
    const HOW: How = How::Head;

    fn read(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), Self::Error> {
        for (addr, byte) in (addr..).zip(buf) {
            // SAFETY: text can be read.
            *byte = unsafe { (addr as *const u8).read_volatile() };
        }
        Ok(())
    }

    fn patch(&mut self, plan: Plan<'_, Native>) -> Result<(), Self::Error> {
        let plan = plan.suits(Kind::Breakpoint).expect("branches suit the protocol");
        // SAFETY: a branch bears both forms, no key is in what patching relies on, and the vectors are wired.
        match unsafe { ENGINE.patch(plan, Direction::Install) } {
            Ok(Verdict::Performed(_)) => Ok(()),
            other => Err(other),
        }
    }
}

// 5. The first key.

static_key! {
    in Keys;
    /// Whether to count what happens.
    static COUNTING: bool = false;
}

static COUNTED: AtomicU64 = AtomicU64::new(0);

/// What the other CPU does all the time. While the key is off, the branch is one NOP.
fn busy(cpu: usize) {
    static ONLINE: AtomicBool = AtomicBool::new(false);
    if !ONLINE.swap(true, Ordering::Relaxed) {
        MEETING.online(cpu);
    }
    for _ in 0..100 {
        if static_branch_unlikely!(COUNTING) {
            COUNTED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[unsafe(no_mangle)]
fn kernel_early() {}

#[unsafe(no_mangle)]
fn kernel_main() {
    set_handlers(&HANDLERS);
    MEETING.online(smp::this());
    kernel::start_cpu(1);
    work::begin(busy);
    for _ in 0..100 {
        COUNTING.enable().expect("the key can be flipped");
        let (counted, done) = (COUNTED.load(Ordering::Relaxed), work::done());
        while COUNTED.load(Ordering::Relaxed) == counted || work::done() < done + 2 {
            core::hint::spin_loop();
        }
        COUNTING.disable().expect("the key can be flipped");
        // Whoever had passed the branch has counted by now.
        let done = work::done();
        while work::done() < done + 2 {
            core::hint::spin_loop();
        }
        let counted = COUNTED.load(Ordering::Relaxed);
        while work::done() < done + 4 {
            core::hint::spin_loop();
        }
        assert_eq!(COUNTED.load(Ordering::Relaxed), counted, "the key is off");
    }
    work::end();
    println!("row first key: flipped 200 times under load, {} traps", ENGINE.counts().traps);
    println!("end: good");
}
