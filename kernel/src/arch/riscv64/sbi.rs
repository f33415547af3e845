//! Calls to the firmware (RISC-V Supervisor Binary Interface).

use core::arch::asm;

/// Interrupts to other harts.
pub const IPI: u64 = 0x73_5049;
/// Fences on other harts.
pub const RFENCE: u64 = 0x5246_4e43;
/// Starting harts.
pub const HSM: u64 = 0x48_534d;
/// Events that come in whether or not interrupts are on.
pub const SSE: u64 = 0x53_5345;

/// Calls function `function` of an extension: its value, or its error.
///
/// # Safety
/// What it does, does no harm.
pub unsafe fn call(extension: u64, function: u64, arguments: [u64; 4]) -> Result<u64, i64> {
    let [a, b, c, d] = arguments;
    let (error, value): (i64, u64);
    // SAFETY: the caller's duty; an SBI changes A0 and A1 only.
    unsafe {
        asm!(
            "ecall",
            inlateout("a0") a => error, inlateout("a1") b => value, in("a2") c, in("a3") d,
            in("a6") function, in("a7") extension,
            options(nostack)
        );
    }
    if error == 0 { Ok(value) } else { Err(error) }
}
