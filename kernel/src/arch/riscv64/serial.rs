//! The serial port: a 16550.

const DATA: *mut u8 = 0x1000_0000 as *mut u8;
const STATE: *const u8 = 0x1000_0005 as *const u8;
/// Room for another byte.
const EMPTY: u8 = 1 << 5;

/// Sends a byte.
pub fn put(byte: u8) {
    // SAFETY: QEMU has the port, `boot` has mapped it; reading its state and sending touch nothing else.
    unsafe {
        while STATE.read_volatile() & EMPTY == 0 {
            core::hint::spin_loop();
        }
        DATA.write_volatile(byte);
    }
}
