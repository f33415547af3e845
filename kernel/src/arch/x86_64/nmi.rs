//! NMIs: the entry on a stack of its own, which can be interrupted by another.
//!
//! An NMI that runs into a trap ends the blocking of NMIs with the trap's IRETQ, so that another may come in before it is
//! done. It would begin on the IST stack again and overwrite the frame there. So the entry code, which cannot be
//! interrupted by an NMI, moves to the CPU's NMI stack at once: to its top, or below where the interrupted NMI is.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use textpoke_bare::x86_64::Saved;

use super::smp::{self, Stack};
use crate::CPUS;

/// Bytes of an NMI stack.
const STACK: usize = 64 * 1024;
/// Bytes that one level may need; more than that must be left.
const LEVEL: u64 = 8 * 1024;

static mut STACKS: [Stack<STACK>; CPUS] = [Stack::EMPTY; CPUS];
static CAME: [AtomicU64; CPUS] = [const { AtomicU64::new(0) }; CPUS];

/// Behind the last byte of a CPU's NMI stack.
pub fn stack_top(cpu: usize) -> u64 {
    // SAFETY: only the address is taken.
    unsafe { (&raw const STACKS[cpu]).addr() as u64 + STACK as u64 }
}

/// Sends an NMI to a CPU, also to this one.
pub fn send(cpu: usize) {
    super::ipi::send_nmi(cpu);
}

/// How many NMIs have ended on a CPU.
pub fn ended(cpu: usize) -> u64 {
    CAME[cpu].load(Ordering::SeqCst)
}

/// What the NMIs of this kernel are.
pub fn kind() -> &'static str {
    "NMIs"
}

extern "sysv64" fn on_nmi(saved: &mut Saved) {
    let cpu = smp::this();
    let here = (&raw const *saved).addr() as u64;
    assert!(here > stack_top(cpu) - STACK as u64 + LEVEL, "NMIs in NMIs have used the stack up");
    crate::engine::on_nmi(cpu);
    CAME[cpu].fetch_add(1, Ordering::SeqCst);
}

/// The entry.
///
/// # Safety
/// For the vector alone, by way of the IST.
// SAFETY: it restores what it saved.
#[unsafe(naked)]
pub unsafe extern "C" fn entry() {
    naked_asm!(
        "push rax",
        "push rcx",
        // The interrupted stack pointer: in this CPU's NMI stack?
        "mov rax, [rsp + 40]",
        "mov rcx, gs:[8]",
        "cmp rax, rcx",
        "ja 2f",
        "sub rcx, {stack}",
        "cmp rax, rcx",
        "jbe 2f",
        "sub rax, 128",
        "and rax, -16",
        "jmp 3f",
        "2: mov rax, gs:[8]",
        // The frame, RAX and RCX, below it.
        "3: mov rcx, [rsp + 48]",
        "mov [rax - 8], rcx",
        "mov rcx, [rsp + 40]",
        "mov [rax - 16], rcx",
        "mov rcx, [rsp + 32]",
        "mov [rax - 24], rcx",
        "mov rcx, [rsp + 24]",
        "mov [rax - 32], rcx",
        "mov rcx, [rsp + 16]",
        "mov [rax - 40], rcx",
        "mov rcx, [rsp + 8]",
        "mov [rax - 48], rcx",
        "mov rcx, [rsp]",
        "mov [rax - 56], rcx",
        "lea rsp, [rax - 56]",
        "push rdx", "push rbx", "push rbp", "push rsi", "push rdi", "push r8",
        "push r9", "push r10", "push r11", "push r12", "push r13", "push r14", "push r15",
        "mov rdi, rsp",
        "mov rbx, rsp",
        "and rsp, -16",
        "cld",
        "call {handler}",
        "mov rsp, rbx",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop r11", "pop r10", "pop r9", "pop r8",
        "pop rdi", "pop rsi", "pop rbp", "pop rbx", "pop rdx", "pop rcx", "pop rax",
        "iretq",
        stack = const STACK,
        handler = sym on_nmi,
    )
}
