//! The tracer's two pieces of assembly: what a function calls at its entry, and where it returns to.

use core::arch::naked_asm;

use textpoke_core::Site;
use textpoke_core::isa::x86_64::call;

/// The site that prepares a function's entry: none is needed.
pub fn plant(_: u64) -> Option<Site> {
    None
}

/// The site at a function's entry, whose NOP becomes a CALL of [`entry`]. `None` if no such NOP stands there.
pub fn site(addr: u64) -> Option<Site> {
    // SAFETY: an address of our own table.
    let old: [u8; 5] = unsafe { (addr as *const [u8; 5]).read_volatile() };
    if !matches!(old, [0x0f, 0x1f, 0x44, 0, _]) {
        return None;
    }
    Site::single(addr, &old, &call(addr, entry as *const () as u64).ok()?)
}

/// The address of a function's entry, given where its CALL returns to.
const CALL_LEN: u64 = 5;

extern "sysv64" fn on_entry(behind: u64, returns: *mut u64) {
    // SAFETY: the slot of the caller's return address, which the function has not touched yet.
    unsafe { crate::trace::on_entry(behind - CALL_LEN, returns, back as *const () as u64) };
}

extern "sysv64" fn on_return() -> u64 {
    crate::trace::on_return()
}

/// Called at entry: all registers may hold arguments.
// SAFETY: it restores what it saved.
#[unsafe(naked)]
unsafe extern "C" fn entry() {
    naked_asm!(
        "push rax", "push rcx", "push rdx", "push rsi", "push rdi", "push r8", "push r9", "push r10", "push r11",
        "mov rdi, [rsp + 72]",
        "lea rsi, [rsp + 80]",
        "push rbx",
        "mov rbx, rsp",
        "and rsp, -16",
        "call {handler}",
        "mov rsp, rbx",
        "pop rbx",
        "pop r11", "pop r10", "pop r9", "pop r8", "pop rdi", "pop rsi", "pop rdx", "pop rcx", "pop rax",
        "ret",
        handler = sym on_entry,
    )
}

/// Where a traced function returns to: any register may hold what it returns.
// SAFETY: as above.
#[unsafe(naked)]
unsafe extern "C" fn back() {
    naked_asm!(
        "push 0",
        "push rax", "push rcx", "push rdx", "push rsi", "push rdi", "push r8", "push r9", "push r10", "push r11",
        "push rbx",
        "mov rbx, rsp",
        "and rsp, -16",
        "call {handler}",
        "mov rsp, rbx",
        "mov [rsp + 80], rax",
        "pop rbx",
        "pop r11", "pop r10", "pop r9", "pop r8", "pop rdi", "pop rsi", "pop rdx", "pop rcx", "pop rax",
        "ret",
        handler = sym on_return,
    )
}
