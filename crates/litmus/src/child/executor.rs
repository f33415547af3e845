//! The thread that executes the site, and the handlers that let it go on when that ends badly.

use std::arch::naked_asm;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU64, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst,
};

use textpoke_linux::Published;
use textpoke_linux::signal::{Action, CODE_TRAP, Handler, Info, SIGTRAP};
use textpoke_linux::sys;
use textpoke_linux::trap::on_trap;
use textpoke_linux::ucontext::UContext;
use textpoke_model::Handler as Answers;

use super::limits;
use crate::shared::{Shared, count};
use crate::subject::{NEW, OLD, Subject};

/// What [`enter`] returns when a register or the stack pointer is not what it should be.
const BROKEN: u64 = 3;
/// What it returns when a signal ended the call; the handler has counted it.
const FAULT: u64 = 4;
/// In every register: as an address it is not canonical, so that each access through it faults.
const POISON: u64 = 0x7070_7070_7070_7070;

/// CPU time without a whole call, in nanoseconds, after which the executor counts as caught in torn code. What a call
/// takes is less than a millionth of it; the rest is for hypervisors that charge a guest for time that it did not get.
const PATIENCE: u64 = 2_000_000_000;

/// On a cache line of its own.
#[repr(align(64))]
struct Line<T>(T);

/// The stack pointer to go back to. Written by the executor alone.
static SEAT: AtomicU64 = AtomicU64::new(0);
/// Where the site's function begins.
static ENTRY: AtomicU64 = AtomicU64::new(0);
static SITE_END: AtomicU64 = AtomicU64::new(0);
/// Whether the executor is in generated code, so that a fault is the code's.
static INSIDE: AtomicBool = AtomicBool::new(false);
/// Kernel's number of the executor.
static TID: AtomicI32 = AtomicI32::new(0);
static SHARED: AtomicPtr<Shared> = AtomicPtr::new(std::ptr::null_mut());
/// Whether handlers must give way to a patcher on the same CPU.
static ONE_CPU: AtomicBool = AtomicBool::new(false);
/// Whether a trap without a table is nobody's.
static LEAVES: AtomicBool = AtomicBool::new(false);

/// The trap table of variants; the protocols that run live have the library's.
pub static TABLE: Published = Published::new();

/// Whole calls: the executor adds one whenever it is outside of the code.
static ROUNDS: Line<AtomicU64> = Line(AtomicU64::new(0));
/// The number of the hold that is wanted, 0 for none, and the one that is kept.
static HOLD: Line<AtomicU64> = Line(AtomicU64::new(0));
static HELD: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);
static STOPPED: AtomicBool = AtomicBool::new(false);
/// Three times a serial number, plus which form must run: 0 either, 1 the old one, 2 the new one.
static STATE: Line<AtomicU64> = Line(AtomicU64::new(0));
/// Counts batches, so that a caught thread notices the end of one.
static BATCHES: Line<AtomicU64> = Line(AtomicU64::new(0));

/// The executor, as the patcher sees it.
#[derive(Debug)]
pub struct Executor {
    /// Whether both threads share a CPU.
    pub one_cpu: bool,
}

/// It never came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hung;

impl Executor {
    /// Installs the handlers and starts the thread. Binds both to their CPUs. Once a process.
    ///
    /// # Errors
    /// In words.
    pub fn start(
        subject: &Subject,
        cpus: Option<[usize; 2]>,
        raw: bool,
        shared: &'static Shared,
    ) -> Result<Self, String> {
        let one_cpu = match cpus {
            Some([a, b]) => a == b,
            None => std::thread::available_parallelism().map_or(1, usize::from) == 1,
        };
        ENTRY.store(subject.site.addr, SeqCst);
        SITE_END.store(subject.site.end(), SeqCst);
        SHARED.store(std::ptr::from_ref(shared).cast_mut(), SeqCst);
        ONE_CPU.store(one_cpu, SeqCst);
        LEAVES.store(subject.world.handler == Answers::Leaves, SeqCst);
        for signal in [libc::SIGSEGV, libc::SIGILL, libc::SIGBUS, libc::SIGFPE] {
            install(signal, on_fault)?;
        }
        install(SIGTRAP, if raw { on_sigtrap } else { on_fault })?;
        install(libc::SIGUSR1, on_catch)?;
        limits::bind_to(cpus.map(|cpus| cpus[0]))?;
        let (tell, told) = std::sync::mpsc::channel();
        let body = move || {
            let ready = limits::bind_to(cpus.map(|cpus| cpus[1])).and_then(|()| alternate_stack());
            let works = ready.is_ok();
            TID.store(sys::gettid(), SeqCst);
            // Nobody listens only if the process is about to end.
            let _ = tell.send(ready);
            if works {
                execute(shared, one_cpu);
            }
        };
        std::thread::Builder::new().spawn(body).map_err(|e| format!("no second thread: {e}"))?;
        told.recv().map_err(|_| "the second thread ended".to_string())??;
        Ok(Self { one_cpu })
    }

