//! The first serial port.

use super::{inb, outb};

const PORT: u16 = 0x3f8;

/// Sends a byte.
pub fn put(byte: u8) {
    // SAFETY: QEMU has the port; reading its state and sending touch nothing else.
    unsafe {
        while inb(PORT + 5) & 0x20 == 0 {
            core::hint::spin_loop();
        }
        outb(PORT, byte);
    }
}
