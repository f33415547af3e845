//! Signal frames made by hand: what makes a borrowed thread safe without its tracer.
//!
//! While a thread is borrowed its registers are ours. If the tracer is killed in that moment, the kernel lets the thread
//! run, and it must find its way back alone. So it is given a stack on which a signal frame lies, as if a handler were
//! about to return: behind the `syscall` instruction that we use stands a `ret`, which leads to the C library's
//! `rt_sigreturn`, which gives every register, the signal mask and the floating-point state back.
//!
//! A cloned child gets a frame that leads to its end instead.

use std::io;
use std::os::unix::fs::FileExt;

use crate::error::Error;
use crate::keeper::Keeper;
use crate::proc::{self, Mapping};
use crate::ptrace::{self, Regs};

/// Addresses of two instruction sequences that the target has already.
#[derive(Clone, Copy, Debug)]
pub struct Gadgets {
    /// `syscall; ret`.
    pub syscall: u64,
    /// `rt_sigreturn` as signal handlers return to it.
    pub sigreturn: u64,
}

const SYSCALL_RET: &[u8] = &[0x0f, 0x05, 0xc3];
/// `mov $15, %rax; syscall`, or with `%eax`.
const SIGRETURN: [&[u8]; 2] = [&[0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05], &[0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05]];

/// Finds the gadgets: in the C library, where it is a file of its own, else anywhere.
pub fn gadgets(keeper: &Keeper) -> Result<Gadgets, Error> {
    let mut maps = proc::maps(keeper.pid()).map_err(|_| Error::Gone(keeper.pid()))?;
    maps.retain(|m| m.prot & libc::PROT_EXEC != 0 && !m.shared && m.path != "[vsyscall]");
    maps.sort_by_key(|m| !is_libc(m));
    let (mut syscall, mut sigreturn) = (None, None);
    for map in &maps {
        let mut text = vec![0; (map.end - map.start) as usize];
        if keeper.memory().read_exact_at(&mut text, map.start).is_err() {
            continue;
        }
        let find = |bytes: &[u8]| text.windows(bytes.len()).position(|w| w == bytes).map(|i| map.start + i as u64);
        syscall = syscall.or_else(|| find(SYSCALL_RET));
        sigreturn = sigreturn.or_else(|| SIGRETURN.iter().find_map(|s| find(s)));
        if let (Some(syscall), Some(sigreturn)) = (syscall, sigreturn) {
            return Ok(Gadgets { syscall, sigreturn });
        }
    }
    Err(Error::Unsupported("the program has neither a C library nor its own way back from signal handlers"))
}

fn is_libc(map: &Mapping) -> bool {
    let name = map.path.rsplit('/').next().unwrap_or_default();
    name.starts_with("libc.") || name.starts_with("libc-") || name.starts_with("ld-musl")
}

/// Bytes of `struct rt_sigframe` without `siginfo`: return address, `ucontext` with 8 bytes of mask.
pub const FRAME: u64 = 8 + 40 + 256 + 8;
/// Words below the stack pointer that belong to the interrupted function.
const RED_ZONE: u64 = 128;
/// Invalid as `ss_flags`, so that `rt_sigreturn` leaves the alternate stack as it is (`do_sigaltstack`: EINVAL, ignored).
const KEEP_ALTSTACK: u64 = 4;
/// `UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS`.
const FLAGS: u64 = 1 | 2 | 4;

/// A frame that restores `regs`, `mask` and the floating-point state at address `fpstate` (0: a fresh one).
pub fn frame(gadgets: &Gadgets, regs: &Regs, mask: u64, fpstate: u64) -> [u8; FRAME as usize] {
    let segments = (regs.cs & 0xffff) | (regs.ss & 0xffff) << 48;
    let words = [
        gadgets.sigreturn,
        // ucontext: flags, link, stack (address, flags, size).
        FLAGS,
        0,
        0,
        KEEP_ALTSTACK,
        0,
        // sigcontext
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
        // err, trapno, oldmask, cr2
        0,
        0,
        0,
        0,
        fpstate,
    ];
    let mut bytes = [0; FRAME as usize];
    for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    bytes[FRAME as usize - 8..].copy_from_slice(&mask.to_le_bytes());
    bytes
}

/// A frame after which a process ends at once.
pub fn end_frame(gadgets: &Gadgets, regs: &Regs, sp: u64) -> [u8; FRAME as usize] {
    let mut regs = *regs;
    regs.rip = gadgets.syscall;
    regs.rax = libc::SYS_exit_group as u64;
    regs.rdi = 0;
    regs.rsp = sp;
    frame(gadgets, &regs, u64::MAX, 0)
}

