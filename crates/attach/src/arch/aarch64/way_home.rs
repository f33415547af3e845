//! What a borrowed thread does when its tracer is killed: it goes home by itself.
//!
//! Between the moment when a thread's registers are changed and the moment when they are put back, the tracer may be
//! killed; the kernel then lets the thread run from wherever it is. So the thread is given, below its stack pointer, the
//! frame of a signal that never was, with everything that it had: registers, vector registers and signal mask. The system
//! calls that it is borrowed for are made by a `svc #0; ret` of the vdso, and X30 is the address of the vdso's code by
//! which signal handlers return. Tracer alive or not, the thread gets home.
//!
//! A second frame, on the way to the first, waits for the child that the thread cloned, and a third ends that child.

use std::os::unix::fs::FileExt;

use super::frame::{INFO, PC, RECORDS, SP, VECTORS, X0};
use super::regs::{Lost, Regs};
use crate::keeper::Keeper;
use crate::proc::Mapping;
use crate::ptrace;

/// Instructions of the process that the way home consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// `svc #0; ret`
    pub call: u64,
    /// `mov x8, #139; svc #0`: what every signal handler returns to unless the program says otherwise.
    pub sigreturn: u64,
}

const SVC: u32 = 0xd400_0001;
const RET: u32 = 0xd65f_03c0;
const MOV_X8_SIGRETURN: u32 = 0xd280_1168;

impl Steps {
    /// Looks for the instructions in the vdso. `None` if it lacks one.
    pub fn find(keeper: &Keeper, maps: &[Mapping]) -> Option<Self> {
        let vdso = maps.iter().find(|m| m.path == "[vdso]")?;
        let mut text = vec![0; (vdso.end - vdso.start) as usize];
        keeper.memory().read_exact_at(&mut text, vdso.start).ok()?;
        Self::within(&text, vdso.start)
    }

    fn within(text: &[u8], start: u64) -> Option<Self> {
        let words: Vec<u32> = text.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)).collect();
        let find = |pair: [u32; 2]| words.windows(2).position(|w| w == pair).map(|i| start + 4 * i as u64);
        Some(Self { call: find([SVC, RET])?, sigreturn: find([MOV_X8_SIGRETURN, SVC])? })
    }
}

/// The frames on a borrowed thread's stack.
#[derive(Clone, Copy, Debug)]
pub struct WayHome {
    steps: Steps,
    /// Stack pointer for system calls: their return leads home.
    home: u64,
    /// Stack pointer for `clone`: its return leads to `wait4` and from there home.
    wait: u64,
    /// Stack pointer of the child: its return leads to `exit_group`.
    pub child: u64,
}

/// Bytes of a frame with the record of the vector registers and the empty one that ends them.
const FRAME: u64 = RECORDS as u64 + VECTORS.1 as u64 + 16;
/// Room that is left free below the frames.
const MARGIN: u64 = 1024;

impl WayHome {
    /// Puts the frames below the stack of a stopped thread, which goes home to `regs` and `mask`. `None` where that is
    /// not certain to be the unused part of a stack, or where a frame of this size cannot hold all that the thread has.
    pub fn lay(keeper: &Keeper, tid: i32, steps: Steps, maps: &[Mapping], regs: &Regs, mask: u64) -> Option<Self> {
        if !Lost::take(tid).ok()?.is_nothing() {
            return None;
        }
        let vectors = vectors(tid)?;
        let top = regs.sp() / 16 * 16;
        let [home, wait, child] = [1, 2, 3].map(|n| top.wrapping_sub(n * FRAME));
        if !is_free_stack(maps, regs.sp(), regs.thread_pointer(tid), child.checked_sub(MARGIN)?) {
            return None;
        }
        let call = |number, args: [u64; 6], sp| {
            let mut regs = *regs;
            regs.set_call(number, args);
            regs.set_pc(steps.call);
            regs.set_sp(sp);
            regs.x[30] = steps.sigreturn;
            regs
        };
        let mut bytes = Vec::with_capacity(3 * FRAME as usize);
        // The child: ends.
        bytes.extend(frame(&call(libc::SYS_exit_group, [0; 6], child), u64::MAX, &vectors));
        // The thread after a clone: `wait4(child, NULL, __WALL, NULL)`. The kernel fills in the child's number; until it
        // has, the call fails, as no thread is its own child.
        let wait_for = call(libc::SYS_wait4, [tid as u64, 0, libc::__WALL as u64, 0, 0, 0], home);
        bytes.extend(frame(&wait_for, u64::MAX, &vectors));
        bytes.extend(frame(regs, mask, &vectors));
        keeper.memory().write_all_at(&bytes, child).ok()?;
        Some(Self { steps, home, wait, child })
    }

    /// The system call instruction to use.
    pub fn insn(&self) -> u64 {
        self.steps.call
    }

    /// Registers with which the thread goes home at once.
    pub fn go(&self, regs: &Regs) -> Regs {
        let mut regs = *regs;
        regs.set_pc(self.steps.sigreturn);
        regs.set_sp(self.home);
        regs
    }

