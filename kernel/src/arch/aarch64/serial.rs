//! The serial port: a PL011.

const DATA: *mut u8 = 0x0900_0000 as *mut u8;
const FLAGS: *const u32 = 0x0900_0018 as *const u32;
/// No room for another byte.
const FULL: u32 = 1 << 5;

/// Sends a byte.
pub fn put(byte: u8) {
    // SAFETY: QEMU has the port, `boot` has mapped it; reading its state and sending touch nothing else.
    unsafe {
        while FLAGS.read_volatile() & FULL != 0 {
            core::hint::spin_loop();
        }
        DATA.write_volatile(byte);
    }
}