/// Puts a frame that restores `regs` and `mask` on the thread's stack, as the kernel does for a signal, and above it one
/// that ends a child. The answers are the stack pointers that lead to them.
pub fn push(keeper: &Keeper, tid: i32, gadgets: &Gadgets, regs: &Regs, mask: u64) -> Result<(u64, u64), Error> {
    let lost = |e: io::Error| Error::Io("writing to the borrowed thread's stack", e);
    let state = xstate(tid).map_err(lost)?;
    // The state wants 64-byte alignment; the frame ends in front of it.
    let fpstate = (regs.rsp - RED_ZONE - state.len() as u64) & !63;
    let back = fpstate - FRAME;
    let end = back - FRAME;
    keeper.memory().write_all_at(&state, fpstate).map_err(lost)?;
    keeper.memory().write_all_at(&frame(gadgets, regs, mask, fpstate), back).map_err(lost)?;
    keeper.memory().write_all_at(&end_frame(gadgets, regs, end), end).map_err(lost)?;
    Ok((back, end))
}

/// Offset in the XSAVE area of the bytes that the hardware leaves to software.
const SOFTWARE: usize = 464;
const XSTATE_BV: usize = 512;
const MAGIC1: u32 = 0x4650_5853;
const MAGIC2: u32 = 0x4650_5845;
/// The AMX tiles: too large to be in a frame unless they are in use, which a process must ask for.
const AMX: u64 = 3 << 17;

/// The thread's floating-point state in the form that `rt_sigreturn` takes (Linux `struct _fpx_sw_bytes`).
fn xstate(tid: i32) -> io::Result<Vec<u8>> {
    let mut state = ptrace::xstate(tid)?;
    let word = |at: usize| u64::from_le_bytes(state[at..at + 8].try_into().unwrap_or_default());
    if state.len() < XSTATE_BV + 64 {
        return Err(io::Error::other("the CPU has no XSAVE"));
    }
    // The kernel tells here which components the area has room for.
    let (room, used) = (word(SOFTWARE), word(XSTATE_BV));
    let features = if used & AMX == 0 { room & !AMX } else { room };
    let size = (2..63).filter(|i| features >> i & 1 == 1).map(component_end).fold(XSTATE_BV + 64, usize::max);
    let size = size.min(state.len());
    state.truncate(size);
    state[SOFTWARE..SOFTWARE + 48].fill(0);
    state[SOFTWARE..SOFTWARE + 4].copy_from_slice(&MAGIC1.to_le_bytes());
    state[SOFTWARE + 4..SOFTWARE + 8].copy_from_slice(&(size as u32 + 4).to_le_bytes());
    state[SOFTWARE + 8..SOFTWARE + 16].copy_from_slice(&features.to_le_bytes());
    state[SOFTWARE + 16..SOFTWARE + 20].copy_from_slice(&(size as u32).to_le_bytes());
    state.extend_from_slice(&MAGIC2.to_le_bytes());
    Ok(state)
}

/// Where a component of the standard XSAVE format ends (SDM vol. 1, 13.5; CPUID leaf 0DH).
fn component_end(index: u32) -> usize {
    let leaf = core::arch::x86_64::__cpuid_count(0xd, index);
    (leaf.eax + leaf.ebx) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_stand_where_the_kernel_looks_for_them() {
        // SAFETY: a struct of integers.
        let mut regs: Regs = unsafe { std::mem::zeroed() };
        (regs.r8, regs.rip, regs.rsp, regs.eflags, regs.cs, regs.ss) = (8, 0x1000, 0x2000, 0x202, 0x33, 0x2b);
        let frame = frame(&Gadgets { syscall: 1, sigreturn: 2 }, &regs, 0xff, 0x3000);
        let word = |at: usize| u64::from_le_bytes(frame[at..at + 8].try_into().unwrap());
        let context = |at: usize| word(8 + std::mem::offset_of!(libc::ucontext_t, uc_mcontext) + at);
        assert_eq!((word(0), context(0)), (2, 8));
        assert_eq!(context(8 * libc::REG_RIP as usize), 0x1000);
        assert_eq!(context(8 * libc::REG_RSP as usize), 0x2000);
        assert_eq!(context(8 * libc::REG_EFL as usize), 0x202);
        assert_eq!(context(8 * libc::REG_CSGSFS as usize), 0x2b << 48 | 0x33);
        assert_eq!(context(std::mem::offset_of!(libc::mcontext_t, fpregs)), 0x3000);
        assert_eq!(word(8 + std::mem::offset_of!(libc::ucontext_t, uc_sigmask)), 0xff);
        assert_eq!(FRAME as usize, 8 + std::mem::offset_of!(libc::ucontext_t, uc_sigmask) + 8);
    }
}