    /// Waits until the executor has been outside of the code once more.
    ///
    /// # Errors
    /// [`Hung`].
    pub fn round(&self) -> Result<(), Hung> {
        let seen = ROUNDS.0.load(SeqCst);
        self.wait(|| ROUNDS.0.load(SeqCst) != seen)
    }

    /// Keeps the executor outside of the code.
    ///
    /// # Errors
    /// [`Hung`].
    pub fn hold(&self) -> Result<(), Hung> {
        let number = HELD.load(SeqCst) + 1;
        HOLD.0.store(number, SeqCst);
        self.wait(|| HELD.load(SeqCst) == number)
    }

    /// Lets it go on.
    pub fn release(&self) {
        HOLD.0.store(0, SeqCst);
    }

    /// Ends it.
    ///
    /// # Errors
    /// [`Hung`].
    pub fn stop(&self) -> Result<(), Hung> {
        STOP.store(true, SeqCst);
        self.release();
        self.wait(|| STOPPED.load(SeqCst))
    }

    /// Lets it run on the CPU that both share, until a timer takes it away again, in the middle of whatever it does.
    pub fn give_way(&self) {
        // Long against the switch to it, or it would get nothing done.
        sys::nap(20_000 + textpoke_cpu::timestamp() % 32_768);
    }

    /// Catches it wherever it is with a signal, whose handler returns when a batch is over, or after a moment.
    pub fn catch(&self) {
        // Fails when the queue of signals is full, and then nobody is caught.
        let _ = sys::tgkill(sys::getpid(), TID.load(SeqCst), libc::SIGUSR1);
    }

    /// From now on either form may run.
    pub fn either(&self) {
        settle(0);
    }

    /// From now on only this form may, for calls that begin now.
    pub fn settled(&self, new: bool) {
        BATCHES.0.fetch_add(1, SeqCst);
        settle(if new { NEW } else { OLD });
    }

    fn wait(&self, done: impl Fn() -> bool) -> Result<(), Hung> {
        let tid = TID.load(SeqCst);
        let mut since = None;
        for n in 1u64.. {
            if done() {
                return Ok(());
            }
            match self.one_cpu {
                true => self.give_way(),
                false if n.is_multiple_of(1 << 12) => sys::yield_now(),
                false => std::hint::spin_loop(),
            }
            if n.is_multiple_of(if self.one_cpu { 1 << 10 } else { 1 << 16 }) {
                // Not time that passes, which says nothing on a busy machine: time that it ran. Where the kernel does not
                // tell, and when the thread has just ended, nobody hangs.
                let Some(now) = limits::cpu_time(tid) else { continue };
                if now.saturating_sub(*since.get_or_insert(now)) > PATIENCE && !done() {
                    break;
                }
            }
        }
        Err(Hung)
    }
}

/// Pairs with the loads in [`execute`]: who sees a number sees what was true when it was stored.
fn settle(form: u64) {
    let serial = STATE.0.load(SeqCst) / 3 + 1;
    STATE.0.store(serial * 3 + form, SeqCst);
}

/// Calls the site until told to stop.
fn execute(shared: &Shared, one_cpu: bool) {
    let counts = &shared.executor;
    let mut rounds = 0;
    loop {
        rounds += 1;
        // Pairs with `Executor::round`: who sees the number knows that the calls before it are over.
        ROUNDS.0.store(rounds, Release);
        let mut hold = HOLD.0.load(SeqCst);
        while hold != 0 {
            HELD.store(hold, SeqCst);
            if one_cpu {
                sys::yield_now()
            } else {
                std::hint::spin_loop()
            }
            hold = HOLD.0.load(SeqCst);
        }
        if STOP.load(Relaxed) {
            return STOPPED.store(true, SeqCst);
        }
        let before = STATE.0.load(SeqCst);
        INSIDE.store(true, Relaxed);
        let result = enter();
        INSIDE.store(false, Relaxed);
        let after = STATE.0.load(SeqCst);
        count(&counts.executions);
        match result {
            OLD => count(&counts.old),
            NEW => count(&counts.new),
            FAULT => {}
            _ => count(&counts.wrong),
        }
        // The whole call lay between two moments of which the second batch had not begun.
        let must = before % 3;
        if before == after && must != 0 && matches!(result, OLD | NEW) && result != must {
            count(&counts.stale);
        }
    }
}

