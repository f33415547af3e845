//! What the storms share: turns, CPUs, calling code, child processes.

use std::arch::asm;
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};

use textpoke::linux::sys;

static TURN: Mutex<()> = Mutex::new(());

/// One storm at a time: they fill all CPUs.
pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often something is done: `full` with optimisation, as CI runs the storms, and a tenth without.
pub const fn times(full: u32) -> u32 {
    if cfg!(debug_assertions) { full / 10 } else { full }
}

/// The CPUs that this process may use.
pub fn cpus() -> Vec<usize> {
    let mut mask = [0u64; 16];
    sys::affinity(0, &mut mask).unwrap();
    (0..1024).filter(|i| mask[i / 64] >> (i % 64) & 1 == 1).collect()
}

/// Binds the calling thread to one CPU: the patcher (0) and the executors (1 and above) get different ones.
pub fn pin(who: usize) {
    let cpus = cpus();
    let cpu = match (who, cpus.len()) {
        (_, 1) => {
            eprintln!("only one CPU: patcher and executors share it, which shows less");
            cpus[0]
        }
        (0, _) => cpus[0],
        (n, len) => cpus[1 + (n - 1) % (len - 1)],
    };
    let mut mask = [0u64; 16];
    mask[cpu / 64] |= 1 << (cpu % 64);
    sys::set_affinity(0, &mask).unwrap();
}

/// What a call of generated code did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Out {
    /// RAX.
    pub rax: u64,
    /// Bytes popped beyond the return address.
    pub popped: u64,
}

/// Calls code with `arg` in EDI and room on the stack for what it may pop.
pub fn call(entry: u64, arg: u32) -> Out {
    let (rax, popped);
    // SAFETY: generated code that keeps the System V ABI but for the stack pointer, which is restored.
    unsafe {
        asm!(
            "mov r12, rsp",
            "and rsp, -16",
            "sub rsp, 64",
            "mov r13, rsp",
            "call rax",
            "mov r14, rsp",
            "mov rsp, r12",
            "sub r14, r13",
            inout("rax") entry => rax, in("edi") arg,
            out("r12") _, out("r13") _, out("r14") popped,
            clobber_abi("sysv64"),
        );
    }
    Out { rax, popped }
}

/// Whether this process was started by [`child`] for `role`.
pub fn is_child(role: &str) -> bool {
    std::env::var("TEXTPOKE_STORM_ROLE").is_ok_and(|r| r == role)
}

/// A process that runs the test `name` of this program in `role`.
pub fn child(name: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env("TEXTPOKE_STORM_ROLE", role);
    command
}

/// Fails unless a child ended well.
pub fn assert_success(what: &str, status: ExitStatus) {
    assert!(status.success(), "{what}: {status}");
}
