//! Threads that stand for CPUs. Signals are their interrupts: SIGTRAP the trap, SIGUSR1 the interrupt for synchronising, whose
//! handler parks, and SIGUSR2 the NMI, which interrupts both of them.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use textpoke_bare::x86_64::Saved;
use textpoke_bare::{Engine, Hooks, Rendezvous};
use textpoke_core::isa::X86_64;
use textpoke_core::{Cause, Site};

use super::code;

/// The patcher is number 0.
pub const CPUS: usize = 3;

pub static ENGINE: Engine<Threads, CPUS> = Engine::new(Threads);
pub static MEETING: Rendezvous<CPUS> = Rendezvous::new();

static THREADS: [AtomicI32; CPUS] = [const { AtomicI32::new(0) }; CPUS];
/// Where each was when it was last interrupted, and how often it was.
static INTERRUPTED: [(AtomicU64, AtomicU64); CPUS] = [const { (AtomicU64::new(0), AtomicU64::new(0)) }; CPUS];
/// NMIs that have ended on each.
static NMIS: [AtomicU64; CPUS] = [const { AtomicU64::new(0) }; CPUS];
/// Whether the alias is open.
pub static OPEN: AtomicBool = AtomicBool::new(false);

thread_local! {
    static CPU: Cell<usize> = const { Cell::new(usize::MAX) };
}

fn this() -> usize {
    CPU.get()
}

pub struct Threads;

// SAFETY: the signals' handlers do what is asked of the other CPUs; the alias is a second mapping of the same memory.
unsafe impl Hooks for Threads {
    type Isa = X86_64;

    fn open(&self, _: &[Site]) -> Result<(), Cause> {
        code::protect(true);
        OPEN.store(true, SeqCst);
        Ok(())
    }

    fn writable(&self, addr: u64) -> *mut u8 {
        assert!(OPEN.load(SeqCst), "a store to text that is not open");
        code::alias(addr)
    }

    fn close(&self, _: &[Site], _: bool) -> Result<(), Cause> {
        OPEN.store(false, SeqCst);
        code::protect(false);
        Ok(())
    }

    fn sync_others(&self) -> Result<(), Cause> {
        MEETING.sync(this(), |cpu| send(cpu, libc::SIGUSR1), patiently)
    }

    fn park_others(&self) -> Result<(), Cause> {
        MEETING.park(this(), |cpu| send(cpu, libc::SIGUSR1), patiently)
    }

    fn unpark_others(&self) {
        MEETING.unpark();
    }

    fn none_inside(&self, sites: &[Site]) -> Result<(), Cause> {
        let others = || (0..CPUS).filter(|&cpu| cpu != this() && MEETING.is_online(cpu));
        let inside = |pc: u64| sites.iter().any(|site| pc > site.addr && pc < site.end());
        let mut outside = [false; CPUS];
        while others().any(|cpu| !outside[cpu]) {
            let before: Vec<u64> = INTERRUPTED.iter().map(|(_, count)| count.load(SeqCst)).collect();
            self.sync_others()?;
            for cpu in others() {
                let (pc, count) = &INTERRUPTED[cpu];
                outside[cpu] |= count.load(SeqCst) != before[cpu] && !inside(pc.load(SeqCst));
            }
        }
        Ok(())
    }

    fn wait(&self, turns: u64) -> bool {
        patiently(turns)
    }
}

fn patiently(_: u64) -> bool {
    std::thread::yield_now();
    true
}

fn send(cpu: usize, signal: i32) {
    // SAFETY: a thread that said who it is; if it has ended, nothing happens.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), THREADS[cpu].load(SeqCst), signal) };
}

/// Sends an NMI to each CPU that is online, and waits for them to end.
pub fn storm() {
    let online = || (0..CPUS).filter(|&cpu| MEETING.is_online(cpu));
    let before: Vec<u64> = NMIS.iter().map(|count| count.load(SeqCst)).collect();
    online().for_each(|cpu| send(cpu, libc::SIGUSR2));
    while online().any(|cpu| NMIS[cpu].load(SeqCst) == before[cpu]) {
        std::thread::yield_now();
    }
}