/// Calls the code at [`ENTRY`] with 1 in ECX and poison elsewhere; returns RCX, or what went wrong.
#[unsafe(naked)]
extern "C" fn enter() -> u64 {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov [rip + {seat}], rsp",
        "mov rax, {poison}",
        "mov rbx, rax",
        "mov rdx, rax",
        "mov rsi, rax",
        "mov rdi, rax",
        "mov rbp, rax",
        "mov r8, rax",
        "mov r9, rax",
        "mov r10, rax",
        "mov r11, rax",
        "mov r12, rax",
        "mov r13, rax",
        "mov r14, rax",
        "mov r15, rax",
        "mov ecx, {old}",
        "call [rip + {entry}]",
        "cld",
        "cmp rsp, [rip + {seat}]",
        "jne 2f",
        "mov rax, {poison}",
        "cmp rbp, rax",
        "jne 2f",
        "cmp rbx, rax",
        "jne 2f",
        "mov rax, rcx",
        "jmp 3f",
        "2:",
        "mov eax, {broken}",
        "3:",
        "mov rsp, [rip + {seat}]",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        seat = sym SEAT,
        entry = sym ENTRY,
        poison = const POISON,
        old = const OLD,
        broken = const BROKEN,
    )
}

/// Where [`enter`] goes on when its call ended in a signal.
#[unsafe(naked)]
extern "C" fn recover() -> u64 {
    naked_asm!(
        "mov eax, {fault}",
        "mov rsp, [rip + {seat}]",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        fault = const FAULT,
        seat = sym SEAT,
    )
}

fn install(signal: i32, handler: Handler) -> Result<(), String> {
    let action = Action::for_traps(handler, true);
    // SAFETY: the handlers below are async-signal-safe: they touch atomics and their own frame.
    unsafe { sys::rt_sigaction(signal, &raw const action, std::ptr::null_mut()) }
        .map_err(|e| format!("no handler for signal {signal} ({e})"))
}

/// A stack for signals, because torn code may lose the other one.
fn alternate_stack() -> Result<(), String> {
    const LEN: usize = 1 << 17;
    let memory = Box::leak(vec![0u8; LEN].into_boxed_slice());
    let stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: LEN };
    // SAFETY: leaked memory of that length, which nobody else uses.
    match unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(format!("no stack for signals: {}", std::io::Error::last_os_error())),
    }
}

/// Ends the call that was interrupted, and counts by what.
unsafe extern "C" fn on_fault(signal: i32, info: *mut Info, context: *mut UContext) {
    let shared = SHARED.load(SeqCst);
    if sys::gettid() != TID.load(SeqCst) || !INSIDE.load(Relaxed) || shared.is_null() {
        // Our own mistake, or a signal that somebody sent: the process dies of it, and the parent counts that.
        // SAFETY: no handler is involved.
        let _ = unsafe { sys::rt_sigaction(signal, &Action::DEFAULT, std::ptr::null_mut()) };
        if signal == SIGTRAP {
            let _ = sys::tgkill(sys::getpid(), sys::gettid(), signal);
        }
        return;
    }
    // SAFETY: 1. the kernel's pointers into this thread's signal frame. 2. Leaked by `child::main`.
    let (info, context, counts) = unsafe { (&*info, &mut *context, &(*shared).executor) };
    let at = context.regs.rip.wrapping_sub(1);
    count(match signal {
        libc::SIGSEGV => &counts.segv,
        libc::SIGILL => &counts.ill,
        SIGTRAP if info.code == CODE_TRAP && (ENTRY.load(SeqCst)..SITE_END.load(SeqCst)).contains(&at) => &counts.lost,
        SIGTRAP => &counts.stray,
        _ => &counts.other,
    });
    context.regs.rip = recover as *const () as u64;
    // Torn code may have set the direction or trap flag.
    context.regs.rflags = 0x202;
}

/// The trap handler of variants.
unsafe extern "C" fn on_sigtrap(signal: i32, info: *mut Info, context: *mut UContext) {
    let nobody = LEAVES.load(SeqCst) && !TABLE.is_live();
    // SAFETY: 1. the kernel's pointers into this thread's own frame. 2. The site's forms do what they say.
    if nobody || !unsafe { on_trap(&TABLE, &*info, &mut *context) } {
        // SAFETY: the same arguments.
        unsafe { on_fault(signal, info, context) };
    }
}

/// Program code that interrupts the executor anywhere, and takes a while.
unsafe extern "C" fn on_catch(_: i32, _: *mut Info, _: *mut UContext) {
    let batch = BATCHES.0.load(SeqCst);
    for _ in 0..2000 {
        if BATCHES.0.load(SeqCst) != batch {
            return;
        }
        if ONE_CPU.load(Relaxed) { sys::yield_now() } else { std::hint::spin_loop() }
    }
}
