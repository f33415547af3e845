//! The end: QEMU's `isa-debug-exit` makes exit status 33 of success and 35 of failure.

use super::outl;

/// Ends the machine.
pub fn now(good: bool) -> ! {
    loop {
        // SAFETY: nobody is left.
        unsafe { outl(0xf4, if good { 16 } else { 17 }) };
    }
}