/// NMIs that have ended until now.
pub fn nmis() -> u64 {
    NMIS.iter().map(|count| count.load(SeqCst)).sum()
}

extern "C" fn on_trap(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel's pointer to this thread's frame, which it will restore.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let numbers = [
        libc::REG_R15,
        libc::REG_R14,
        libc::REG_R13,
        libc::REG_R12,
        libc::REG_R11,
        libc::REG_R10,
        libc::REG_R9,
        libc::REG_R8,
        libc::REG_RDI,
        libc::REG_RSI,
        libc::REG_RBP,
        libc::REG_RBX,
        libc::REG_RDX,
        libc::REG_RCX,
        libc::REG_RAX,
        libc::REG_RIP,
        libc::REG_EFL,
        libc::REG_RSP,
    ];
    let at = |i: usize| registers[numbers[i] as usize] as u64;
    let mut saved = Saved { rip: at(15), rflags: at(16), rsp: at(17), ..Saved::default() };
    for n in 0..15 {
        *field(&mut saved, n) = at(n);
    }
    // SAFETY: the frame is put back below.
    if !unsafe { ENGINE.trap(this(), &mut saved) } {
        eprintln!("a trap of nobody at {:#x}", saved.rip);
        std::process::abort();
    }
    for n in 0..15 {
        registers[numbers[n] as usize] = *field(&mut saved, n) as i64;
    }
    registers[libc::REG_RIP as usize] = saved.rip as i64;
    registers[libc::REG_RSP as usize] = saved.rsp as i64;
}

/// The general registers in memory order, RSP excepted.
fn field(saved: &mut Saved, n: usize) -> &mut u64 {
    const ORDER: [u8; 15] = [15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 3, 2, 1, 0];
    saved.numbered(ORDER[n])
}

extern "C" fn on_interrupt(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: as above.
    let pc = unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] };
    let (at, count) = &INTERRUPTED[this()];
    at.store(pc as u64, SeqCst);
    count.fetch_add(1, SeqCst);
    // There may be more threads than CPUs: whoever is parked makes room for the patcher.
    MEETING.answer_with(this(), textpoke_cpu::serialize, std::thread::yield_now);
}

extern "C" fn on_nmi(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    ENGINE.nmi(code::look);
    NMIS[this()].fetch_add(1, SeqCst);
}

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

fn handle(signal: i32, handler: Handler, blocked: &[i32]) {
    // SAFETY: the handlers touch atomics, their frame and the text alone.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_NODEFER;
        libc::sigemptyset(&raw mut action.sa_mask);
        for &signal in blocked {
            libc::sigaddset(&raw mut action.sa_mask, signal);
        }
        assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
    }
}

/// One test at a time: there is one engine.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    static HANDLERS: Once = Once::new();
    HANDLERS.call_once(|| {
        // A trap and an interrupt keep other interrupts out, but no NMIs. In an NMI there may be a trap.
        handle(libc::SIGTRAP, on_trap, &[libc::SIGUSR1]);
        handle(libc::SIGUSR1, on_interrupt, &[libc::SIGUSR1]);
        handle(libc::SIGUSR2, on_nmi, &[libc::SIGUSR1, libc::SIGUSR2]);
    });
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// This thread is a CPU from now on, until the value is dropped.
pub struct Online;

impl Online {
    pub fn new(cpu: usize) -> Self {
        CPU.set(cpu);
        // SAFETY: no condition.
        THREADS[cpu].store(unsafe { libc::gettid() }, SeqCst);
        MEETING.online(cpu);
        Self
    }
}

impl Drop for Online {
    fn drop(&mut self) {
        MEETING.offline(this());
    }
}