    /// The registers of a system call that leads home.
    pub fn call_home(&self, regs: &mut Regs) {
        regs.set_sp(self.home);
        regs.x[30] = self.steps.sigreturn;
    }

    /// The registers of a `clone`, whose child ends and whose parent waits for it before it goes home, once the tracer is
    /// gone. The child's stack is [`WayHome::child`].
    pub fn call_wait(&self, regs: &mut Regs) {
        regs.set_sp(self.wait);
        regs.x[30] = self.steps.sigreturn;
    }

    /// Makes what lies on the dead part of the stack no signal frames any more: who looks for saved program counters on
    /// stacks may find it there later.
    pub fn wipe(&self, keeper: &Keeper) {
        for frame in [self.home, self.wait, self.child] {
            // The thread is about to leave; if it is gone by now nothing is to be wiped.
            let _ = keeper.memory().write_all_at(&[0; 8], frame + RECORDS as u64);
        }
    }

    /// Where `clone` has to store the child's number.
    pub fn child_number(&self) -> u64 {
        self.wait + X0 as u64
    }
}

/// A signal frame as the kernel makes them (`struct rt_sigframe`, arch/arm64/include/uapi/asm/sigcontext.h).
fn frame(regs: &Regs, mask: u64, vectors: &[u8]) -> Vec<u8> {
    /// No mode of an alternate stack: the kernel keeps the one that the thread has.
    const KEEP: u64 = 0x40;
    let mut bytes = vec![0; FRAME as usize];
    let mut put = |at: usize, word: u64| bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
    put(INFO + 24, KEEP);
    put(INFO + 40, mask);
    for (i, &x) in regs.x.iter().enumerate() {
        put(X0 + 8 * i, x);
    }
    put(SP, regs.sp);
    put(PC, regs.pc);
    put(PC + 8, regs.pstate);
    bytes[RECORDS..RECORDS + vectors.len()].copy_from_slice(vectors);
    bytes
}

/// The record of the vector registers of a stopped thread: head, FPSR and FPCR, V0 to V31.
fn vectors(tid: i32) -> Option<Vec<u8>> {
    const NT_PRFPREG: usize = 2;
    const REGISTERS: usize = 512;
    let mut now = [0; 528];
    if ptrace::regset(tid, NT_PRFPREG, &mut now).ok()? < REGISTERS + 8 {
        return None;
    }
    let mut record = Vec::with_capacity(VECTORS.1 as usize);
    record.extend(VECTORS.0.to_le_bytes());
    record.extend(VECTORS.1.to_le_bytes());
    record.extend_from_slice(&now[REGISTERS..REGISTERS + 8]);
    record.extend_from_slice(&now[..REGISTERS]);
    Some(record)
}

/// Whether `lowest` up to the stack pointer is the unused part of a stack that a thread of a C library was born with. Any
/// other stack may be smaller than the mapping that it lies in.
fn is_free_stack(maps: &[Mapping], sp: u64, thread_pointer: u64, lowest: u64) -> bool {
    const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;
    /// Guards are small; what else is inaccessible (the unused part of a heap) is not.
    const GUARD: u64 = 1 << 20;
    let Some(i) = maps.iter().position(|m| m.start <= sp && sp < m.end) else { return false };
    let stack = &maps[i];
    if stack.prot & RW != RW || stack.shared || lowest < stack.start {
        return false;
    }
    if stack.path == "[stack]" {
        return true;
    }
    let guarded = i > 0
        && maps[i - 1].end == stack.start
        && maps[i - 1].prot == 0
        && maps[i - 1].end - maps[i - 1].start <= GUARD;
    // The thread's own data lies at the top of such a stack.
    guarded && stack.inode == 0 && sp < thread_pointer && thread_pointer < stack.end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_are_found_where_they_stand() {
        let words = [0u32, MOV_X8_SIGRETURN, SVC, 0, 0xd280_0e28, SVC, RET];
        let text: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        assert_eq!(Steps::within(&text, 0x1000), Some(Steps { call: 0x1014, sigreturn: 0x1004 }));
        assert_eq!(Steps::within(&text[..20], 0x1000), None);
    }

    #[test]
    fn a_frame_has_the_layout_of_the_kernel() {
        let mut regs = Regs { sp: 2, pc: 3, pstate: 0x6000_0000, ..Regs::default() };
        (regs.x[0], regs.x[30]) = (1, 30);
        let bytes = frame(&regs, 0xabc, &[7; 528]);
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!((word(X0), word(X0 + 240), word(SP), word(PC), word(PC + 8)), (1, 30, 2, 3, 0x6000_0000));
        assert_eq!(word(INFO + std::mem::offset_of!(libc::ucontext_t, uc_sigmask)), 0xabc);
        assert_eq!((bytes[RECORDS], bytes[RECORDS + 527], word(RECORDS + 528)), (7, 7, 0));
        assert!(FRAME.is_multiple_of(16));
    }
}
