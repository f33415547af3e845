//! The serial console.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(crate::arch::serial::put);
        Ok(())
    }
}

/// Prints without waiting for somebody else's line to end.
pub fn unlocked(text: fmt::Arguments<'_>) {
    let _ = Console.write_fmt(text);
}

/// Prints. Not in interrupts or NMIs.
pub fn locked(text: fmt::Arguments<'_>) {
    static LOCK: AtomicBool = AtomicBool::new(false);
    // Acquire and Release keep lines whole.
    while LOCK.swap(true, Ordering::Acquire) {
        core::hint::spin_loop();
    }
    unlocked(text);
    LOCK.store(false, Ordering::Release);
}

/// Prints a line.
#[macro_export]
macro_rules! println {
    ($($arg:tt)*) => { $crate::print::locked(::core::format_args!("{}\n", ::core::format_args!($($arg)*))) };
}
