//! What `cargo xtask qemu` wants of this run: words of the form `name=value`, which QEMU puts into memory, and behind them a
//! line for each function of the binary: its address and its name.

use crate::arch::boot::PARAMETERS;

/// The most bytes of text.
const MOST: usize = 1 << 20;

/// The text, up to its first zero byte.
fn text() -> &'static str {
    // SAFETY: mapped, never written, and all bytes are fine.
    let bytes = unsafe { core::slice::from_raw_parts(PARAMETERS as *const u8, MOST) };
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(MOST);
    core::str::from_utf8(&bytes[..end]).unwrap_or_default()
}

/// The value of a word.
pub fn get(name: &str) -> Option<&'static str> {
    let words = text().lines().next()?.split_ascii_whitespace();
    words.filter_map(|word| word.split_once('=')).find(|(n, _)| *n == name).map(|(_, value)| value)
}

/// The value as a number. Panics if it is none.
pub fn number(name: &str, default: u64) -> u64 {
    get(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name}={value}: a number is expected")))
}

/// The name of the function that begins at an address.
pub fn symbol(addr: u64) -> Option<&'static str> {
    let lines = text().lines().skip(1).filter_map(|line| line.split_once(' '));
    lines.filter(|(at, _)| u64::from_str_radix(at, 16) == Ok(addr)).map(|(_, name)| name).next()
}
