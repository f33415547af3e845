//! The end: QEMU's test device makes exit status 33 of success and 35 of failure.

const TEST: *mut u32 = 0x10_0000 as *mut u32;
/// With the status in the upper half.
const FAIL: u32 = 0x3333;

/// Ends the machine.
pub fn now(good: bool) -> ! {
    let status = if good { 33 } else { 35 };
    loop {
        // SAFETY: nobody is left.
        unsafe { TEST.write_volatile(FAIL | status << 16) };
    }
}
