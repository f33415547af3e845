//! The functions that compilers call without being asked.

use core::arch::asm;

/// `memcpy` of C.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // SAFETY: the caller's duty; the direction flag is clear in every function of the ABI.
    unsafe {
        asm!("rep movsb", inout("rdi") to => _, inout("rsi") from => _, inout("rcx") len => _,
             options(nostack, preserves_flags));
    }
    to
}

/// `memmove` of C.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= len {
        // SAFETY: the caller's duty; forwards is right unless the target begins inside the source.
        return unsafe { memcpy(to, from, len) };
    }
    // SAFETY: the caller's duty; `len` is not 0 here. The direction flag is clear again afterwards.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rdi") to.add(len - 1) => _, inout("rsi") from.add(len - 1) => _,
             inout("rcx") len => _, options(nostack));
    }
    to
}

/// `memset` of C.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
    // SAFETY: the caller's duty.
    unsafe {
        asm!("rep stosb", inout("rdi") to => _, in("al") byte as u8, inout("rcx") len => _,
             options(nostack, preserves_flags));
    }
    to
}

/// `memcmp` of C.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    for i in 0..len {
        // SAFETY: the caller's duty. Volatile, lest the loop be recognised and become a call of this function.
        let (x, y) = unsafe { (a.add(i).read_volatile(), b.add(i).read_volatile()) };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
    }
    0
}

/// `bcmp` of C.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    // SAFETY: the caller's duty.
    unsafe { memcmp(a, b, len) }
}
