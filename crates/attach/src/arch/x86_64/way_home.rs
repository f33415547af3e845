//! What a borrowed thread does when its tracer is killed: it goes home by itself.
//!
//! Between the moment when a thread's registers are changed and the moment when they are put back, the tracer may be
//! killed; the kernel then lets the thread run from wherever it is. So the thread is given, below its red zone, the frame
//! of a signal that never was, with everything that it had: registers, vector registers and signal mask. The system calls
//! that it is borrowed for are made by a `syscall; ret` of the program, and the return address on its stack is that of the
//! code by which signal handlers return. Tracer alive or not, the thread gets home.
//!
//! A second frame, on the way to the first, waits for the child that the thread cloned, and a third ends that child.

use std::arch::x86_64::__cpuid_count;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::regs::Regs;
use crate::keeper::Keeper;
use crate::proc::Mapping;
use crate::ptrace;

type Raw = libc::user_regs_struct;

/// Instructions of the program that the way home consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// `syscall; ret`
    pub call: u64,
    /// `mov rax, 15; syscall`: what every C library (and Go's runtime) has signal handlers return to.
    pub sigreturn: u64,
}

const CALL: [u8; 3] = [0x0f, 0x05, 0xc3];
const SIGRETURN: [u8; 9] = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];
/// Bytes of text that are read at once, and how much they overlap.
const CHUNK: u64 = 1 << 20;
const OVERLAP: u64 = 8;

