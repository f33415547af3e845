//! Calling a function with every register set, and seeing every register afterwards.

use std::arch::x86_64::__cpuid_count;
use std::arch::{asm, naked_asm};
use std::mem::offset_of;

/// General registers in the order of their numbers.
pub const REGISTERS: usize = 16;
const RSP: usize = 4;
/// x87, SSE, AVX, AVX-512.
const COMPONENTS: u64 = 0b1110_0111;
/// The trap flag.
pub const TF: u64 = 1 << 8;
/// Always set.
const FIXED: u64 = 1 << 1;
/// Interrupts enabled: always set in user space.
const IF: u64 = 1 << 9;

/// Everything that an instruction can leave behind in a thread.
#[repr(C, align(64))]
#[derive(Clone)]
pub struct Context {
    /// As the XSAVE instruction writes it.
    extended: [u8; 4096],
    /// General registers; number 4 is the stack pointer that the called function sees.
    pub general: [u64; REGISTERS],
    /// RFLAGS.
    pub flags: u64,
}

impl Context {
    /// A context in which every register holds something else, determined by `seed`.
    pub fn filled(seed: u64) -> Self {
        let mut context = Self { extended: [0; 4096], general: [0; REGISTERS], flags: FIXED | IF };
        let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 24) as u8
        };
        context.general.as_flattened_mut_bytes(&mut random);
        let used = components();
        for bit in [2, 5, 6, 7].into_iter().filter(|bit| used >> bit & 1 == 1) {
            let part = __cpuid_count(0xd, bit);
            let start = part.ebx as usize;
            context.extended[start..start + part.eax as usize].fill_with(&mut random);
        }
        context.extended[32..416].fill_with(&mut random);
        // Eight x87 registers of ten bytes, all valid; no exception pending or unmasked.
        for register in context.extended[32..160].chunks_exact_mut(16) {
            register[7] |= 0x80;
            register[9] = 0x3f;
            register[10..].fill(0);
        }
        context.extended[..2].copy_from_slice(&0x037f_u16.to_le_bytes());
        context.extended[4] = 0xff;
        context.extended[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
        context.extended[512..520].copy_from_slice(&used.to_le_bytes());
        context
    }

    /// Sets the flags among CF, PF, AF, ZF, SF, DF and OF that are set in `flags`.
    pub fn with_flags(mut self, flags: u64) -> Self {
        self.flags = FIXED | IF | (flags & 0xcd5);
        self
    }

    /// Calls `function` with these registers. `step` sets the trap flag from the call until the return.
    pub fn call(&self, function: u64, step: bool) -> Self {
        let mut before = self.clone();
        before.flags |= if step { TF } else { 0 };
        let mut after = Self { extended: [0; 4096], general: [0; REGISTERS], flags: 0 };
        // SAFETY: keeps what the ABI says must be kept; `function` returns and keeps the stack.
        unsafe { shim(&before, &mut after, function, components()) };
        after.flags &= !TF;
        after
    }

    /// Names the first register that differs from what it was before the call.
    pub fn difference(&self, before: &Self) -> Option<String> {
        if let Some(i) = (0..REGISTERS).find(|&i| i != RSP && self.general[i] != before.general[i]) {
            return Some(format!("register {i}: {:#x} before, {:#x} after", before.general[i], self.general[i]));
        }
        if self.flags != before.flags {
            return Some(format!("flags: {:#x} before, {:#x} after", before.flags, self.flags));
        }
        // From the control word to the end of the registers, but for the bytes that no register owns.
        let differs = |i: &usize| self.extended[*i] != before.extended[*i];
        let unowned = |i: &usize| (464..512).contains(i) || (28..32).contains(i) || (5..24).contains(i);
        (0..4096).filter(|i| !unowned(i)).find(differs).map(|i| format!("extended state at byte {i}"))
    }
}

trait Fill {
    fn as_flattened_mut_bytes(&mut self, random: &mut impl FnMut() -> u8);
}

impl Fill for [u64; REGISTERS] {
    fn as_flattened_mut_bytes(&mut self, random: &mut impl FnMut() -> u8) {
        for register in self {
            *register = u64::from_le_bytes(std::array::from_fn(|_| random()));
        }
    }
}

/// The components that this CPU and kernel have.
fn components() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: every kernel that has AVX enables the instruction, and the CPUs that this crate is for have AVX.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack)) };
    COMPONENTS & (u64::from(high) << 32 | u64::from(low))
}

/// # Safety
/// `function` must return, keep the stack pointer, and not look at its arguments.
#[unsafe(naked)]
unsafe extern "C" fn shim(before: &Context, after: &mut Context, function: u64, components: u64) {
    naked_asm!(
        "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
        "push rcx",
        "push rsi",
        "push rdx",
        "mov eax, ecx",
        "xor edx, edx",
        "xrstor64 [rdi]",
        // The stack: function, after, components.
        "mov rax, [rdi + {g}]",
        "mov rcx, [rdi + {g} + 8]",
        "mov rdx, [rdi + {g} + 16]",
        "mov rbx, [rdi + {g} + 24]",
        "mov rbp, [rdi + {g} + 40]",
        "mov rsi, [rdi + {g} + 48]",
        "mov r8, [rdi + {g} + 64]",
        "mov r9, [rdi + {g} + 72]",
        "mov r10, [rdi + {g} + 80]",
        "mov r11, [rdi + {g} + 88]",
        "mov r12, [rdi + {g} + 96]",
        "mov r13, [rdi + {g} + 104]",
        "mov r14, [rdi + {g} + 112]",
        "mov r15, [rdi + {g} + 120]",
        "push qword ptr [rdi + {f}]",
        "popfq",
        "mov rdi, [rdi + {g} + 56]",
        "call [rsp]",
        "push rdi",
        "mov rdi, [rsp + 16]",
        "mov [rdi + {g}], rax",
        "mov [rdi + {g} + 8], rcx",
        "mov [rdi + {g} + 16], rdx",
        "mov [rdi + {g} + 24], rbx",
        "mov [rdi + {g} + 40], rbp",
        "mov [rdi + {g} + 48], rsi",
        "mov [rdi + {g} + 64], r8",
        "mov [rdi + {g} + 72], r9",
        "mov [rdi + {g} + 80], r10",
        "mov [rdi + {g} + 88], r11",
        "mov [rdi + {g} + 96], r12",
        "mov [rdi + {g} + 104], r13",
        "mov [rdi + {g} + 112], r14",
        "mov [rdi + {g} + 120], r15",
        "pop qword ptr [rdi + {g} + 56]",
        "pushfq",
        "pop qword ptr [rdi + {f}]",
        // At the site: below the return address.
        "lea rax, [rsp - 8]",
        "mov [rdi + {g} + 32], rax",
        "push {clean}",
        "popfq",
        "pop rdx",
        "pop rsi",
        "pop rax",
        "xor edx, edx",
        "xsave64 [rdi]",
        "fninit",
        "vzeroupper",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
        "ret",
        g = const offset_of!(Context, general),
        f = const offset_of!(Context, flags),
        clean = const FIXED | IF,
    )
}
