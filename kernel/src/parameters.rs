//! What `cargo xtask qemu` wants of this run: words of the form `name=value`, which QEMU puts into memory.

use crate::arch::boot::PARAMETERS;

/// The most bytes of text.
const MOST: usize = 4096;

/// The text, up to its first zero byte.
fn text() -> &'static str {
    // SAFETY: mapped, never written, and all bytes are fine.
    let bytes = unsafe { core::slice::from_raw_parts(PARAMETERS as *const u8, MOST) };
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(MOST);
    core::str::from_utf8(&bytes[..end]).unwrap_or_default()
}

/// The value of a word.
pub fn get(name: &str) -> Option<&'static str> {
    text().split_ascii_whitespace().filter_map(|word| word.split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| v)
}

/// The value as a number. Panics if it is none.
pub fn number(name: &str, default: u64) -> u64 {
    get(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name}={value}: a number is expected")))
}