impl Steps {
    /// Looks for the instructions in the program's text, first where they are likely. `None` if it lacks one.
    pub fn find(keeper: &Keeper, maps: &[Mapping]) -> Option<Self> {
        let likely = |m: &Mapping| {
            let name = Path::new(&m.path).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            name.starts_with("ld-") || name.starts_with("libc.") || name.starts_with("libc-")
        };
        let mut texts: Vec<&Mapping> = maps.iter().filter(|m| m.prot & libc::PROT_EXEC != 0 && m.inode != 0).collect();
        texts.sort_by_key(|m| !likely(m));
        let (mut call, mut sigreturn) = (None, None);
        for text in texts {
            let mut at = text.start;
            while at < text.end {
                let mut bytes = vec![0; (text.end - at).min(CHUNK) as usize];
                if keeper.memory().read_exact_at(&mut bytes, at).is_err() {
                    break;
                }
                let find = |what: &[u8]| bytes.windows(what.len()).position(|w| w == what).map(|i| at + i as u64);
                call = call.or_else(|| find(&CALL));
                sigreturn = sigreturn.or_else(|| find(&SIGRETURN));
                if let (Some(call), Some(sigreturn)) = (call, sigreturn) {
                    return Some(Self { call, sigreturn });
                }
                at += CHUNK - OVERLAP;
            }
        }
        None
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

/// Bytes of a `struct rt_sigframe`, rounded up.
const FRAME: u64 = 448;
/// The System V ABI's red zone.
const RED_ZONE: u64 = 128;
/// Room that is left free below the frames.
const MARGIN: u64 = 1024;

impl WayHome {
    /// Puts the frames below the stack of a stopped thread, which goes home to `regs` and `mask`. `None` where that is
    /// not certain to be the unused part of a stack.
    pub fn lay(keeper: &Keeper, tid: i32, steps: Steps, maps: &[Mapping], regs: &Regs, mask: u64) -> Option<Self> {
        let regs = &regs.0;
        let vectors = vectors(tid)?;
        let fp = regs.rsp.checked_sub(RED_ZONE + vectors.len() as u64)? / 64 * 64;
        let [home, wait, child] = [fp - FRAME, fp - 2 * FRAME, fp - 3 * FRAME];
        if !is_free_stack(maps, regs, child - MARGIN) {
            return None;
        }
        let mut bytes = Vec::with_capacity((fp - child) as usize + vectors.len());
        // The child: ends.
        let exit = Context { number: libc::SYS_exit_group, ..Context::default() };
        bytes.extend(exit.frame(steps, regs, child));
        // The thread after a clone: `wait4(child, NULL, __WALL, NULL)`. The kernel fills in the child's number; until it
        // has, the call fails, as no thread is its own child.
        let wait_for = Context { number: libc::SYS_wait4, args: [tid as u64, 0, libc::__WALL as u64] };
        bytes.extend(wait_for.frame(steps, regs, home));
        bytes.extend(frame(steps, regs, mask, Some(fp)));
        bytes.extend_from_slice(&vectors);
        keeper.memory().write_all_at(&bytes, child).ok()?;
        Some(Self { steps, home, wait, child })
    }

    /// The `syscall` instruction to use.
    pub fn insn(&self) -> u64 {
        self.steps.call
    }

    /// Registers with which the thread goes home at once.
    pub fn go(&self, regs: &Regs) -> Regs {
        let mut regs = *regs;
        regs.set_pc(self.steps.sigreturn);
        // The frame's first word is the return address that has been used up.
        regs.set_sp(self.home + 8);
        regs.outside_calls();
        regs
    }

    /// The registers of a system call that leads home.
    pub fn call_home(&self, regs: &mut Regs) {
        regs.set_sp(self.home);
    }

    /// The registers of a `clone`, whose child ends and whose parent waits for it before it goes home, once the tracer is
    /// gone. The child's stack is [`WayHome::child`].
    pub fn call_wait(&self, regs: &mut Regs) {
        regs.set_sp(self.wait);
    }

    /// Makes what lies on the dead part of the stack no signal frames any more: who looks for saved program counters on
    /// stacks may find it there later.
    pub fn wipe(&self, keeper: &Keeper) {
        for frame in [self.home, self.wait, self.child] {
            // The thread is about to leave; if it is gone by now nothing is to be wiped.
            let _ = keeper.memory().write_all_at(&[0; 8], frame);
        }
    }

    /// Where `clone` has to store the child's number.
    pub fn child_number(&self) -> u64 {
        self.wait + RDI
    }
}

/// A system call that a frame leads to.
#[derive(Default)]
struct Context {
    number: i64,
    args: [u64; 3],
}

impl Context {
    /// A frame that makes the call with everything blocked, and `next` as the stack pointer afterwards.
    fn frame(&self, steps: Steps, like: &Raw, next: u64) -> Vec<u8> {
        let mut regs = *like;
        regs.rax = self.number as u64;
        [regs.rdi, regs.rsi, regs.rdx] = self.args;
        regs.r10 = 0;
        regs.rip = steps.call;
        regs.rsp = next;
        frame(steps, &regs, u64::MAX, None)
    }
}

/// Offset in a frame of the saved RDI.
const RDI: u64 = 48 + 8 * 8;

/// A `struct rt_sigframe` as the kernel makes them (arch/x86/include/uapi/asm/sigcontext.h, ucontext.h).
fn frame(steps: Steps, regs: &Raw, mask: u64, fp: Option<u64>) -> Vec<u8> {
    /// The state of the vector registers is complete; the stack segment is meant.
    const UC_FP_XSTATE: u64 = 1;
    const UC_SIGCONTEXT_SS: u64 = 2;
    const UC_STRICT_RESTORE_SS: u64 = 4;
    /// No mode of an alternate stack: the kernel keeps the one that the thread has.
    const KEEP: u64 = 0x40;
    let flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS | if fp.is_some() { UC_FP_XSTATE } else { 0 };
    let segments = regs.cs & 0xffff | (regs.ss & 0xffff) << 48;
    let words = [
        steps.sigreturn,
        flags,
        0,
        0,
        KEEP,
        0,
        regs.r8,
        regs.r9,
        regs.r10,
        regs.r11,
        regs.r12,
        regs.r13,
        regs.r14,
        regs.r15,
        regs.rdi,
        regs.rsi,
        regs.rbp,
        regs.rbx,
        regs.rdx,
        regs.rax,
        regs.rcx,
        regs.rsp,
        regs.rip,
        regs.eflags,
        segments,
        0,
        0,
        0,
        0,
        fp.unwrap_or(0),
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        mask,
    ];
    let mut bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    bytes.resize(FRAME as usize, 0);
    bytes
}

/// The vector registers of a stopped thread as they lie in a signal frame.
fn vectors(tid: i32) -> Option<Vec<u8>> {
    /// Offset and layout of `struct _fpx_sw_bytes`.
    const SOFTWARE: usize = 464;
    const MAGIC1: u32 = 0x4650_5853;
    const MAGIC2: u32 = 0x4650_5845;
    /// AMX's registers are there only for who asked for them.
    const ON_REQUEST: u64 = 3 << 17;
    const NT_X86_XSTATE: usize = 0x202;
    let mut bytes = vec![0u8; 16 << 10];
    let len = ptrace::regset(tid, NT_X86_XSTATE, &mut bytes).ok()?;
    bytes.truncate(len);
    let word = |bytes: &[u8], at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let in_use = word(&bytes, 512)?;
    let features = word(&bytes, SOFTWARE)? & !(ON_REQUEST & !in_use);
    let size = (2..63).filter(|i| features >> i & 1 == 1).map(end_of_component).max().unwrap_or(0).max(576);
    if size > bytes.len() {
        return None;
    }
    bytes.truncate(size);
    bytes[SOFTWARE..SOFTWARE + 48].fill(0);
    bytes[SOFTWARE..SOFTWARE + 4].copy_from_slice(&MAGIC1.to_le_bytes());
    bytes[SOFTWARE + 4..SOFTWARE + 8].copy_from_slice(&(size as u32 + 4).to_le_bytes());
    bytes[SOFTWARE + 8..SOFTWARE + 16].copy_from_slice(&features.to_le_bytes());
    bytes[SOFTWARE + 16..SOFTWARE + 20].copy_from_slice(&(size as u32).to_le_bytes());
    bytes.extend(MAGIC2.to_le_bytes());
    Some(bytes)
}

/// Where a component of the extended state ends in the standard format (Intel SDM vol. 1, 13.2).
fn end_of_component(index: u32) -> usize {
    let leaf = __cpuid_count(0xd, index);
    (leaf.eax + leaf.ebx) as usize
}

/// Whether `lowest` up to the stack pointer is the unused part of a stack that a thread of a C library was born with. Any
/// other stack may be smaller than the mapping that it lies in.
fn is_free_stack(maps: &[Mapping], regs: &Raw, lowest: u64) -> bool {
    const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;
    /// Guards are small; what else is inaccessible (the unused part of a heap) is not.
    const GUARD: u64 = 1 << 20;
    let Some(i) = maps.iter().position(|m| m.start <= regs.rsp && regs.rsp < m.end) else { return false };
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
    guarded && stack.inode == 0 && regs.rsp < regs.fs_base && regs.fs_base < stack.end
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: Steps = Steps { call: 0x1111, sigreturn: 0x2222 };

    fn regs() -> Raw {
        // SAFETY: a struct of integers.
        unsafe { std::mem::zeroed() }
    }

    #[test]
    fn a_frame_has_the_layout_of_the_kernel() {
        let mut regs = regs();
        (regs.rdi, regs.rsp, regs.rip, regs.eflags) = (1, 2, 3, 0x246);
        (regs.cs, regs.ss) = (0x33, 0x2b);
        let bytes = frame(STEPS, &regs, 0xabc, Some(0x4000));
        let uc = std::mem::offset_of!(libc::ucontext_t, uc_mcontext) as u64 + 8;
        let word = |at: u64| u64::from_le_bytes(bytes[at as usize..at as usize + 8].try_into().unwrap());
        let reg = |index: i32| word(uc + 8 * index as u64);
        assert_eq!(word(0), 0x2222);
        assert_eq!((reg(libc::REG_RDI), reg(libc::REG_RSP), reg(libc::REG_RIP), reg(libc::REG_EFL)), (1, 2, 3, 0x246));
        assert_eq!(reg(libc::REG_CSGSFS), 0x002b_0000_0000_0033);
        assert_eq!(RDI, uc + 8 * libc::REG_RDI as u64);
        assert_eq!(word(8 + std::mem::offset_of!(libc::ucontext_t, uc_sigmask) as u64), 0xabc);
        assert_eq!(word(uc + 8 * 23), 0x4000, "the pointer to the vector registers is behind the 23 registers");
    }

    #[test]
    fn only_stacks_of_threads_are_written_to() {
        let map = |start, end, prot, path: &str| Mapping {
            start,
            end,
            prot,
            shared: false,
            offset: 0,
            inode: 0,
            path: path.into(),
        };
        let rw = libc::PROT_READ | libc::PROT_WRITE;
        let maps = [
            map(0x1000, 0x9000, rw, "[heap]"),
            map(0xf000, 0x1_0000, 0, ""),
            map(0x1_0000, 0x9_0000, rw, ""),
            map(0x10_0000, 0x20_0000, rw, "[stack]"),
        ];
        let at = |rsp, fs_base, lowest| {
            let mut regs = regs();
            (regs.rsp, regs.fs_base) = (rsp, fs_base);
            is_free_stack(&maps, &regs, lowest)
        };
        assert!(at(0x18_0000, 0, 0x17_0000) && !at(0x10_1000, 0, 0xf_f000));
        assert!(at(0x8_0000, 0x8_f000, 0x7_0000) && !at(0x8_0000, 0x1000, 0x7_0000), "a stack holds its thread's data");
        assert!(!at(0x1_1000, 0x8_f000, 0xf800), "not into the guard");
        assert!(!at(0x8000, 0x8800, 0x7000) && !at(0xa000, 0xb000, 0x9800));
    }
}
